"""Where rows come from: a file, a folder, a notebook variable, an embedded set, or an object."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_magic.dataset.files import Row, kind, read_file, rows_from_text
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError, nearest

__all__ = ["Source", "read", "rows_from_text"]

HELD_OUT_NAMES = ("validation", "valid", "dev", "test")
ACCEPTED = "a list of dicts, a list of strings, a DataFrame or a Dataset"

_SHARD = re.compile(r"(?P<split>[a-z]+)(-\d+-of-\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """Rows, as they were found.

    Attributes:
        name: the file, folder, variable or set, for messages.
        rows: the training rows; never empty.
        held_out: rows that came as a held-out part of their own, or None.
        notes: what was decided on the way, a sentence each.
    """

    name: str
    rows: list[Row]
    held_out: list[Row] | None = None
    notes: tuple[str, ...] = ()


def read(
    data: object,
    *,
    variables: Mapping[str, object] | None = None,
    embedded: Mapping[str, Path] | None = None,
) -> Source:
    """Finds the rows that `data` stands for.

    Args:
        data: a path, a name (looked up among files, `variables` and `embedded`), or an object that has rows.
        variables: the notebook's variables; names that start with "_" are not looked at.
        embedded: the folders of the embedded sets by name.

    Raises:
        LoraError: nothing or more than one thing has that name, or what has it holds no readable rows.
    """
    if isinstance(data, Path):
        return _from_path(data.expanduser(), str(data))
    if isinstance(data, str):
        return _from_name(data.strip(), variables or {}, embedded or {})
    return _from_object(data, f"the {type(data).__name__}")


def _from_name(name: str, variables: Mapping[str, object], embedded: Mapping[str, Path]) -> Source:
    if not name:
        raise LoraError(
            "No data was named.", f"Give a file, a folder, a variable or an embedded set{_listed(embedded)}."
        )
    path = Path(name).expanduser()
    variable = variables.get(name) if not name.startswith("_") else None
    found = {
        "a file": _exists(path),
        "a variable": _could_be_data(variable),
        "an embedded set": name in embedded,
    }
    matches = [what for what, there in found.items() if there]
    if len(matches) > 1:
        raise LoraError(f'"{shown(name)}" is {" and ".join(matches)}.', _how_to_choose(name, matches))
    if found["a file"]:
        return _from_path(path, name)
    if found["a variable"]:
        return _from_object(variable, name)
    if found["an embedded set"]:
        return replace(_from_path(embedded[name], name), name=name)
    if variable is not None:
        raise LoraError(f'The variable "{name}" is {_article(variable)}, not rows.', f"Rows are {ACCEPTED}.")
    raise LoraError(
        f'No file, variable or embedded set is called "{shown(name)}".',
        _suggestion(path, variables, embedded),
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _how_to_choose(name: str, matches: Sequence[str]) -> str:
    ways = {
        "a file": f"write ./{name} for the file",
        "a variable": "rename the variable or pass it to the function to use it",
        "an embedded set": "rename the other to use the embedded set",
    }
    text = "; ".join(ways[match] for match in matches)
    return f"{text[0].upper()}{text[1:]}."


def _suggestion(path: Path, variables: Mapping[str, object], embedded: Mapping[str, Path]) -> str:
    try:
        files = [str(path.parent / entry.name) for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        files = []
    usable = [key for key, value in variables.items() if not key.startswith("_") and _could_be_data(value)]
    guess = nearest(str(path), [*files, *usable, *embedded])
    return guess or f"Give a file, a folder, a variable that is {ACCEPTED}, or an embedded set{_listed(embedded)}."


def _listed(embedded: Mapping[str, Path]) -> str:
    return f" ({', '.join(embedded)})" if embedded else ""


def _from_path(path: Path, asked: str) -> Source:
    if path.is_dir():
        return _from_folder(path)
    if not _exists(path):
        raise LoraError(f'There is no file "{shown(asked)}".', _suggestion(path, {}, {}))
    return Source(path.name, read_file(path))


def _from_folder(folder: Path) -> Source:
    """The Hub's layout (train.* and perhaps test.* or validation.*), or the one data file that is there."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise LoraError(
            f'The folder "{folder.name}" cannot be read ({error.strerror}).', "Check its permissions."
        ) from None
    files = [path for path in entries if path.is_file() and kind(path) and path.name[0] != "."]
    splits = _splits(files)
    if "train" in splits:
        spare = [name for name in HELD_OUT_NAMES if name in splits]
        held_out = _read_all(splits[spare[0]], folder) if spare else None
        notes = [f"held out: {' and '.join(path.name for path in splits[spare[0]])}"] if spare else []
        notes += [f"not used: {path.name}" for name in spare[1:] for path in splits[name]]
        return Source(folder.name, _read_all(splits["train"], folder), held_out, tuple(notes))
    if len(files) == 1:
        return Source(f"{folder.name}/{files[0].name}", read_file(files[0]))
    there = ", ".join(path.name for path in (files or entries)[:8])
    problem = f'The folder "{folder.name}" has no train.* and {"several data files" if files else "no data file"}'
    raise LoraError(f"{problem} ({there or 'it is empty'}).", "Name one file, or call one train.jsonl.")


