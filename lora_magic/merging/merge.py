"""Merging an adapter into its base's original weights: streamed, verified, atomic."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_magic.errors import LoraError, nearest
from lora_magic.files import atomic_folder, refuse_occupied, require_space
from lora_magic.merging.adapter import Adapter, read_adapter
from lora_magic.merging.companions import model_card, write_companions
from lora_magic.merging.originals import Originals, find_originals, unquantised_name
from lora_magic.merging.stream import stream
from lora_magic.merging.updates import Plan, plan_merge
from lora_magic.merging.verify import Differences, LogitSource, Verification
from lora_magic.merging.write import Shard, layout, total_bytes, write_shards
from lora_magic.results import MergeResult

DTYPES = ("float16", "bfloat16", "float32")
"""What merged weights are written in."""

_COMPANION_BYTES = 64 * 2**20
_WRITING_SHARE = 0.6

Progress = Callable[[float, str], None]


def merge(
    adapter_folder: Path,
    base: str,
    out: Path,
    *,
    revision: str | None = None,
    dtype: str = "float16",
    shard_size: int = 4_000_000_000,
    overwrite: bool = False,
    probes: Sequence[list[int]] = (),
    trained: LogitSource | None = None,
    progress: Progress | None = None,
    name: str = "",
    trust_remote_code: bool = False,
) -> MergeResult:
    """Write the base with the adapter merged into it to a new folder, or nothing.

    One tensor is in memory at a time while writing. The merged folder is verified before it gets its name.

    Args:
        adapter_folder: a peft adapter.
        base: folder or Hub id of the base's original, unquantised weights.
        out: the folder to be.
        revision: of the base on the Hub.
        dtype: of the written weights: float16, bfloat16 or float32.
        shard_size: bytes that a file holds at most.
        overwrite: replace `out` when it is there.
        probes: prompts (token ids) to compare logits on; none, no verification.
        trained: the model as it was trained, to compare with.
        progress: called with the share done (0 to 1) and what is being done.
        name: the adapter's name; its folder's when empty.
        trust_remote_code: let transformers run code from the base's folder while verifying.

    Returns:
        Where the model is and what merging and rounding changed.

    Raises:
        LoraError: something does not fit, the disk or the network refuses, or the verification fails. In
            each case, and on an interrupt, `out` is as it was.
    """
    started = time.monotonic()
    adapter_folder, out = adapter_folder.expanduser(), out.expanduser()
    _check_settings(dtype, shard_size)
    _check_places(out, adapter_folder, base)
    refuse_occupied(out, overwrite)
    _refuse_foreign(out)
    job = _prepared(adapter_folder, base, out, revision, dtype, shard_size, name or adapter_folder.name)
    check = Verification(job.originals, adapter_folder, job.plan, probes, trained, trust_remote_code)
    with atomic_folder(out, overwrite=overwrite) as partial:
        written, found = _fill(partial, job, check, progress or _silent)
    return _result(job, out, written, found, time.monotonic() - started)


@dataclass(frozen=True)
class _Job:
    """A merge whose inputs were found to fit."""

    name: str
    adapter: Adapter
    originals: Originals
    plan: Plan
    shards: tuple[Shard, ...]
    dtype: str


def _prepared(
    adapter_folder: Path, base: str, out: Path, revision: str | None, dtype: str, shard_size: int, name: str
) -> _Job:
    adapter = read_adapter(adapter_folder)
    originals = find_originals(base, revision=revision)
    _check_apart(out, originals.folder, "the base's folder")
    plan = plan_merge(originals, adapter)
    shards = layout(plan.outputs, dtype, shard_size)
    require_space(out, total_bytes(shards) + _COMPANION_BYTES, "The merged model")
    return _Job(name, adapter, originals, plan, shards, dtype)


def _fill(folder: Path, job: _Job, check: Verification, report: Progress) -> tuple[int, Differences]:
    """Write the whole model into `folder` and verify it: (bytes of its weights, the differences)."""
    ordered = [entry.output for shard in job.shards for entry in shard.entries]
    writing = _part(report, 0.0, _WRITING_SHARE)
    written = write_shards(folder, job.shards, stream(ordered), job.dtype, writing)
    write_companions(job.originals, job.adapter, job.plan, job.dtype, folder)
    found = check.run(folder, _part(report, _WRITING_SHARE, 1.0))
    card = model_card(job.originals, job.adapter, name=job.name, dtype=job.dtype, measured=_table(found))
    (folder / "README.md").write_text(card, encoding="utf-8")
    report(1.0, "putting the folder in place")
    return written, found


def _result(job: _Job, out: Path, written: int, found: Differences, seconds: float) -> MergeResult:
    return MergeResult(
        path=out,
        adapter=job.name,
        base=job.originals.source,
        dtype=job.dtype,
        bytes_written=written,
        merged_tensors=sum(output.update is not None for output in job.plan.outputs),
        max_logit_difference=found.merged,
        stored_logit_difference=found.stored,
        trained_logit_difference=found.trained,
        quantisation_logit_difference=found.quantisation,
        top_token_agreement=found.agreement,
        probes=found.probes,
        seconds=seconds,
        notes=_notes(job, found),
    )


def _silent(share: float, what: str) -> None:
    """The progress report of a caller that wants none."""


def _part(report: Progress, start: float, end: float) -> Progress:
    """A report whose 0 to 1 is a part of the whole."""
    return lambda share, what: report(start + (end - start) * share, what)


def _check_settings(dtype: str, shard_size: int) -> None:
    if dtype not in DTYPES:
        hint = nearest(dtype, DTYPES) or f"Choose one of {', '.join(DTYPES)}."
        raise LoraError(f'dtype is "{dtype}"; merged weights are {", ".join(DTYPES)}.', hint)
    if shard_size < 1:
        raise LoraError(f"shard_size is {shard_size}; a file holds at least one byte.", "Choose, say, 4GB.")


def _check_places(out: Path, adapter_folder: Path, base: str) -> None:
    _check_apart(out, adapter_folder, "the adapter's folder")
    if Path(base).expanduser().is_dir():
        _check_apart(out, Path(base).expanduser(), "the base's folder")


def _refuse_foreign(out: Path) -> None:
    """Overwriting is for model folders: one with anything else in it is left alone."""
    known = (".safetensors", ".json", ".jinja", ".model", ".txt")
    for entry in sorted(out.iterdir()) if out.is_dir() else ():
        if entry.is_dir() or (entry.suffix not in known and entry.name != "README.md"):
            raise LoraError(f"{out} holds {entry.name}, which no merge wrote.", "Choose another folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise LoraError(f"{out} is not a model folder.", "Choose another folder.")


def _check_apart(out: Path, folder: Path, what: str) -> None:
    """Refuse an output that lies in an input, or that would replace one."""
    target, source = out.resolve(), folder.resolve()
    if target == source or source in target.parents:
        raise LoraError(f"The output {out} lies in {what} {folder}.", "Choose a folder outside it.")
    if target in source.parents:
        raise LoraError(f"The output {out} holds {what} {folder}.", "Choose another folder.")


def _notes(job: _Job, found: Differences) -> tuple[str, ...]:
    adapter, originals = job.adapter, job.originals
    notes = list(found.notes)
    if found.tolerance is not None:
        notes.append(f"checked before it was put in place: within {found.tolerance:.2g} of base + adapter in float32")
    if job.plan.untied:
        notes.append("the output head is written apart from the embedding: the adapter changes only one of them")
    if adapter.base and _plain(adapter.base) != _plain(originals.source):
        notes.append(f"the adapter says that it was trained on {adapter.base}; merged into {originals.source}")
    return tuple(notes)


def _plain(base: str) -> str:
    """A base's name for comparing: without owner or folder, quantisation and case."""
    return re.split(r"[\\/]", unquantised_name(base.rstrip("/\\")))[-1].lower()


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


def _table(found: Differences) -> list[tuple[str, str]]:
    rows = [
        ("merged in float32, base + adapter in float32", _figure(found.merged)),
        ("these weights, base + adapter in float32", _figure(found.stored)),
    ]
    if found.trained is not None:
        rows += [
            ("these weights, the adapter on its base as trained", _figure(found.trained)),
            ("base in float32, base as trained", _figure(found.quantisation)),
            ("same top token as the adapter as trained", f"{found.agreement or 0:.1%} of positions"),
        ]
    return rows
