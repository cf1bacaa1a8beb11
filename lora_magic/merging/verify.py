"""Does the merged model say what the base with its adapter says?

Next-token logits on a few prompts, in float32, of models whose weights are read as they are needed: the base with
the adapter unmerged, the merge's own arithmetic, the written files, and the base alone. Beside them the model as it
was trained, where it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.errors import LoraError
from lora_magic.files import readable_bytes
from lora_magic.merging.logits import agreement
from lora_magic.merging.originals import Originals, find_originals
from lora_magic.merging.skeleton import Incomplete, Streamed, Weights, of_originals, of_outputs, skeleton, with_adapter
from lora_magic.merging.stream import exact_products
from lora_magic.merging.updates import Plan
from lora_magic.results import Agreement

if TYPE_CHECKING:
    import torch

ABSOLUTE_TOLERANCE = 1e-3
"""Largest logit difference that float32 arithmetic in another order may make."""

RELATIVE_TOLERANCE = 3e-5
"""The same as a share of the largest logit, for models whose logits are large."""

TOKENS = {"cpu": 320, "cuda": 1024}
"""Tokens of all prompts together that are looked at: an 8B model takes 16 GFLOP for each, four times over."""

TABLE_BYTES = 64 * 2**20
"""Of the logits of one model; with a vocabulary of 128,256 tokens they are those of 130 positions."""

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class LogitSource:
    """The model as it was trained, such as a 4-bit base with its adapter.

    Attributes:
        adapter: logits of one prompt (token ids) with the adapter on, (positions, vocabulary).
        base: the same with no adapter.
    """

    adapter: Callable[[list[int]], torch.Tensor]
    base: Callable[[list[int]], torch.Tensor]


@dataclass
class Differences:
    """What was measured; None where it was not.

    Attributes:
        merged: merged in float32 against float32 base + adapter.
        stored: the written folder against float32 base + adapter.
        trained: the written folder against the adapter on the base as trained.
        quantisation: the base as trained against the float32 base.
        tolerance: what the largest difference of `merged` was held against.
        probes, positions: prompts, and positions in them, that were measured on.
        notes: why something was not measured.
    """

    merged: Agreement | None = None
    stored: Agreement | None = None
    trained: Agreement | None = None
    quantisation: Agreement | None = None
    tolerance: float | None = None
    probes: int = 0
    positions: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """Prompts padded on the right, and the positions that are looked at.

    Attributes:
        prompts: token ids.
        chosen: (prompt, position) pairs, spread evenly over all of them.
    """

    prompts: Sequence[list[int]]
    chosen: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, prompts: Sequence[list[int]], vocabulary: int, tokens: int) -> Batch:
        """As many positions of the prompts' beginnings as `TABLE_BYTES` hold.

        Args:
            prompts: token ids.
            vocabulary: how many tokens there are.
            tokens: of all prompts together at most, two each at least.
        """
        cut = [list(prompt[: max(2, tokens // len(prompts))]) for prompt in prompts if prompt]
        places = [(row, position) for row, prompt in enumerate(cut) for position in range(len(prompt))]
        most = max(len(cut), TABLE_BYTES // (4 * max(1, vocabulary)))
        step = max(1.0, len(places) / most)
        count = min(len(places), most)
        return cls(cut, [places[int(index * step)] for index in range(count)])

    def logits(self, model: Streamed) -> torch.Tensor:
        """Of the chosen positions, (positions, vocabulary)."""
        import torch

        width = max(len(prompt) for prompt in self.prompts)
        ids = torch.tensor([prompt + [0] * (width - len(prompt)) for prompt in self.prompts])
        mask = torch.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in self.prompts])
        return model.logits(ids, mask, torch.tensor([row * width + position for row, position in self.chosen]))

    def picked(self, ask: Callable[[list[int]], torch.Tensor]) -> torch.Tensor:
        """The same positions of a model that answers one prompt at a time."""
        import torch

        tables = []
        for row, prompt in enumerate(self.prompts):
            wanted = [position for other, position in self.chosen if other == row]
            if wanted:
                tables.append(ask(prompt)[wanted].float().cpu())
        return torch.cat(tables)


def _needed_bytes(originals: Originals) -> int:
    """Memory for verifying: a module's weights twice over, and four tables of logits."""
    ends = ("embed_tokens.weight", "lm_head.weight")
    inner = (stored.values for name, stored in originals.weights.items() if not name.endswith(ends))
    return 8 * max(inner, default=0) + 4 * TABLE_BYTES + 2**28


