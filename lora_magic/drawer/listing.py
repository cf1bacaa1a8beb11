"""What is known of every adapter, in memory and in the runs' folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lora_magic.backends.saved import CONFIG, RUNS, WEIGHTS, read_config
from lora_magic.drawer.adapter import Adapter
from lora_magic.errors import LoraError
from lora_magic.results import AdapterEntry
from lora_magic.training.read_runs import read_run
from lora_magic.training.runs import is_run


def entries(adapters: Mapping[str, Adapter], active: str) -> tuple[AdapterEntry, ...]:
    """Those in memory, then those that lie in the runs' folder alone.

    Args:
        adapters: in memory, by name.
        active: the one in use, or "base".
    """
    loaded = [_entry(a.name, a.path, "in use" if a.name == active else "in memory", a.kind) for a in adapters.values()]
    taken = {entry.path.resolve() for entry in loaded if entry.path is not None}
    return (*loaded, *(_entry(path.parent.name, path, "on disk", "") for path in _on_disk() if path not in taken))


def _on_disk() -> Iterable[Path]:
    folder = RUNS.absolute()
    try:
        found = sorted(folder.iterdir(), key=_in_order) if folder.is_dir() else []
        return [place.resolve() for run in found if ((place := run / "adapter") / CONFIG).is_file()]
    except OSError:
        return []


def _in_order(run: Path) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value: `first-2` comes before `first-10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", run.name)]


def _entry(name: str, path: Path | None, place: str, kind: str) -> AdapterEntry:
    if path is None:
        return AdapterEntry(name, place, "", kind, 0, 0, note="it is not on disk: %lora_merge or %lora_use keep it")
    weights = path / WEIGHTS
    try:
        recorded, note = read_config(path), ""
    except LoraError as error:
        recorded, note = {}, error.problem
    ranks, unreadable = _ranks(weights) if not note else ({}, "")
    run = read_run(path.parent) if is_run(path.parent) else None
    return AdapterEntry(
        name=name, place=place, base=str(recorded.get("base_model_name_or_path") or ""),
        kind=kind or kind_of(recorded), rank=_rank(recorded), bytes=weights.stat().st_size if weights.is_file() else 0,
        run=run.name if run else "", held_out=run.kept if run else None, path=path,
        effective_ranks=ranks, note=note or unreadable,
    )  # fmt: skip


def _ranks(weights: Path) -> tuple[dict[int, float], str]:
    from safetensors import SafetensorError

    from lora_magic.drawer.spectrum import effective_ranks

    try:
        return effective_ranks(weights), ""
    except (OSError, SafetensorError, ValueError) as error:
        return {}, f"its weights cannot be read ({str(error)[:80]})"


def kind_of(recorded: Mapping[str, Any]) -> str:
    """Method and rank of an adapter by its own record, such as "lora, rank 8"."""
    kind = str(recorded.get("peft_type") or "unknown").lower()
    if kind == "lora":
        kind = ("rs" if recorded.get("use_rslora") else "") + ("dora" if recorded.get("use_dora") else "lora")
    rank = _rank(recorded)
    return f"{kind}, rank {rank}" if rank else kind


def _rank(recorded: Mapping[str, Any]) -> int:
    pattern = recorded.get("rank_pattern")
    given = [recorded.get("r"), *(pattern.values() if isinstance(pattern, Mapping) else ())]
    return max((value for value in given if isinstance(value, int)), default=0)
