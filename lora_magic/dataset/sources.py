"""Where rows come from: a file, a folder, a pattern, a notebook variable, an embedded set, the Hub, or an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lora_magic.dataset import hub
from lora_magic.dataset.files import LARGE, Row, Rows, kind, read_file, read_text
from lora_magic.dataset.folders import HELD_OUT_NAMES, Found, is_pattern, read_folder, read_pattern
from lora_magic.dataset.objects import ACCEPTED, article, could_be_data, is_a, not_rows, object_rows
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError, nearest

__all__ = ["Row", "Rows", "Source", "from_text", "read"]


@dataclass(frozen=True)
class Source:
    """Rows, as they were found.

    Attributes:
        name: the file, folder, variable or set, for messages.
        rows: the training rows; never empty. A list, or of something large rows that are read anew each time.
        held_out: rows that came as a held-out part of their own, or None.
        notes: what was decided on the way, a sentence each.
        kind: "file", "folder", "pattern", "variable", "embedded", "hub", "cell" or "object".
        reference: what finds the same rows tomorrow: an absolute path or pattern, the embedded set's name, the Hub id,
            the variable's name; "" for a cell and an object.
    """

    name: str
    rows: Rows = field(repr=False)
    held_out: Rows | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    kind: str = "object"
    reference: str = ""


def read(
    data: object,
    *,
    variables: Mapping[str, object] | None = None,
    embedded: Mapping[str, Path] | None = None,
    large: int = LARGE,
) -> Source:
    """Finds the rows that `data` stands for.

    Args:
        data: a path or pattern, a name (looked up among files, `variables` and `embedded`), a Hub id where no file has
            that name, or an object that has rows.
        variables: the notebook's variables; names that start with "_" are not looked at.
        embedded: the folders of the embedded sets by name.
        large: bytes above which rows are not kept in memory.

    Raises:
        LoraError: nothing or more than one thing has that name, or what has it holds no readable rows.
    """
    if isinstance(data, Path):
        return _from_path(_expanded(data), str(data), large)
    if isinstance(data, str):
        return _from_name(data.strip(), variables or {}, embedded or {}, large)
    return _from_object(data, f"the {type(data).__name__}", large)


def from_text(text: str, name: str = "the cell") -> Source:
    """Rows that are written out as JSON Lines or as one JSON array, such as a cell's body.

    Raises:
        LoraError: a line is not a JSON object, or there is none.
    """
    loaded = read_text(text, name)
    return Source(name, loaded.rows, None, loaded.notes, "cell")


def _from_name(name: str, variables: Mapping[str, object], embedded: Mapping[str, Path], large: int) -> Source:
    if not name:
        raise LoraError(
            "No data was named.", f"Give a file, a folder, a variable or an embedded set{_listed(embedded)}."
        )
    path = _expanded(Path(name))
    variable = variables.get(name) if not name.startswith("_") else None
    found = {
        "a file": _exists(path),
        "a variable": could_be_data(variable),
        "an embedded set": name in embedded,
    }
    matches = [what for what, there in found.items() if there]
    if len(matches) > 1:
        raise LoraError(f'"{shown(name)}" is {" and ".join(matches)}.', _how_to_choose(name, matches))
    if found["a file"]:
        return _from_path(path, name, large)
    if found["a variable"]:
        return replace(_from_object(variable, name, large), kind="variable", reference=name)
    if found["an embedded set"]:
        return replace(_from_path(embedded[name], name, large), name=name, kind="embedded", reference=name)
    if variable is not None:
        raise not_rows(variable, f'The variable "{name}" is {article(variable)}, not rows.')
    return _from_elsewhere(name, path, variables, embedded, large)


def _from_elsewhere(
    name: str, path: Path, variables: Mapping[str, object], embedded: Mapping[str, Path], large: int
) -> Source:
    """What a name can be that is no file, variable or embedded set: an id on the Hub or a pattern."""
    wanted = None if kind(path) else hub.hub_id(name)
    guess = _suggestion(path, variables, embedded)
    if wanted and not (guess.startswith("Did") and _exists(path.parent)):
        source = _from_object(hub.load(wanted), str(wanted), large)
        return replace(source, kind="hub", reference=str(wanted))
    if is_pattern(name):
        return _made(read_pattern(path, large), "pattern", path)
    if "://" in name:
        raise LoraError(f'"{shown(name)}" is an address.', "Download the file and give its path.")
    raise LoraError(f'No file, variable or embedded set is called "{shown(name)}".', guess)


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        return path


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
    usable = [key for key, value in variables.items() if not key.startswith("_") and could_be_data(value)]
    guess = nearest(str(path), [*files, *usable, *embedded])
    return guess or f"Give a file, a folder, a variable that is {ACCEPTED}, or an embedded set{_listed(embedded)}."


def _listed(embedded: Mapping[str, Path]) -> str:
    return f" ({', '.join(embedded)})" if embedded else ""


def _from_path(path: Path, asked: str, large: int) -> Source:
    if _exists(path) and path.is_dir():
        return _made(read_folder(path, large), "folder", path)
    if not _exists(path):
        if is_pattern(path.name) or is_pattern(str(path.parent)):
            return _made(read_pattern(path, large), "pattern", path)
        raise LoraError(f'There is no file "{shown(asked)}".', _suggestion(path, {}, {}))
    loaded = read_file(path, large)
    return Source(path.name, loaded.rows, None, loaded.notes, "file", str(path.absolute()))


def _made(found: Found, what: str, path: Path) -> Source:
    return Source(found.name, found.rows, found.held_out, found.notes, what, str(path.absolute()))


def _from_object(value: object, name: str, large: int) -> Source:
    if is_a(value, "datasets", "DatasetDict", "IterableDatasetDict"):
        return _from_splits(value, name, large)
    rows, notes = object_rows(value, name, large)
    if not rows:
        raise LoraError(f"{name} has no rows.", "Give data that holds examples.")
    return Source(name, rows, notes=notes)


def _from_splits(splits: Any, name: str, large: int) -> Source:
    spare = next((split for split in HELD_OUT_NAMES if split in splits), None)
    if "train" not in splits and len(splits) != 1:
        raise LoraError(
            f'{name} has no "train" split (it has {", ".join(splits) or "none"}).', f'Pass one: {name}["…"].'
        )
    main = "train" if "train" in splits else next(iter(splits))
    source = _from_object(splits[main], name, large)
    if spare is None or spare == main:
        return source
    held_out = _from_object(splits[spare], name, large).rows
    return replace(source, held_out=held_out, notes=(*source.notes, f'held out: the "{spare}" split'))
