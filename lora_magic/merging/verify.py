"""Does the merged model say what the base with its adapter says?

Three comparisons of next-token logits on probe prompts, in float32 on the CPU, with one model in memory at a
time: the merge's own arithmetic, the rounding to the written dtype, and the quantisation that was trained on.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.errors import LoraError
from lora_magic.files import free_bytes, readable_bytes
from lora_magic.merging.logits import largest, largest_difference, load_float32, logits, quiet
from lora_magic.merging.originals import Originals
from lora_magic.merging.stream import stream
from lora_magic.merging.updates import Plan

if TYPE_CHECKING:
    import torch

ABSOLUTE_TOLERANCE = 1e-3
"""Largest logit difference that float32 arithmetic in another order may make."""

RELATIVE_TOLERANCE = 3e-5
"""The same as a share of the largest logit, for models whose logits are large."""

_MEMORY_FACTOR = 1.3
_FLOAT32_BYTES = 4


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
    """What was measured: largest absolute logit differences, None where not measured.

    Attributes:
        merged: merged in float32 against float32 base + adapter.
        stored: the written folder against float32 base + adapter.
        trained: the written folder against the adapter on the base as trained.
        quantisation: float32 base against the base as trained.
        agreement: share of positions where the written folder and the adapter as trained agree on the top
            token.
        tolerance: what `merged` was held against.
        probes: prompts measured on.
        notes: why something was not measured.
    """

    merged: float | None = None
    stored: float | None = None
    trained: float | None = None
    quantisation: float | None = None
    agreement: float | None = None
    tolerance: float | None = None
    probes: int = 0
    notes: list[str] = field(default_factory=list)


def reason_not_to_load(originals: Originals) -> str:
    """Why the base is not verified: its float32 weights do not fit in the free memory. Empty when they do."""
    import psutil

    needed = int(originals.parameters * _FLOAT32_BYTES * _MEMORY_FACTOR)
    available = int(psutil.virtual_memory().available)
    if needed <= available:
        return ""
    return (
        f"differences not measured: the float32 base needs {readable_bytes(needed)} of memory and "
        f"{readable_bytes(available)} is free"
    )


def _put_merged(model: Any, plan: Plan) -> None:
    """Replace the changed parameters of a float32 base by the merge's own values."""
    import torch

    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    if plan.untied:
        model.config.tie_word_embeddings = False
    for output, tensor in stream(plan.changed):
        if output.parameter not in names:
            raise LoraError(
                f"The base model has no parameter {output.parameter}, which the adapter changes.",
                "Name the base that the adapter was trained on.",
            )
        owner, _, leaf = output.parameter.rpartition(".")
        value = tensor.to(torch.float32, copy=True)
        setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(value, requires_grad=False))
    if not plan.untied:
        model.tie_weights()


class Verification:
    """The comparisons in the order in which they need their models.

    Args:
        originals: the base.
        adapter_folder: what peft loads.
        plan: what was merged.
        probes: prompts as token ids.
        trained: the model as trained, or None.
        trust_remote_code: passed to transformers.
    """

    def __init__(
        self,
        originals: Originals,
        adapter_folder: Path,
        plan: Plan,
        probes: Sequence[list[int]],
        trained: LogitSource | None,
        trust_remote_code: bool,
    ) -> None:
        self._originals, self._adapter_folder, self._plan = originals, adapter_folder, plan
        self._probes = [list(prompt) for prompt in probes if prompt]
        self._trained, self._trust = trained, trust_remote_code
        self._found = Differences()

    def run(self, written: Path, report: Callable[[float, str], None]) -> Differences:
        """Measure.

        Args:
            written: the merged model's folder.
            report: called with the share done and what is being done.

        Raises:
            LoraError: the merge's arithmetic differs from the adapter's by more than the tolerance.
        """
        reason = "differences not measured: no probe prompts" if not self._probes else ""
        reason = reason or reason_not_to_load(self._originals)
        with tempfile.TemporaryDirectory(prefix="lora_magic-logits-") as spill:
            reason = reason or self._reason_not_to_spill(Path(spill))
            if reason:
                self._found.notes.append(reason)
                return self._found
            report(0.0, "verifying: the base with its adapter")
            try:
                base = load_float32(self._originals.folder, self._trust)
            except LoraError as error:
                self._found.notes.append(f"differences not measured: {error.problem}")
                return self._found
            self._measure_base(base)
            self._measure_merge(base, Path(spill), report)
            del base
            gc.collect()
            report(0.7, "verifying: the written files")
            self._measure_written(written, Path(spill))
        return self._found

    def _reason_not_to_spill(self, spill: Path) -> str:
        config = self._originals.config
        nested = config.get("text_config")
        inner = nested.get("vocab_size", 0) if isinstance(nested, dict) else 0
        vocabulary = int(config.get("vocab_size") or inner)
        needed = sum(len(prompt) for prompt in self._probes) * vocabulary * _FLOAT32_BYTES
        free = free_bytes(spill)
        if needed <= free:
            return ""
        return (
            f"differences not measured: the probes' logits need {readable_bytes(needed)} and "
            f"{readable_bytes(free)} is free at {spill.parent}"
        )

    def _measure_base(self, base: Any) -> None:
        if self._trained is not None:
            pairs = ((logits(base, prompt), self._trained.base(prompt)) for prompt in self._probes)
            self._found.quantisation = largest([largest_difference(*pair) for pair in pairs])

    def _measure_merge(self, base: Any, spill: Path, report: Callable[[float, str], None]) -> None:
        """The reference logits, kept on disk, then the merge in float32 against them."""
        import torch
        from peft import PeftModel

        with quiet():
            adapted: Any = PeftModel.from_pretrained(base, str(self._adapter_folder)).eval()
        peak = 0.0
        for number, prompt in enumerate(self._probes):
            table = logits(adapted, prompt)
            peak = max(peak, float(table.abs().max()))
            torch.save(table.clone(), spill / f"{number}.pt")
        report(0.4, "verifying: merged in float32")
        with quiet():
            plain = adapted.unload()
        _put_merged(plain, self._plan)
        self._found.merged = largest(
            [largest_difference(logits(plain, prompt), table) for prompt, table in self._references(spill)]
        )
        self._found.tolerance = max(ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * peak)
        self._refuse_wrong()

    def _refuse_wrong(self) -> None:
        merged, tolerance = self._found.merged, self._found.tolerance
        if merged is None or tolerance is None or merged <= tolerance:
            return
        raise LoraError(
            f"The merge is not put in place: its logits differ from base + adapter by {merged:.3g} "
            f"(tolerance {tolerance:.3g}).",
            f"The adapter is untouched in {self._adapter_folder}; use it on its base unmerged.",
        )

    def _references(self, spill: Path) -> Iterator[tuple[list[int], torch.Tensor]]:
        import torch

        for number, prompt in enumerate(self._probes):
            yield prompt, torch.load(spill / f"{number}.pt", weights_only=True)

    def _measure_written(self, written: Path, spill: Path) -> None:
        model = load_float32(written, self._trust)
        stored, trained = [], []
        agreed = positions = 0
        for prompt, table in self._references(spill):
            ours = logits(model, prompt)
            stored.append(largest_difference(ours, table))
            if self._trained is not None:
                theirs = self._trained.adapter(prompt)
                trained.append(largest_difference(ours, theirs))
                agreed += int((ours.argmax(-1) == theirs.argmax(-1).cpu()).sum())
                positions += len(prompt)
        self._found.stored, self._found.probes = largest(stored), len(self._probes)
        if trained:
            self._found.trained, self._found.agreement = largest(trained), agreed / positions