def _splits(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by split: `train.jsonl`, or shards such as `train-00000-of-00002.parquet`."""
    splits: dict[str, list[Path]] = {}
    for path in files:
        match = _SHARD.fullmatch(path.name.partition(".")[0])
        if match:
            splits.setdefault(match["split"].lower(), []).append(path)
    return splits


def _read_all(paths: Sequence[Path], folder: Path) -> list[Row]:
    """The rows of a split; several files are fine when they are shards, not the same split in two formats."""
    whole = [path for path in paths if "-of-" not in path.name]
    if whole and len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise LoraError(f'The folder "{folder.name}" has more than one of a kind ({names}).', "Name one file.")
    return [row for path in paths for row in read_file(path)]


def _from_object(value: object, name: str) -> Source:
    if _is_a(value, "datasets", "DatasetDict"):
        return _from_splits(value, name)
    rows = _rows(value, name)
    if not rows:
        raise LoraError(f"{name} has no rows.", "Give data that holds examples.")
    return Source(name, rows)


def _from_splits(splits: Any, name: str) -> Source:
    spare = next((split for split in HELD_OUT_NAMES if split in splits), None)
    if "train" not in splits and len(splits) != 1:
        raise LoraError(
            f'{name} has no "train" split (it has {", ".join(splits) or "none"}).', f'Pass one: {name}["…"].'
        )
    main = "train" if "train" in splits else next(iter(splits))
    source = _from_object(splits[main], name)
    if spare is None or spare == main:
        return source
    return replace(source, held_out=_from_object(splits[spare], name).rows, notes=(f'held out: the "{spare}" split',))


def _rows(value: Any, name: str) -> list[Row]:
    if _is_a(value, "pandas", "DataFrame"):
        return _frame_rows(value, name)
    if _is_a(value, "datasets", "Dataset"):
        return list(value.with_format(None).to_list())
    if not isinstance(value, list | tuple):
        raise LoraError(f"{name} is {_article(value)}, not rows.", f"Pass {ACCEPTED}.")
    return [_row(item, index, name) for index, item in enumerate(value, start=1)]


def _row(item: object, number: int, name: str) -> Row:
    if isinstance(item, str):
        return {"text": item}
    if isinstance(item, Mapping):
        return {str(key): value for key, value in item.items()}
    raise LoraError(f"{name} item {number} is {_article(item)}, not a dict or a string.", "Give a list of dicts.")


def _frame_rows(frame: Any, name: str) -> list[Row]:
    if not frame.columns.is_unique:
        twice = next(iter(frame.columns[frame.columns.duplicated()]))
        raise LoraError(f'{name} has the column "{twice}" twice.', "Rename one of them.")
    return [{str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    """A DataFrame's cell as a plain value: arrays become lists, and what stands for missing becomes None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def _could_be_data(value: object) -> bool:
    """Whether a variable counts as data; a look at its type and first item only."""
    if isinstance(value, list | tuple):
        return not value or isinstance(value[0], Mapping) or (isinstance(value, list) and isinstance(value[0], str))
    return any(_is_a(value, *known) for known in _TABLES)


_TABLES = (("pandas", "DataFrame"), ("datasets", "Dataset"), ("datasets", "DatasetDict"))


def _is_a(value: object, module: str, name: str) -> bool:
    """An instance check that imports nothing: without the module loaded, there is no such object."""
    kind_of = getattr(sys.modules.get(module), name, None)
    return isinstance(kind_of, type) and isinstance(value, kind_of)


def _article(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
