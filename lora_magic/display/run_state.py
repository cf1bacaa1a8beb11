"""What is known of a run at a moment, gathered from its events or taken from its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lora_magic.display.curve import series_of
from lora_magic.display.series import Series
from lora_magic.events import Checkpointed, Evaluated, Event, Finished, Recovered, Started, Stepped
from lora_magic.results import TrainResult

RUNNING = "running"
_LAST_STEPS = 4
_LAST_EVALUATIONS = 2
_RECENT = 20


@dataclass
class RunState:
    """A run as the picture shows it.

    Attributes:
        started: its first event.
        steps, evaluations: what came since, in order.
        losses, held_out: (step, loss) pairs for the curve.
        state: "running", or the reason it ended.
        seconds: since the run began.
        message: the line at its end.
        notes: recoveries and other lines worth reading.
        saved: (label, place) of what is on disk, such as the last checkpoint.
    """

    started: Started
    steps: list[Stepped] = field(default_factory=list)
    evaluations: list[Evaluated] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    state: str = RUNNING
    seconds: float = 0.0
    message: str = ""
    notes: list[str] = field(default_factory=list)
    saved: tuple[str, str] | None = None

    def take(self, event: Event) -> None:
        """Add one event."""
        if isinstance(event, Stepped):
            self.steps.append(event)
            self.losses.append((event.step, event.loss))
            self.seconds = event.seconds
        elif isinstance(event, Evaluated):
            self.evaluations.append(event)
            self.held_out.append((event.step, event.loss))
            self.seconds = max(self.seconds, event.seconds)
        elif isinstance(event, Recovered):
            self.notes.append(f"step {event.step:,}: {event.what}")
        elif isinstance(event, Checkpointed):
            self.saved = ("last checkpoint", f"step {event.step:,}, {event.path}")
        elif isinstance(event, Finished):
            self.state, self.seconds, self.message = event.reason, event.seconds, event.message

    @property
    def step(self) -> int:
        """Optimiser steps made."""
        return self.losses[-1][0] if self.losses else 0

    @property
    def fraction(self) -> float:
        """How much of the plan is done, 0 to 1."""
        return min(1.0, self.step / max(1, self.started.planned_steps))

    @property
    def seconds_left(self) -> float | None:
        """Until the planned end at the pace of the last steps; None before the second step."""
        recent = self.steps[-_RECENT:]
        if len(recent) < 2:
            return None
        pace = (recent[-1].seconds - recent[0].seconds) / max(1, recent[-1].step - recent[0].step)
        return pace * max(0, self.started.planned_steps - self.step)

    @property
    def memory_gib(self) -> tuple[float, float] | None:
        """Memory in use at the last step and the most at any, in GiB."""
        return (self.steps[-1].memory_gib, max(step.memory_gib for step in self.steps)) if self.steps else None

    @property
    def series(self) -> Series:
        """The curve's data."""
        early = self.state != RUNNING and self.step < self.started.planned_steps
        return Series(self.losses, self.held_out, self.started.planned_steps, self.step if early else None)

    def last_rows(self) -> list[tuple[int, Stepped | None, float | None]]:
        """The last four steps and the two last held-out losses, by step: (step, its event, held-out loss)."""
        held_out: Mapping[int, float] = dict(self.held_out)
        by_step = {event.step: event for event in self.steps[-_LAST_STEPS:]}
        evaluated = list(held_out)[-_LAST_EVALUATIONS:]
        for event in self.steps:
            if event.step in evaluated:
                by_step[event.step] = event
        return [(step, by_step.get(step), held_out.get(step)) for step in sorted({*by_step, *evaluated})]


def state_of(result: TrainResult) -> RunState:
    """A finished run's state, from its result alone."""
    started = Started(
        name=result.name, model=result.model, header=result.header, planned_steps=result.planned_steps,
        epochs=0.0, training_rows=0, held_out_rows=0,
        trainable_parameters=result.trainable_parameters, total_parameters=result.total_parameters,
    )  # fmt: skip
    data = series_of(result)
    state = RunState(started, list(result.steps), list(result.evaluations))
    return replace(
        state,
        losses=[(int(step), loss) for step, loss in data.losses],
        held_out=[(int(step), loss) for step, loss in data.held_out],
        state=result.reason,
        seconds=result.seconds,
        notes=list(result.notes),
        saved=("adapter", str(result.adapter_path)),
    )
