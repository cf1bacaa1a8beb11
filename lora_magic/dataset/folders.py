"""Several files as one source: folders, and patterns such as `data/*.jsonl`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lora_magic.dataset.files import LARGE, TEXT_KINDS, Loaded, Rows, kind, read_file
from lora_magic.dataset.streams import joined
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

HELD_OUT_NAMES = ("validation", "valid", "dev", "test")
MOST_FILES = 10_000

_SHARD = re.compile(r"(?P<split>[a-z]+)(-\d+-of-\d+)?", re.IGNORECASE)
_MAGIC = re.compile(r"[*?\[]")
_ABOUT = re.compile(r"(readme|license|licence|changelog|notice|contributing)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """The rows of several files.

    Attributes:
        name: the folder, file or pattern, for messages.
        rows: the training rows.
        held_out: rows of a held-out part of their own, or None.
        notes: what was decided, a sentence each.
    """

    name: str
    rows: Rows
    held_out: Rows | None = None
    notes: tuple[str, ...] = ()


def read_folder(folder: Path, large: int = LARGE) -> Found:
    """Reads the Hub's layout (train.* and perhaps test.* or validation.*), else files that are all of one kind.

    Raises:
        LoraError: it has neither, or a file cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        problem = f'The folder "{shown(folder.name)}" cannot be read ({error.strerror}).'
        raise LoraError(problem, "Check its permissions.") from None
    files = _data_files(entries)
    splits = _splits(files)
    if "train" in splits:
        return _hub_layout(folder, splits, large)
    if len(files) == 1:
        loaded = read_file(files[0], large)
        return Found(f"{folder.name}/{files[0].name}", loaded.rows, notes=loaded.notes)
    if files and len({kind(path) for path in files}) == 1 and not splits.keys() & {*HELD_OUT_NAMES}:
        loaded = _read_all(files, large)
        return Found(folder.name, loaded.rows, notes=(_counted(files), *loaded.notes))
    there = ", ".join(shown(path.name) for path in (files or entries)[:8])
    problem = (
        f'The folder "{shown(folder.name)}" has no train.* and {"several data files" if files else "no data file"}'
    )
    raise LoraError(f"{problem} ({there or 'it is empty'}).", "Name one file, or call one train.jsonl.")


def is_pattern(text: str) -> bool:
    """Whether a text has any of `*`, `?` and `[`."""
    return bool(_MAGIC.search(text))


def read_pattern(pattern: Path, large: int = LARGE) -> Found:
    """Reads the data files that a pattern matches, in the order of their names; `**` follows no links to folders.

    Raises:
        LoraError: it matches no data file, too many, or files of several kinds.
    """
    asked = shown(pattern)
    parts = pattern.absolute().parts
    fixed = next(index for index, part in enumerate(parts) if is_pattern(part))
    try:
        matches = list(islice(Path(*parts[:fixed]).glob(str(Path(*parts[fixed:]))), MOST_FILES + 1))
    except (OSError, ValueError, NotImplementedError) as error:
        raise LoraError(f'The pattern "{asked}" cannot be used ({shown(error)}).', "Write folder/*.jsonl.") from None
    if len(matches) > MOST_FILES:
        raise LoraError(f'The pattern "{asked}" matches more than {MOST_FILES:,} files.', "Write a narrower one.")
    files = _data_files(sorted(set(matches)))
    if not files:
        what = "no data file" if matches else "nothing"
        raise LoraError(f'The pattern "{asked}" matches {what}.', f"It is looked for in {shown(Path(*parts[:fixed]))}.")
    kinds = sorted({kind(path) for path in files})
    if len(kinds) > 1:
        problem = f'The pattern "{asked}" matches files of several kinds ({", ".join(kinds)}).'
        raise LoraError(problem, f"Write one that ends in one of them, such as *{kinds[0]}.")
    loaded = _read_all(files, large)
    return Found(pattern.name, loaded.rows, notes=(_counted(files), *_tests_among(files), *loaded.notes))


def _counted(files: Sequence[Path]) -> str:
    names = ", ".join(shown(path.name) for path in files[:5]) + (", …" if len(files) > 5 else "")
    return f"{len(files):,} {'file' if len(files) == 1 else 'files'}: {names}"


def _tests_among(files: Sequence[Path]) -> tuple[str, ...]:
    """A word about files that are named like held-out ones: a pattern takes them as it takes the others."""
    splits = _splits(files)
    spare = [path.name for name in HELD_OUT_NAMES for path in splits.get(name, [])]
    if not spare or len(spare) == len(files):
        return ()
    return (f"trained on as well: {', '.join(map(shown, spare[:5]))}, by name a held-out part",)


def _data_files(paths: Iterable[Path]) -> list[Path]:
    """The files that can be read, each once; plain text only where there is nothing else, and no README."""
    files: dict[Path, Path] = {}
    for path in paths:
        if kind(path) and path.name[0] != "." and _is_file(path):
            files.setdefault(path.resolve(), path)
    found = list(files.values())
    tables = [path for path in found if kind(path) not in TEXT_KINDS]
    return tables or [path for path in found if not _ABOUT.match(path.name)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _hub_layout(folder: Path, splits: dict[str, list[Path]], large: int) -> Found:
    spare = [name for name in HELD_OUT_NAMES if name in splits]
    train = _read_split(splits["train"], folder, large)
    if not spare:
        return Found(folder.name, train.rows, notes=train.notes)
    held_out = _read_split(splits[spare[0]], folder, max(large - train.size, 0))
    notes = [f"held out: {' and '.join(shown(path.name) for path in splits[spare[0]])}"]
    notes += [f"not used: {shown(path.name)}" for name in spare[1:] for path in splits[name]]
    notes += [*train.notes, *(f"held out: {note}" for note in held_out.notes)]
    return Found(folder.name, train.rows, held_out.rows, tuple(notes))


def _splits(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by split: `train.jsonl`, or shards such as `train-00000-of-00002.parquet`."""
    splits: dict[str, list[Path]] = {}
    for path in files:
        match = _SHARD.fullmatch(path.name.partition(".")[0])
        if match:
            splits.setdefault(match["split"].lower(), []).append(path)
    return splits


def _read_split(paths: Sequence[Path], folder: Path, large: int) -> Loaded:
    """The rows of a split; several files are fine when they are shards, not the same split in two formats."""
    whole = [path for path in paths if "-of-" not in path.name]
    if whole and len(paths) > 1:
        names = ", ".join(shown(path.name) for path in paths[:8])
        problem = f'The folder "{shown(folder.name)}" has more than one of a kind ({names}).'
        raise LoraError(problem, "Name one file.")
    return _read_all(paths, large)


def _read_all(paths: Sequence[Path], large: int) -> Loaded:
    """The rows of several files; together no more than `large` bytes of them are kept in memory."""
    parts: list[Loaded] = []
    for path in paths:
        parts.append(read_file(path, large))
        large = max(large - parts[-1].size, 0)
    names = [f"{shown(path.name)}: " if len(paths) > 1 else "" for path in paths]
    notes = tuple(f"{name}{note}" for name, part in zip(names, parts, strict=True) for note in part.notes)
    return Loaded(joined([part.rows for part in parts]), notes, sum(part.size for part in parts))
