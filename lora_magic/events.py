"""What a training run says while it goes: a few plain events, and the listener that hears them.

Listeners (the picture, the run record) never reach back into the run, and a listener that fails never stops it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Started:
    """The run begins.

    Attributes:
        name: the adapter's name.
        model: what the user asked `load` for.
        header: short label and value pairs for the picture's head line, such as ("rank", "8").
        planned_steps: optimiser steps until the end.
        epochs: passes over the training rows that those steps make.
        training_rows, held_out_rows: how many examples are on either side.
        trainable_parameters, total_parameters: counted on the model itself.
    """

    name: str
    model: str
    header: tuple[tuple[str, str], ...]
    planned_steps: int
    epochs: float
    training_rows: int
    held_out_rows: int
    trainable_parameters: int
    total_parameters: int


@dataclass(frozen=True)
class Stepped:
    """One optimiser step is done.

    Attributes:
        step: 1 for the first.
        loss: mean over the step's trained tokens, in nats.
        learning_rate: used in this step.
        gradient_norm: before clipping; None where the trainer gives none.
        tokens_per_second: input tokens, padding not counted, over this step's wall time.
        memory_gib: now in use by the process (resident, CPU) or the card (allocated, GPU).
        seconds: since the run began.
        epoch: passes made, with a fraction.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float | None
    tokens_per_second: float
    memory_gib: float
    seconds: float
    epoch: float


@dataclass(frozen=True)
class Evaluated:
    """The held-out loss after `step` steps (0: before the first), mean over held-out trained tokens, in nats."""

    step: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Checkpointed:
    """The adapter as of `step` is on disk at `path`."""

    step: int
    path: str


@dataclass(frozen=True)
class Recovered:
    """Something went wrong in `step`, `what` was done about it, and the run goes on."""

    step: int
    what: str


@dataclass(frozen=True)
class Finished:
    """The run is over.

    Attributes:
        step: optimiser steps made.
        seconds: wall time.
        reason: "completed", "interrupted", "early stop" or "failed".
        message: a line for the user, such as what went wrong or what to do next.
    """

    step: int
    seconds: float
    reason: str
    message: str


Event = Started | Stepped | Evaluated | Checkpointed | Recovered | Finished


class Listener(Protocol):
    """Hears the events of one run, in order, on the thread that trains."""

    def __call__(self, event: Event) -> None:
        """Take one event; whatever this raises is reported once and ignored."""
