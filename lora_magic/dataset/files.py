"""Rows out of data files: JSON Lines, JSON, CSV, TSV, Parquet and plain text, each also gzipped."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lora_magic.dataset.broken import Replay, Tally
from lora_magic.dataset.encodings import Encoding, look
from lora_magic.dataset.json_rows import document, lines_or_array
from lora_magic.dataset.streams import (
    LARGE,
    Again,
    Row,
    Rows,
    TextFile,
    gone_through,
    opened_bytes,
    stamp,
    unreadable,
)
from lora_magic.dataset.tables import csv_rows, parquet_rows, parquet_size, text_rows, tsv_rows
from lora_magic.errors import LoraError

__all__ = ["LARGE", "Loaded", "Row", "Rows", "kind", "read_file", "read_text"]

Reader = Callable[[TextFile, Tally], Iterator[Row]]

TEXT_KINDS = (".txt", ".md")

_READERS: dict[str, Reader] = {
    ".jsonl": lines_or_array,
    ".ndjson": lines_or_array,
    ".json": document,
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".txt": text_rows,
    ".md": text_rows,
}
_KINDS = (*_READERS, ".parquet")


@dataclass(frozen=True)
class Loaded:
    """A file's rows.

    Attributes:
        rows: a list, or of a large file rows that are read anew each time they are gone through.
        notes: what was decided or left out, a sentence each.
        size: about how many bytes the rows take in memory; 0 for what is not kept there.
    """

    rows: Rows
    notes: tuple[str, ...] = ()
    size: int = 0


def kind(path: Path) -> str:
    """The suffix that says how a file is read, such as ".jsonl", less any ".gz"; "" for none known."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in _KINDS else ""


def read_file(path: Path, large: int = LARGE) -> Loaded:
    """Reads one data file: goes through all of it once, and keeps the rows unless they are many.

    A few broken lines in a file that is sound otherwise are left out and noted (`broken.Tally` has the rule).

    Args:
        path: a file whose suffix `kind` knows.
        large: bytes, unzipped, above which the rows are not kept in memory.

    Raises:
        LoraError: the suffix is unknown, or the file is empty, unreadable or broken; the text names the line.
    """
    known = kind(path)
    if not known:
        problem = f"{path.name} is not a kind of file that can be read."
        raise LoraError(problem, f"Known: {', '.join(_KINDS)}, each also with .gz.")
    if not path.is_file():
        raise LoraError(f"{path.name} is not a regular file.", "Give a file that can be read more than once.")
    path = path.absolute()
    with _told(path.name):
        loaded = _parquet(path, large) if known == ".parquet" else _text(path, _READERS[known], large)
    if not loaded.rows:
        raise LoraError(f"{path.name} has no rows.", "Give a file that holds examples.")
    return loaded


def read_text(text: str, name: str) -> Loaded:
    """Reads JSON Lines, or one JSON array of objects, such as a cell's body.

    Args:
        text: the text; empty lines are passed over.
        name: what error messages call it.

    Raises:
        LoraError: it is broken as a file may not be, or has no rows.
    """
    tally = Tally(name)
    held = TextFile(name, lambda newline: io.StringIO(text, newline=newline), Encoding("utf-8", 0))
    rows = list(tally.counted(lines_or_array(held, tally)))
    if not rows:
        raise LoraError(f"{name} has no rows.", "Write one example a line.")
    return Loaded(rows, tally.notes)


def _text(path: Path, reader: Reader, large: int) -> Loaded:
    before = stamp(path)()
    encoding = look(partial(opened_bytes, path), path.name)
    text = TextFile.at(path, encoding, large)
    tally = Tally(path.name)
    if encoding.note:
        tally.note(encoding.note)
    rows = tally.counted(reader(text, tally))
    kept, count = gone_through(rows, most=0) if text.large else gone_through(rows)
    if kept is not None:
        return Loaded(kept, tally.notes, encoding.size)

    def again() -> Iterator[Row]:
        with _told(path.name):
            yield from reader(text, Replay(path.name, tally.skipped))

    return Loaded(Again(path.name, again, count, stamp(path), before), tally.notes)


def _parquet(path: Path, large: int) -> Loaded:
    before = stamp(path)()
    size = parquet_size(path)
    kept, count = gone_through(parquet_rows(path)) if size <= large else gone_through(parquet_rows(path), most=0)
    if kept is not None:
        return Loaded(kept, (), size)

    def again() -> Iterator[Row]:
        with _told(path.name):
            yield from parquet_rows(path)

    return Loaded(Again(path.name, again, count, stamp(path), before))


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(name, error) from None
