"""What the magics and their twin functions return: plain values that show themselves.

No result holds a model, a tensor or a session, so keeping one in `Out` keeps no memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lora_magic.estimate import Alternative, Choice, Estimate
from lora_magic.events import Evaluated, Stepped
from lora_magic.results.adapters import AdapterEntry as AdapterEntry
from lora_magic.results.adapters import Adapters as Adapters
from lora_magic.results.chat import Chat as Chat
from lora_magic.results.chat import ChatTurn as ChatTurn
from lora_magic.results.comparison import Comparison as Comparison
from lora_magic.results.comparison import ComparisonRow as ComparisonRow
from lora_magic.results.comparison import Forgetting as Forgetting
from lora_magic.results.data import DataExample as DataExample
from lora_magic.results.data import DataIssue as DataIssue
from lora_magic.results.data import DataReport as DataReport
from lora_magic.results.data import FixedCopy as FixedCopy
from lora_magic.results.doctor import Check as Check
from lora_magic.results.doctor import Diagnosis as Diagnosis
from lora_magic.results.merge import Agreement as Agreement
from lora_magic.results.merge import MergeResult as MergeResult
from lora_magic.results.shown import Shown as Shown
from lora_magic.results.votes import Votes as Votes


@dataclass(frozen=True, eq=False)
class LoadResult(Shown):
    """The base that is loaded now.

    Attributes:
        model: what the user asked for (`demo`, an id or a folder).
        architecture: the model class, such as `LlamaForCausalLM`.
        backend: "transformers" or "unsloth".
        device: such as "CPU (2 cores)" or "Tesla T4".
        bits: 4, 8, 16 or 32 a weight.
        dtype: what it computes in, such as "float16".
        reasons: (choice, why) pairs, such as ("float16", "T4: no bfloat16").
        parameters: of the base, counted unpacked.
        memory_bytes: what its weights take now.
        max_length: longest row in tokens.
        chat_template: "the model's own", or the name of the stated default.
        seconds: (phase, seconds) pairs: download, imports, weights.
    """

    model: str
    architecture: str
    backend: str
    device: str
    bits: int
    dtype: str
    reasons: tuple[tuple[str, str], ...]
    parameters: int
    memory_bytes: int
    max_length: int
    chat_template: str
    seconds: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class TrainResult(Shown):
    """A finished (or interrupted) run.

    Attributes:
        name: the adapter's name, ready for `use`, `compare` and `merge`.
        model: the base it was trained on.
        losses: (step, training loss) pairs, nats a trained token.
        eval_losses: (step, held-out loss) pairs; step 0 is before training.
        adapter_path: the folder with adapter_config.json and adapter_model.safetensors.
        run_dir: the run's record.
        seconds: wall time of the training itself.
        trainable_parameters, total_parameters: counted on the model.
        reason: "completed", "interrupted" or "early stop".
        planned_steps: steps it was to make.
        header: label and value pairs, as in `Started`.
        steps, evaluations: the events themselves, for tables and plots.
        config: every setting as used.
        notes: lines worth reading, such as rows that were cut.
    """

    name: str
    model: str
    losses: tuple[tuple[int, float], ...]
    eval_losses: tuple[tuple[int, float], ...]
    adapter_path: Path
    run_dir: Path
    seconds: float
    trainable_parameters: int
    total_parameters: int
    reason: str
    planned_steps: int
    header: tuple[tuple[str, str], ...] = ()
    steps: tuple[Stepped, ...] = field(default=(), repr=False)
    evaluations: tuple[Evaluated, ...] = field(default=(), repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """True when the user stopped it before its planned end."""
        return self.reason == "interrupted"


@dataclass(frozen=True, eq=False)
class Status(Shown):
    """What the session holds.

    Attributes:
        base: the loaded base, or None.
        active: the adapter in use, or "base".
        adapters: (name, rank and method, path) of each adapter in memory.
        memory: label and value pairs.
    """

    base: LoadResult | None
    active: str
    adapters: tuple[tuple[str, str, str], ...]
    memory: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class RunSummary:
    """What a run's record says, as far as it can be read.

    Attributes:
        name: of its folder.
        path: its folder.
        began: when, in local time; None when nothing tells.
        model, data: what it was trained on; empty when the record does not say.
        config: the settings as used; empty when config.yaml cannot be read.
        losses: (step, training loss) pairs, nats a trained token.
        eval_losses: (step, held-out loss) pairs; step 0 is before training.
        step: optimiser steps made.
        planned_steps: steps it was to make; None when the record does not say.
        seconds: wall time until the last line of the record.
        reason: "completed", "interrupted", "early stop" or "failed"; "unfinished" when the record ends without
            saying so, because the kernel died or the run still goes on.
        message: what the run said at its end, such as why it failed.
        adapter_path: the folder of its adapter, or None when there is none.
        notes: what could not be read, and other lines worth reading.
    """

    name: str
    path: Path
    began: datetime | None = None
    model: str = ""
    data: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    losses: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    eval_losses: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    step: int = 0
    planned_steps: int | None = None
    seconds: float = 0.0
    reason: str = "unfinished"
    message: str = ""
    adapter_path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> tuple[int, float] | None:
        """The lowest held-out loss with its step, or None where none is a number."""
        numbers = [point for point in self.eval_losses if math.isfinite(point[1])]
        return min(numbers, key=lambda point: point[1], default=None)

    @property
    def kept(self) -> float | None:
        """The held-out loss of the adapter as it is kept, or None where it was not measured.

        That is the last step's, or with early stopping that of the lowest, unless the run was interrupted.
        """
        if self.config.get("early_stop") and self.reason in ("completed", "early stop"):
            trained = [loss for step, loss in self.eval_losses if step and math.isfinite(loss)]
            return min(trained, default=None)
        return next((loss for step, loss in self.eval_losses if step == self.step and math.isfinite(loss)), None)


@dataclass(frozen=True, eq=False)
class Runs(Shown):
    """Recorded runs with their curves over each other.

    Attributes:
        runs: the newest first, or in the order in which they were asked for.
        folder: where they were looked for.
        notes: what else lies there that is no run.
    """

    runs: tuple[RunSummary, ...]
    folder: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PlanResult(Shown):
    """What a run would take on a card, and how it would be computed.

    Attributes:
        model: the base.
        card: what it is planned for, such as "T4".
        family: config.json's `model_type`.
        parameters, trainable_parameters: of the base and of the adapter.
        batch: examples in an optimiser step.
        rows: that are trained on, or None where not told.
        tokens_per_row: on average, as cut. max_length: of the longest row.
        estimate: all figures, in GiB and seconds.
        memory_basis: what the memory formulas rest on for this model, a sentence.
        notes: lines worth reading.
        price: of the card an hour, or None.
    """

    model: str
    card: str
    family: str
    parameters: int
    trainable_parameters: int
    batch: int
    rows: int | None
    tokens_per_row: float
    max_length: int
    estimate: Estimate
    memory_basis: str = ""
    notes: tuple[str, ...] = ()
    price: float | None = None

    @property
    def fits(self) -> bool:
        """The peak is within what may be allocated on the card."""
        return self.estimate.fits

    @property
    def peak_gib(self) -> float:
        """Predicted peak of allocated memory; CUDA's context comes on top."""
        return self.estimate.peak_gib

    @property
    def parts(self) -> Mapping[str, float]:
        """GiB by what takes them, adding up to the peak."""
        return self.estimate.parts

    @property
    def seconds(self) -> float:
        """Of the whole run; of one step where its length was not told."""
        return self.estimate.seconds

    @property
    def steps(self) -> int | None:
        """Optimiser steps of the run, or None where its length was not told."""
        return self.estimate.steps

    @property
    def cost(self) -> float | None:
        """Of the run in the price's currency, or None without a price or a length."""
        return self.estimate.cost

    @property
    def choice(self) -> Choice:
        """How a step is computed."""
        return self.estimate.choice

    @property
    def alternatives(self) -> tuple[Alternative, ...]:
        """Runners-up, those that fit first and fastest first."""
        return self.estimate.alternatives
