"""Merging an adapter into its base's original weights: streamed, verified, atomic."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_magic.errors import LoraError, nearest
from lora_magic.files import disk_errors, refuse_occupied
from lora_magic.merging.adapter import CONFIG, WEIGHTS, Adapter, read_adapter
from lora_magic.merging.companions import is_companion, model_card, write_companions
from lora_magic.merging.originals import Originals, find_originals, unquantised_name
from lora_magic.merging.outlook import require_room
from lora_magic.merging.partial import Work, work_folder
from lora_magic.merging.stream import Maker, free_device
from lora_magic.merging.tensors import read_header
from lora_magic.merging.updates import Plan, plan_merge
from lora_magic.merging.verify import Differences, LogitSource, Verification
from lora_magic.merging.write import Shard, header, layout, total_bytes, write_shards
from lora_magic.results import MergeResult, RunSummary

DTYPES = ("float16", "bfloat16", "float32")
"""What merged weights are written in."""

_WRITING_SHARE = 0.6
_RECIPE_VERSION = 1
_WRITTEN = re.compile(r"config\.json|model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Settings:
    """How a merged model is written.

    Attributes:
        dtype: of the weights: float16, bfloat16 or float32; with `packed` of what is not packed.
        packed: write linear layers in NF4.
        shard_size: bytes that a file holds at most.
        overwrite: replace the output when it is there.
        low_disk: fetch a Hub base's weight files one at a time.
        take_packed: unpack a 4-bit base although its name tells of a 16-bit original.
        trust_remote_code: let transformers run code from the base's folder.
    """

    dtype: str = "float16"
    packed: bool = False
    shard_size: int = 4_000_000_000
    overwrite: bool = False
    low_disk: bool = False
    take_packed: bool = False
    trust_remote_code: bool = False


def merge(
    adapter_folder: Path,
    base: str,
    out: Path,
    settings: Settings | None = None,
    *,
    revision: str | None = None,
    probes: Sequence[list[int]] = (),
    trained: LogitSource | None = None,
    progress: Progress | None = None,
    name: str = "",
    run: RunSummary | None = None,
) -> MergeResult:
    """Write the base with the adapter merged into it to a new folder, or nothing.

    A few pieces of tensors are in memory at a time. The merged folder is verified before it gets its name. A
    process that is killed leaves its finished files in a hidden folder beside `out`; the same merge, asked for
    again, goes on from there.

    Args:
        adapter_folder: a peft adapter.
        base: folder or Hub id of the base's original weights.
        out: the folder to be.
        settings: how it is written.
        revision: of the base on the Hub.
        probes: prompts (token ids) to compare logits on; none, no verification.
        trained: the model as it was trained, to compare with.
        progress: called with the share done (0 to 1) and what is being done.
        name: the adapter's name; its folder's when empty.
        run: the record of the run that made the adapter, for the model card.

    Returns:
        Where the model is and what merging and rounding changed.

    Raises:
        LoraError: something does not fit, the disk or the network refuses, or the verification fails. In
            each case, and on an interrupt, `out` is as it was.
    """
    started = time.monotonic()
    settings = settings or Settings()
    adapter_folder, out = adapter_folder.expanduser(), out.expanduser()
    _check_settings(settings)
    with disk_errors(out):
        _check_places(out, adapter_folder, base)
        refuse_occupied(out, settings.overwrite)
        _refuse_foreign(out)
    adapter = read_adapter(adapter_folder)
    with work_folder(out, settings.overwrite) as work:
        job = _prepared(adapter, base, revision, settings, work, name or adapter_folder.name)
        written, found = _fill(job, work, probes, trained, run, progress or _silent)
    return _result(job, out, written, found, time.monotonic() - started)


@dataclass(frozen=True)
class _Job:
    """A merge whose inputs were found to fit."""

    name: str
    adapter: Adapter
    originals: Originals
    plan: Plan
    shards: tuple[Shard, ...]
    settings: Settings
    device: str
    finished: int


def _prepared(adapter: Adapter, base: str, revision: str | None, settings: Settings, work: Work, name: str) -> _Job:
    parked = work.parked if settings.low_disk else None
    originals = find_originals(base, revision=revision, take_packed=settings.take_packed, low_disk=parked)
    _check_apart(work.target, originals.folder, "the base's folder")
    plan = plan_merge(originals, adapter, settings.trust_remote_code)
    packed = frozenset[str]()
    if settings.packed:
        from lora_magic.merging.nf4_folder import packable

        packed = packable(originals, plan, settings.trust_remote_code)
    shards = layout(plan.outputs, settings.dtype, settings.shard_size, packed)
    device = free_device()
    finished = work.begin(_recipe(adapter, originals, shards, device))
    done = sum(path.stat().st_size for path in work.folder.glob("*.safetensors"))
    require_room(originals, work.target, total_bytes(shards), done)
    return _Job(name, adapter, originals, plan, shards, settings, device, finished)


def _recipe(adapter: Adapter, originals: Originals, shards: Sequence[Shard], device: str) -> str:
    """A hash over all that the written bytes depend on.

    Local weight files count by header, size and time of change, those on the Hub by the commit; the adapter
    counts by its bytes.
    """
    made = hashlib.sha256(f"{_RECIPE_VERSION} {device}".encode())
    for file in (CONFIG, WEIGHTS):
        made.update(hashlib.sha256((adapter.folder / file).read_bytes()).digest())
    for file_path in dict.fromkeys(stored.file for stored in originals.weights.values()):
        if originals.shelf is None:
            state = file_path.stat()
            described = [file_path.name, state.st_size, state.st_mtime_ns, read_header(file_path)[0]]
        else:
            described = [file_path.name, originals.folder.name]
        made.update(json.dumps(described, sort_keys=True).encode())
    for shard in shards:
        made.update(header(shard))
    return made.hexdigest()


def _fill(
    job: _Job,
    work: Work,
    probes: Sequence[list[int]],
    trained: LogitSource | None,
    run: RunSummary | None,
    report: Progress,
) -> tuple[int, Differences]:
    """Write the whole model into the work folder and verify it: (bytes of its weights, the differences)."""
    settings, folder = job.settings, work.folder
    with Maker(job.originals.shelf, job.device) as maker:
        written = write_shards(folder, job.shards, maker, settings.dtype, _part(report, 0.0, _WRITING_SHARE))
    write_companions(job.originals, job.adapter, job.plan, settings.dtype, folder, job.shards)
    check = Verification(
        job.originals, job.adapter.folder, job.plan, probes, trained, settings.trust_remote_code, job.device
    )
    found = check.run(folder, _part(report, _WRITING_SHARE, 1.0))
    card = model_card(job.originals, job.adapter, name=job.name, dtype=_dtype(settings), found=found, run=run)
    (folder / "README.md").write_text(card, encoding="utf-8")
    report(1.0, "putting the folder in place")
    return written, found


def _dtype(settings: Settings) -> str:
    return "NF4" if settings.packed else settings.dtype


def _result(job: _Job, out: Path, written: int, found: Differences, seconds: float) -> MergeResult:
    return MergeResult(
        path=out,
        adapter=job.name,
        base=job.originals.source,
        dtype=_dtype(job.settings),
        bytes_written=written,
        merged_tensors=sum(output.update is not None for output in job.plan.outputs),
        merged=found.merged,
        stored=found.stored,
        trained=found.trained,
        quantisation=found.quantisation,
        probes=found.probes,
        positions=found.positions,
        seconds=seconds,
        notes=_notes(job, found),
    )


def _silent(share: float, what: str) -> None:
    """The progress report of a caller that wants none."""


def _part(report: Progress, start: float, end: float) -> Progress:
    """A report whose 0 to 1 is a part of the whole."""
    return lambda share, what: report(start + (end - start) * share, what)


def _check_settings(settings: Settings) -> None:
    dtype = settings.dtype
    if dtype not in DTYPES:
        hint = nearest(dtype, DTYPES) or f"Choose one of {', '.join(DTYPES)}."
        raise LoraError(f'dtype is "{dtype}"; merged weights are {", ".join(DTYPES)}.', hint)
    if settings.shard_size < 1:
        raise LoraError(f"shard_size is {settings.shard_size}; a file holds at least one byte.", "Choose, say, 4GB.")


def _check_places(out: Path, adapter_folder: Path, base: str) -> None:
    _check_apart(out, adapter_folder, "the adapter's folder")
    if Path(base).expanduser().is_dir():
        _check_apart(out, Path(base).expanduser(), "the base's folder")


def _refuse_foreign(out: Path) -> None:
    """Overwriting is for model folders: one with anything else in it is left alone."""
    for entry in sorted(out.iterdir()) if out.is_dir() else ():
        if not (is_companion(entry) or (entry.is_file() and _WRITTEN.fullmatch(entry.name))):
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
    if job.finished:
        files = "1 file" if job.finished == 1 else f"{job.finished} files"
        notes.append(f"went on from a merge that was stopped: {files} of {len(job.shards)} were done")
    if found.tolerance is not None:
        notes.append(f"checked before it was put in place: within {found.tolerance:.2g} of base + adapter in float32")
    if originals.packed:
        notes.append(
            "the base is known only in 4 bits: what its quantisation changed stays in these weights, "
            "and they are no closer to the original model than it was"
        )
    if adapter.unknown:
        saved = f" by peft {adapter.saved_by}" if adapter.saved_by else ""
        notes.append(f"the adapter was saved{saved} with {', '.join(adapter.unknown)}, unknown here and left out")
    if job.plan.untied:
        notes.append("the output head is written apart from the embedding: the adapter changes only one of them")
    if adapter.base and _plain(adapter.base) != _plain(originals.source):
        notes.append(f"the adapter says that it was trained on {adapter.base}; merged into {originals.source}")
    return tuple(notes)


def _plain(base: str) -> str:
    """A base's name for comparing: without owner or folder, quantisation and case."""
    return re.split(r"[\\/]", unquantised_name(base.rstrip("/\\")))[-1].lower()
