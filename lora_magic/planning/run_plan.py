"""The plan of a run on the machine it is on: how its steps are computed, and what to turn to when memory runs out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lora_magic.config import TrainConfig
from lora_magic.errors import LoraError
from lora_magic.estimate import Choice, Estimate
from lora_magic.planning.architecture import Architecture
from lora_magic.planning.hardware import Hardware
from lora_magic.planning.here import card_here
from lora_magic.planning.memory import STATE_BYTES
from lora_magic.planning.plan import choose

ROWS_ON_CPU = 8
ROWS_UNKNOWN = 2
"""Rows at once, with checkpointing, of a model whose shapes cannot be read."""

OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw-8bit": "adamw_8bit",
    "paged-adamw-8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}


@dataclass(frozen=True)
class Way:
    """One way to compute a step; none of it changes what is learned.

    Attributes:
        title: in a few words.
        tokens: the most in a pass, padding included; None is no limit.
        rows: the most in a pass; None is no limit.
        checkpointing: "off", "on", or "offload" (block inputs wait in the machine's memory).
        kept: blocks that keep their activations although checkpointing is on.
        padded: rows of a pass are filled up to its longest; otherwise they lie end to end.
        expanded: 4-bit weights are dequantised once for the run.
    """

    title: str
    tokens: int | None
    rows: int | None
    checkpointing: str
    kept: int = 0
    padded: bool = True
    expanded: bool = False

    @property
    def recomputing(self) -> str:
        """What is computed again in the backward pass, in a word or two."""
        if not self.kept or self.checkpointing == "off":
            return self.checkpointing
        return f"{self.checkpointing}, {self.kept} block{'s' if self.kept != 1 else ''} kept"


@dataclass(frozen=True)
class Plan:
    """How a run is computed.

    Attributes:
        ways: the plan, then what to turn to when memory runs out, each smaller than the one before.
        optimizer: transformers' name of the optimiser.
        batch: examples in an optimiser step.
        estimate: what the plan rests on; None on a CPU and for models whose shapes cannot be read.
    """

    ways: tuple[Way, ...]
    optimizer: str
    batch: int
    estimate: Estimate | None = None

    @property
    def header(self) -> tuple[tuple[str, str], ...]:
        """Label and value pairs that say so to the user."""
        way = self.ways[0]
        told = [("batch", self._cut(way)), ("optimiser", self.optimizer), ("checkpointing", way.recomputing)]
        if self.estimate is not None:
            told.append(("planned peak", f"{self.estimate.peak_gib:.1f} of {self.estimate.card_gib:.1f} GiB"))
        return tuple(told)

    @property
    def state_bytes(self) -> float:
        """Bytes that the optimiser keeps of an element, as far as torch allocates them."""
        return next((STATE_BYTES[name] for name, theirs in OPTIMIZERS.items() if theirs == self.optimizer), 0.0)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why it is this plan, in a line or two; nothing on a CPU."""
        if self.estimate is None:
            return ()
        told = (f"plan: {self.ways[0].title}: {'; '.join(self.estimate.reasons)}",)
        return told if self.estimate.fits else (*told, f"it may not fit: {'; '.join(self.estimate.lower)}")

    def _cut(self, way: Way) -> str:
        if way.rows is not None and way.rows < self.batch:
            return f"{way.rows} x {math.ceil(self.batch / way.rows)}"
        if way.tokens is not None:
            return f"{self.batch}, passes of up to {way.tokens:,} tokens"
        return str(self.batch)


def plan(
    config: TrainConfig,
    hardware: Hardware,
    *,
    backend: str,
    bits: int,
    shapes: Architecture | None,
    mean: float,
    longest: int,
    dtype: str = "float16",
) -> Plan:
    """The fastest way known to compute the run's steps that fits the machine.

    Paged and 8-bit optimisers are CUDA kernels: on a CPU plain AdamW stands in for them.

    Args:
        config: the run's settings; what is given there is kept to, as long as memory allows.
        hardware: what the base is on.
        backend: "unsloth" or "transformers".
        bits: a weight of the base.
        shapes: of the base, or None where they cannot be read.
        mean, longest: tokens of a row.
        dtype: that the base computes in.
    """
    optimizer = "adamw-8bit" if config.optimizer == "auto" else config.optimizer
    if hardware.kind == "cpu":
        plain = optimizer if optimizer in ("adafactor", "sgd") else "adamw"
        unfused = {**OPTIMIZERS, "adamw": "adamw_torch"}
        return Plan(_by_rows(config, ROWS_ON_CPU, "off"), unfused[plain], config.batch)
    here = card_here()
    if shapes is None or here is None:
        return Plan(_by_rows(config, ROWS_UNKNOWN, "on"), OPTIMIZERS[optimizer], config.batch)
    pinned = None if config.checkpointing == "auto" else config.checkpointing
    made = choose(
        shapes, here.card, batch=config.batch, micro_batch=config.micro_batch, checkpointing=pinned,
        tokens_per_row=mean, longest=longest, bits=bits, rank=config.rank, target=_target(shapes, config.target),
        method=config.method, dropout=config.dropout, bias=config.bias,
        optimizer=None if config.optimizer == "auto" else config.optimizer, backend=backend, free_gib=here.free_gib,
        flash=here.flash, expanding=dtype != "float32",
    )  # fmt: skip
    ways = [_way(choice, shapes.layers) for choice in (made.choice, *made.back_off)]
    if config.micro_batch:
        ways[0] = replace(ways[0], tokens=None, rows=config.micro_batch)
    return Plan(tuple(ways), OPTIMIZERS[made.choice.optimizer], config.batch, made)


def _target(shapes: Architecture, target: str) -> str:
    """`target`, or all layers for names that shapes do not tell of; whether the model has such is peft's to say."""
    try:
        shapes.targets(target)
    except LoraError:
        return "all-linear"
    return target


def _way(choice: Choice, layers: int) -> Way:
    kept = layers - choice.recomputed if choice.checkpointing == "some" else 0
    kind = choice.checkpointing
    if kind == "some":
        kind = "offload" if choice.offload else "on"
    return Way(
        choice.title, choice.tokens, None, kind, kept,
        padded=choice.backend == "transformers", expanded=choice.expanded,
    )  # fmt: skip


def _by_rows(config: TrainConfig, most: int, usual: str) -> tuple[Way, ...]:
    """Rows at once: as many as asked for or known to do, then ever fewer, and at last with checkpointing."""
    rows = config.micro_batch or math.ceil(config.batch / math.ceil(config.batch / most))
    kind = {"auto": usual, "some": "on", "offload": "on"}.get(config.checkpointing, config.checkpointing)
    sizes = [rows]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    tried = [(size, kind) for size in sizes]
    if kind == "off":
        tried.append((1, "on"))
    titles = {1: "1 row at once"}
    return tuple(
        Way(f"{titles.get(size, f'{size} rows at once')}, checkpointing {how}", None, size, how) for size, how in tried
    )
