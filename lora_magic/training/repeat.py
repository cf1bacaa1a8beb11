"""A recorded run once more: its settings and its rows, with whatever is given anew in their place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.config import TrainConfig
from lora_magic.dataset.files import Rows
from lora_magic.dataset.sources import Source, read
from lora_magic.errors import LoraError
from lora_magic.files import atomic_file
from lora_magic.training.runs import find_run, read_settings

KEPT_ROWS, KEPT_HELD_OUT = "data.jsonl", "held_out.jsonl"
LARGEST_KEPT = 64 * 2**20
UNNAMED = ("variable", "object", "cell")
_NOT_REPEATED = {"name", "data", "from_run", "continue_from"}


@dataclass(frozen=True)
class Repeat:
    """A run as it is to be done, perhaps once more.

    Attributes:
        config: the whole settings.
        model, bits: what the recorded run was trained on; "" and None without one.
        content_hash: of its rows, where the same are to be used; "" otherwise.
        notes: lines worth reading.
    """

    config: TrainConfig
    model: str = ""
    bits: int | None = None
    content_hash: str = ""
    notes: tuple[str, ...] = ()


def repeated(config: TrainConfig) -> Repeat:
    """The settings of the run that `config.from_run` names, those that were given with `config` in their place.

    Args:
        config: as asked for; its `given` says what was given.

    Returns:
        The whole settings; `config` itself where it names no run.

    Raises:
        LoraError: there is no such run, its record cannot be read, or its rows are gone.
    """
    if config.from_run is None:
        return Repeat(config)
    folder = find_run(config.from_run)
    recorded = read_settings(folder)
    given = {name: getattr(config, name) for name in config.given}
    settings = {**_settings(recorded, given), **given}
    notes = [f"settings of the run {folder.name}{_changed(recorded, given)}"]
    if "data" not in given:
        settings["data"], said = _rows(folder, recorded)
        notes.append(said)
    settings.setdefault("name", str(recorded.get("name") or folder.name))
    try:
        made = TrainConfig.of(settings)
    except LoraError as error:
        remedy = error.remedy if given else "Give what it names anew, beside --from."
        raise LoraError(f"With the settings of the run {folder.name}: {error.problem}", remedy) from None
    model, bits = str(recorded.get("model") or ""), recorded.get("bits")
    rows = "" if "data" in given else str(recorded.get("content_hash") or "")
    return Repeat(made, model, bits if isinstance(bits, int) else None, rows, tuple(notes))


def _settings(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is taken over: everything but what was derived from something that is given anew."""
    chosen = set(recorded.get("given") or ()) if isinstance(recorded.get("given"), list) else set(recorded)
    known = {field.name for field in dataclasses.fields(TrainConfig)} - _NOT_REPEATED
    found = {name: value for name, value in recorded.items() if name in known and value is not None}
    if "rank" in given and "alpha" not in chosen:
        found.pop("alpha", None)
    if "preset" in given:
        found = {name: value for name, value in found.items() if name in chosen}
    if {"epochs", "max_steps"} & set(given):
        found = {name: value for name, value in found.items() if name not in ("epochs", "max_steps")}
    return found


def _changed(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    changes = [
        f"{name.replace('_', '-')} {value} (was {recorded.get(name)})"
        for name, value in given.items()
        if name not in _NOT_REPEATED and recorded.get(name) != value
    ]
    return f", but {', '.join(changes)}" if changes else ""


def _rows(folder: Path, recorded: Mapping[str, Any]) -> tuple[object, str]:
    """The rows of the run: as it kept them, or from where it had them."""
    name, reference = str(recorded.get("data") or ""), str(recorded.get("data_reference") or "")
    if (folder / KEPT_ROWS).is_file():
        held_out = read(folder / KEPT_HELD_OUT).rows if (folder / KEPT_HELD_OUT).is_file() else None
        kept = read(folder / KEPT_ROWS).rows
        return Source(name, kept, held_out, (), "object"), f"the rows of {name}, as the run kept them"
    if not reference:
        raise LoraError(
            f"The run {folder.name} kept no rows, and {name or 'its data'} was in no file.", "Give them with --data."
        )
    return reference, f"the rows of {reference}"


def keep_rows(folder: Path, source: Source) -> None:
    """Write the rows that lie in no file into the run's folder, up to 64 MiB, so that the run can be repeated.

    Args:
        folder: the run's.
        source: where its rows came from.

    Raises:
        LoraError: no space or no permission.
    """
    if source.kind not in UNNAMED:
        return
    for name, rows in ((KEPT_ROWS, source.rows), (KEPT_HELD_OUT, source.held_out)):
        text = _json_lines(rows) if rows is not None else None
        if text is not None:
            atomic_file(folder / name, text)


def _json_lines(rows: Rows | Iterable[Mapping[str, Any]]) -> str | None:
    """The rows as JSON Lines; None where they are too large to keep."""
    lines, size = [], 0
    for row in rows:
        lines.append(json.dumps(row, ensure_ascii=False, default=str))
        size += len(lines[-1])
        if size > LARGEST_KEPT:
            return None
    return "".join(line + "\n" for line in lines)