def reason_not_to_measure(originals: Originals, probes: Sequence[list[int]]) -> str:
    """Why nothing is measured; empty when it is."""
    import psutil

    if not any(probes):
        return "differences not measured: no probe prompts"
    if originals.shelf is not None:
        return "differences not measured: --low-disk drops the base's files as they are merged"
    needed, available = _needed_bytes(originals), int(psutil.virtual_memory().available)
    if needed > available:
        free = readable_bytes(available)
        return f"differences not measured: that needs {readable_bytes(needed)} of memory and {free} is free"
    return ""


class Verification:
    """The comparisons in the order in which they need their models.

    Args:
        originals: the base.
        adapter_folder: what peft loads.
        plan: what was merged.
        probes: prompts as token ids.
        trained: the model as trained, or None.
        trust_remote_code: passed to transformers.
        device: where to compute.
    """

    def __init__(
        self,
        originals: Originals,
        adapter_folder: Path,
        plan: Plan,
        probes: Sequence[list[int]],
        trained: LogitSource | None,
        trust_remote_code: bool,
        device: str = "cpu",
    ) -> None:
        self._originals, self._adapter_folder, self._plan = originals, adapter_folder, plan
        self._trained, self._trust, self._device = trained, trust_remote_code, device
        self._probes = [list(prompt) for prompt in probes if prompt]
        self._found = Differences()

    def run(self, written: Path, report: Report) -> Differences:
        """Measure.

        Args:
            written: the merged model's folder.
            report: called with the share done and what is being done.

        Raises:
            LoraError: the merge's arithmetic differs from the adapter's by more than the tolerance, or the adapter
                lacks a part of what its settings ask for on this base.
        """
        reason = reason_not_to_measure(self._originals, self._probes)
        if not reason:
            config = self._originals.config
            nested = config.get("text_config")
            inner = nested.get("vocab_size", 0) if isinstance(nested, dict) else 0
            batch = Batch.of(self._probes, int(config.get("vocab_size") or inner), TOKENS[self._device])
            try:
                with exact_products():
                    self._measure(batch, written, report)
            except (_Wrong, Incomplete):
                raise
            except LoraError as error:
                reason = f"differences not measured: {error.problem}"
        if reason:
            self._found.notes.append(reason)
        return self._found

    def _measure(self, batch: Batch, written: Path, report: Report) -> None:
        found, origins = self._found, of_originals(self._originals, self._device)
        model = with_adapter(self._skeleton(self._originals.folder), self._adapter_folder)
        reference = self._table(batch, model, origins, report, (0.0, "base + adapter"))
        del model
        by_parameter = {output.parameter: output for output in self._plan.outputs}
        merged = of_outputs(by_parameter, self._device)
        plain = self._skeleton(self._originals.folder)
        table = self._table(batch, plain, merged, report, (0.25, "merged in float32"))
        found.merged = agreement(reference, table)
        found.tolerance = max(ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * float(reference.abs().max()))
        found.probes, found.positions = len(batch.prompts), len(batch.chosen)
        self._refuse_wrong()
        stored = of_originals(find_originals(str(written), take_packed=True), self._device)
        table = self._table(batch, self._skeleton(written), stored, report, (0.5, "the written files"))
        found.stored = agreement(reference, table)
        if self._trained is not None:
            found.trained = agreement(batch.picked(self._trained.adapter), table)
            base = self._table(batch, self._skeleton(self._originals.folder), origins, report, (0.75, "the base alone"))
            found.quantisation = agreement(base, batch.picked(self._trained.base))
        else:
            found.notes.append("not compared with the adapter as trained: it is not in memory")

    def _skeleton(self, folder: Path) -> Any:
        return skeleton(folder, self._trust)

    def _table(
        self, batch: Batch, model: Any, weights: Weights, report: Report, stage: tuple[float, str]
    ) -> torch.Tensor:
        start, what = stage
        with weights:
            weights.on_read = lambda share: report(start + 0.25 * share, f"verifying: {what}")
            return batch.logits(Streamed(model, weights, self._device))

    def _refuse_wrong(self) -> None:
        merged, tolerance = self._found.merged, self._found.tolerance
        if merged is None or tolerance is None or merged.largest <= tolerance:
            return
        raise _Wrong(
            f"The merge is not put in place: its logits differ from base + adapter by {merged.largest:.3g} "
            f"(tolerance {tolerance:.3g}).",
            f"The adapter is untouched in {self._adapter_folder}; use it on its base unmerged.",
        )


class _Wrong(LoraError):
    """The merge's arithmetic is wrong, which nothing else outweighs."""


def table_rows(found: Differences) -> Mapping[str, Agreement | None]:
    """What was compared, in words, with how far it agrees; the last two only where the model as trained was there."""
    rows = {
        "merged in float32, base + adapter in float32": found.merged,
        "these weights, base + adapter in float32": found.stored,
    }
    if found.trained is not None:
        rows["these weights, the adapter on its base as trained"] = found.trained
        rows["base as trained, base in float32"] = found.quantisation
    return rows
