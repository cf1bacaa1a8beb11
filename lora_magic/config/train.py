"""What `%%lora_train` can be asked for, and the presets."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from lora_magic.config.data import ROWS, DataOptions
from lora_magic.config.fields import option
from lora_magic.errors import LoraError

METHODS = ("lora", "rslora", "dora")
SCHEDULERS = ("cosine", "linear", "constant")
OPTIMIZERS = ("auto", "adamw", "adamw-8bit", "paged-adamw-8bit", "adafactor", "sgd")
BIASES = ("none", "lora_only", "all")

PRESETS: dict[str, dict[str, Any]] = {
    "standard": {},
    "memory": {"micro_batch": 1, "checkpointing": "on", "optimizer": "paged-adamw-8bit"},
    "quality": {"rank": 32, "lr": 1e-4, "dropout": 0.05, "method": "rslora", "early_stop": 3},
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataOptions):
    """One run: data, adapter, optimiser, length and checks."""

    name: str = option("default", "the adapter's name", metavar="NAME", positional=True)
    data: Any = option(None, ROWS, metavar="X", offers="data")
    rank: int = option(8, "rank of the update", low=1, high=4096)
    alpha: float | None = option(None, "scale of the update (2 x rank unless given)", above=0)
    dropout: float = option(0.0, "share of the adapter's inputs dropped while training", low=0, high=0.95)
    target: str = option(
        "all-linear",
        "which layers: all-linear, attention, or module names with commas",
        metavar="NAMES",
        rest=True,
        offers="layers",
    )
    method: str = option("lora", "kind of adapter", choices=METHODS)
    bias: str = option("none", "which biases train along", choices=BIASES, bare="lora_only")
    lr: float = option(2e-4, "peak learning rate", above=0, high=10)
    scheduler: str = option("cosine", "how the learning rate falls after the warm-up", choices=SCHEDULERS)
    warmup: float = option(0.05, "share of the steps that warm up; 1 or more is a number of steps", low=0)
    optimizer: str = option("auto", "auto is AdamW, in 8 bits where a card is short of memory", choices=OPTIMIZERS)
    weight_decay: float = option(0.01, "AdamW's weight decay on the adapter", low=0, high=1)
    max_grad_norm: float = option(1.0, "gradients are scaled down to this norm; 0 is never", low=0)
    epochs: float = option(3.0, "passes over the training rows", above=0, high=10_000)
    max_steps: int | None = option(None, "optimiser steps, in place of epochs", low=1, high=10_000_000)
    batch: int = option(8, "examples in an optimiser step", low=1, high=65_536)
    micro_batch: int | None = option(None, "examples computed at once (chosen unless given)", low=1)
    checkpointing: str = option(
        "auto", "recompute activations to save memory; offload also keeps block inputs off the card",
        choices=("auto", "off", "some", "on", "offload"),
    )  # fmt: skip
    eval_every: int | None = option(None, "steps between held-out losses (six a run unless given)", low=1)
    early_stop: int | None = option(
        None, "stop after N held-out losses without a better one, and keep the best adapter", metavar="N", low=1
    )
    seed: int = option(0, "for the adapter's start, the order of rows and dropout", low=0, high=2**32 - 1)
    preset: str = option("standard", "changes what is left at its default", choices=tuple(PRESETS))
    from_run: str | None = option(
        None, "a recorded run, whose settings and data are used wherever none are given", metavar="RUN",
        spelled="from", offers="run",
    )  # fmt: skip
    continue_from: str | None = option(
        None, "train an adapter further: in memory, a run or a folder (by itself: the run of --from, or NAME)",
        metavar="ADAPTER", spelled="continue", offers="adapter or folder", bare="",
    )  # fmt: skip

    def check(self) -> None:
        """Names that can be a folder; no two options that contradict each other."""
        super().check()
        if self.data is None and self.from_run is None:
            raise LoraError("%lora_train needs --data.", "Example: %lora_train --data demo-json")
        if not re.fullmatch(r"[\w][\w \-]{0,63}", self.name) or self.name.strip() != self.name:
            raise LoraError(f"{self.name!r} cannot be an adapter's name.", "Use letters, digits, spaces, - and _.")
        if self.name.lower() == "base":
            raise LoraError('"base" is the name of the model without an adapter.', "Choose another name.")
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise LoraError(
                f"batch {self.batch} cannot be cut into micro-batches of {self.micro_batch}.",
                "Choose a micro-batch that divides it.",
            )
        if self.early_stop is not None and self._measures_nothing:
            raise LoraError("early-stop needs held-out rows, and eval-split is 0.", "Give --eval-split 0.05.")

    def with_preset(self) -> TrainConfig:
        """The same config with the preset's values wherever an option was neither given nor changed."""
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        wanted = PRESETS[self.preset]
        changes = {k: v for k, v in wanted.items() if k not in self.given and getattr(self, k) == defaults[k]}
        if self._measures_nothing:
            changes.pop("early_stop", None)
        if self.batch % changes.get("micro_batch", 1):
            changes.pop("micro_batch", None)
        return self.replace(**changes) if changes else self

    @property
    def _measures_nothing(self) -> bool:
        return self.eval_split == 0 and self.eval_data is None

    @property
    def scale(self) -> float:
        """LoRA's alpha: as given, else twice the rank."""
        return self.alpha if self.alpha is not None else 2.0 * self.rank
