"""What a merge returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_magic.results.shown import Shown


@dataclass(frozen=True)
class Agreement:
    """How far two models agree on the next token, over the same positions of the same prompts.

    Attributes:
        same_top: share of positions where both put the same token first.
        kl: mean Kullback-Leibler divergence of the second's distribution from the first's, nats a token.
        largest: largest absolute difference of any logit.
    """

    same_top: float
    kl: float
    largest: float


@dataclass(frozen=True, eq=False)
class MergeResult(Shown):
    """A merged model on disk, with what the merge and its roundings changed.

    Attributes:
        path: the folder, loadable by transformers alone.
        adapter: what was merged.
        base: the folder or id of the original weights.
        dtype: of the written weights, or "NF4".
        bytes_written: size of the safetensors files.
        merged_tensors: how many weights the adapter changed.
        merged: merged in float32 against float32 base + adapter; None when not measured.
        stored: the written folder against float32 base + adapter.
        trained: the written folder against the adapter on the base as it was trained (4-bit, say); None when
            that base is not loaded.
        quantisation: the base as loaded against the float32 base, no adapter on either.
        probes, positions: prompts, and positions in them, that were measured on.
        seconds: wall time.
        notes: lines worth reading, such as why something was not measured.
    """

    path: Path
    adapter: str
    base: str
    dtype: str
    bytes_written: int
    merged_tensors: int
    merged: Agreement | None
    stored: Agreement | None
    trained: Agreement | None
    quantisation: Agreement | None
    probes: int
    positions: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def max_logit_difference(self) -> float | None:
        """What the merge's own arithmetic changes: the largest of `merged`, or None when not measured."""
        return None if self.merged is None else self.merged.largest
