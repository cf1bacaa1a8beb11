"""A recorded run once more: its settings and its rows, with whatever is given anew in their place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.config import TrainConfig
from lora_magic.dataset.files import Rows
from lora_magic.dataset.sources import Source, read
from lora_magic.errors import LoraError
from lora_magic.files import atomic_file
from lora_magic.training.runs import find_run, read_settings

KEPT_ROWS, KEPT_HELD_OUT, KEPT_EVAL_DATA = "data.jsonl", "held_out.jsonl", "eval_data.jsonl"
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
    chosen = _chosen(recorded)
    settings = {**_settings(recorded, chosen, given), **given}
    notes = [f"settings of the run {folder.name}{_changed(recorded, given)}"]
    if "data" not in given:
        settings["data"], said = _rows(folder, recorded)
        notes.append(said)
    if "eval_data" not in given:
        settings["eval_data"] = _eval_data(folder, recorded, chosen)
    settings.setdefault("name", str(recorded.get("name") or folder.name))
    try:
        made = TrainConfig.of(settings)
    except LoraError as error:
        remedy = error.remedy if given else "Give what it names anew, beside --from."
        raise LoraError(f"With the settings of the run {folder.name}: {error.problem}", remedy) from None
    object.__setattr__(made, "given", (chosen & made.given) | config.given)
    model, bits = str(recorded.get("model") or ""), recorded.get("bits")
    rows = "" if "data" in given else str(recorded.get("content_hash") or "")
    return Repeat(made, model, bits if isinstance(bits, int) else None, rows, tuple(notes))


def _chosen(recorded: Mapping[str, Any]) -> frozenset[str]:
    """The options that somebody gave; all of them in a record that does not say."""
    given = recorded.get("given")
    return frozenset(str(name) for name in (given if isinstance(given, list) else recorded))


def _settings(recorded: Mapping[str, Any], chosen: Collection[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is taken over: everything but what was derived from something that is given anew.

    What was left to be chosen is taken over as well, or the user's own defaults would stand there now.
    """
    fields = {field.name: field for field in dataclasses.fields(TrainConfig) if field.name not in _NOT_REPEATED}
    found = {
        name: value
        for name, value in recorded.items()
        if name in fields and (value is not None or fields[name].default is None)
    }
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


def _eval_data(folder: Path, recorded: Mapping[str, Any], chosen: Collection[str]) -> object:
    """The held-out rows of the user's own: as the run kept them, or what was given; None where none were."""
    if (folder / KEPT_EVAL_DATA).is_file():
        return Source(f"the held-out rows of {folder.name}", read(folder / KEPT_EVAL_DATA).rows)
    found = recorded.get("eval_data")
    if found is None and "eval_data" in chosen and "given" in recorded:
        raise LoraError(f"The run {folder.name} did not keep its held-out rows.", "Give them with --eval-data.")
    return found


def keep_rows(folder: Path, source: Source, own: Source | None = None) -> None:
    """Write the rows that lie in no file into the run's folder, up to 64 MiB, so that the run can be repeated.

    Args:
        folder: the run's.
        source: where its rows came from.
        own: where held-out rows of the user's own came from.

    Raises:
        LoraError: no space or no permission.
    """
    parts: list[tuple[str, Rows | None]] = []
    if source.kind in UNNAMED:
        parts += [(KEPT_ROWS, source.rows), (KEPT_HELD_OUT, source.held_out)]
    if own is not None and own.kind in UNNAMED:
        parts.append((KEPT_EVAL_DATA, own.rows))
    for name, rows in parts:
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
