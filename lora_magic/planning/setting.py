"""What a run's memory and time depend on beside the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

HALF, FULL = 2, 4
"""Bytes of a number in 16 bits and in float32."""


@dataclass(frozen=True)
class Setting:
    """What memory depends on beside the model.

    Attributes:
        tokens: in the largest micro-batch, padding included.
        longest: its longest row.
        checkpointing: "off", "on" (block inputs stay on the card) or "offload" (they go to the machine's memory).
        kept: blocks that keep their activations although checkpointing is on.
        bits: a weight, 4, 8, 16 or 32.
        rank, target: of the adapter.
        optimizer: as `%%lora_train --optimizer`, never "auto".
        accumulation: micro-batches in an optimiser step.
        backend: "unsloth" or "transformers".
        attention: "efficient" (keys and values are repeated for every head), "flash", or "math" (every score is kept).
        loss: "fused" (Unsloth), "chunked" (trl) or "full" (all logits in float32); None is the backend's.
        padded: rows are padded to a rectangle, which brings a mask.
        full: every weight is trained, in float32, and there is no adapter.
        method: as `%%lora_train --method`.
        dropout: share of the adapter's inputs that is dropped; memory depends on whether there is any.
        bias: as `%%lora_train --bias`.
        expanded: 4-bit weights stand in 16 bits beside their packed form.
    """

    tokens: int
    longest: int
    checkpointing: str = "off"
    kept: int = 0
    bits: int = 4
    rank: int = 16
    target: str = "all-linear"
    optimizer: str = "adamw-8bit"
    accumulation: int = 1
    backend: str = "unsloth"
    attention: str = "efficient"
    loss: str | None = None
    padded: bool = False
    full: bool = False
    method: str = "lora"
    dropout: float = 0.0
    bias: str = "none"
    expanded: bool = False

    @property
    def dora(self) -> bool:
        """An adapter is trained, and each row of the weights has a magnitude of its own."""
        return self.method == "dora" and not self.full

    @property
    def drops(self) -> bool:
        """An adapter is trained whose inputs are dropped in part."""
        return self.dropout > 0 and not self.full

    @property
    def by_peft(self) -> bool:
        """Adapted layers are computed by peft's own code: always under transformers, with DoRA under Unsloth too."""
        return self.backend == "transformers" or self.dora

    def but(self, **changes: object) -> Setting:
        """A copy with `changes`."""
        return replace(self, **changes)  # type: ignore[arg-type]
