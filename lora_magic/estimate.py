"""What planning answers with: plain values, in GiB and seconds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Choice:
    """How a step is computed; none of it changes what is learned.

    Attributes:
        micro_batch: examples computed at once, on average where `tokens` decides.
        accumulation: micro-batches in an optimiser step.
        tokens: the most tokens in a micro-batch, padding included.
        checkpointing: "off", "some" (of the blocks), "on" or "offload".
        recomputed: blocks that are computed again in the backward pass.
        offload: their inputs wait in the machine's memory.
        optimizer: as `%%lora_train --optimizer`.
        attention: "efficient", "flash" or "math".
        bits: a weight.
        backend: "unsloth" or "transformers".
        expanded: 4-bit weights are dequantised once, and stay in 16 bits beside their packed form.
    """

    micro_batch: int
    accumulation: int
    tokens: int
    checkpointing: str
    recomputed: int
    offload: bool
    optimizer: str
    attention: str
    bits: int
    backend: str
    expanded: bool = False

    @property
    def title(self) -> str:
        """In a few words: `8 x 1, checkpointing 12 blocks, adamw-8bit`."""
        blocks = {
            "off": "no checkpointing",
            "some": f"checkpointing {self.recomputed} block{'s' if self.recomputed != 1 else ''}",
        }
        how = blocks.get(self.checkpointing, f"checkpointing {self.checkpointing}")
        weights = ", weights dequantised once" if self.expanded else ""
        return f"{self.micro_batch} x {self.accumulation}, {how}, {self.optimizer}{weights}"


@dataclass(frozen=True)
class Alternative:
    """Another way, and what it takes.

    Attributes:
        name: what it is.
        choice: how it is computed.
        peak_gib: allocated at its peak.
        seconds_a_step: of one optimiser step.
        fits: within the room that the plan has.
    """

    name: str
    choice: Choice
    peak_gib: float
    seconds_a_step: float
    fits: bool


@dataclass(frozen=True)
class Estimate:
    """A plan of a run, from shapes alone.

    Attributes:
        fits: the peak is within `room_gib`.
        peak_gib: predicted peak of allocated memory.
        room_gib: what may be allocated: the card without CUDA's context and the margin.
        card_gib: the card's memory.
        context_gib: CUDA's context, which no allocator counts.
        margin_gib: left free for what the formulas and the allocator's gaps may miss.
        parts: name to GiB, adding up to the peak.
        seconds: of the whole run; of one step where its length was not told.
        seconds_a_step: of one optimiser step.
        steps: of the run, None where not told.
        cost: of the run in the price's currency, None without a price or a length.
        choice: the plan.
        alternatives: runners-up, fastest first.
        back_off: what to turn to when memory runs out all the same, each smaller than the one before.
        otherwise: what 16-bit LoRA and full fine-tuning would take.
        reasons: why this plan, a sentence each.
        lower: what to lower where nothing fits, a sentence each.
        basis: what the estimate rests on.
    """

    fits: bool
    peak_gib: float
    room_gib: float
    card_gib: float
    context_gib: float
    margin_gib: float
    parts: dict[str, float]
    seconds: float
    seconds_a_step: float
    steps: int | None
    cost: float | None
    choice: Choice
    alternatives: tuple[Alternative, ...] = ()
    back_off: tuple[Choice, ...] = ()
    otherwise: tuple[Alternative, ...] = ()
    reasons: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    basis: str = field(default="")
