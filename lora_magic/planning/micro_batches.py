"""How an optimiser step is cut into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.config import TrainConfig
from lora_magic.planning.hardware import Hardware

MOST_AT_ONCE = {"cpu": 8, "cuda": 2}


@dataclass(frozen=True)
class Plan:
    """How a run is computed; none of it changes what is learned.

    Attributes:
        micro_batch: examples computed at once.
        accumulation: micro-batches in an optimiser step.
        checkpointing: recompute activations in the backward pass.
        optimizer: transformers' name of the optimiser.
    """

    micro_batch: int
    accumulation: int
    checkpointing: bool
    optimizer: str

    @property
    def header(self) -> tuple[tuple[str, str], ...]:
        """Label and value pairs that say so to the user."""
        cut = f"{self.micro_batch} x {self.accumulation}" if self.accumulation > 1 else str(self.micro_batch)
        return (("batch", cut), ("optimiser", self.optimizer), ("checkpointing", "on" if self.checkpointing else "off"))


OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw-8bit": "adamw_8bit",
    "paged-adamw-8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}


def plan(config: TrainConfig, hardware: Hardware) -> Plan:
    """The cut for `config` on `hardware`: the largest micro-batch that divides the batch and is known to do.

    Paged and 8-bit optimisers are CUDA kernels: on a CPU plain AdamW stands in for them.
    """
    most = MOST_AT_ONCE[hardware.kind]
    micro = config.micro_batch or max(n for n in range(1, min(most, config.batch) + 1) if config.batch % n == 0)
    wanted = "adamw-8bit" if config.optimizer == "auto" else config.optimizer
    if hardware.kind == "cpu" and wanted.endswith("8bit"):
        wanted = "adamw"
    checkpointing = config.checkpointing == "on" or (config.checkpointing == "auto" and hardware.kind == "cuda")
    return Plan(micro, config.batch // micro, checkpointing, OPTIMIZERS[wanted])
