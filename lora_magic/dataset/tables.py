"""Rows out of delimited text, Parquet and plain text."""

from __future__ import annotations

import csv
import gzip
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lora_magic.dataset.broken import Broken, Tally
from lora_magic.dataset.encodings import stray
from lora_magic.dataset.streams import BLANKS, LONGEST_LINE, Row, TextFile, not_utf8
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

_BATCH = 64
_PARQUET_BATCH = 512


def csv_rows(text: TextFile, tally: Tally) -> Iterator[Row]:
    """Comma-separated text, or with semicolons or tabs where its header has no comma."""
    first = text.first_line()
    delimiter = ","
    if delimiter not in first and (";" in first or "\t" in first):
        delimiter = ";" if ";" in first else "\t"
    return _rows(text, tally, delimiter)


def tsv_rows(text: TextFile, tally: Tally) -> Iterator[Row]:
    """Text separated by tabs."""
    return _rows(text, tally, "\t")


def _rows(text: TextFile, tally: Tally, delimiter: str) -> Iterator[Row]:
    """A header, then rows of as many fields, everything read as text."""
    header: list[str] = []
    for lines, fields in _records(text.lines(newline=""), delimiter):
        try:
            found = _checked(fields, sound=text.encoding.sound)
            if not found:
                continue
            if not header:
                header = _header(found, f"{text.name} line {lines[-1]}")
                continue
            if len(found) != len(header):
                problem = f"{len(found)} fields where the header has {len(header)}."
                remedy = "Put text that holds the separator or a line break in double quotes."
                raise Broken("with more or fewer fields than the header", problem, remedy)
        except Broken as broken:
            tally.skip(lines, broken)
        else:
            yield dict(zip(header, found, strict=True))


def _records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[range, list[str] | csv.Error]]:
    """Records with the numbers of their lines.

    How long a field may be is a setting of the whole process, so it is put back whenever others may run.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    ended = False
    while not ended:
        batch: list[tuple[range, list[str] | csv.Error]] = []
        limit = csv.field_size_limit(LONGEST_LINE)
        try:
            while len(batch) < _BATCH:
                start = reader.line_num + 1
                try:
                    record: list[str] | csv.Error = next(reader)
                except StopIteration:
                    ended = True
                    break
                except csv.Error as error:
                    record = error
                batch.append((range(start, max(reader.line_num, start) + 1), record))
        finally:
            csv.field_size_limit(limit)
        yield from batch


def _checked(fields: list[str] | csv.Error, *, sound: bool) -> list[str]:
    if isinstance(fields, csv.Error):
        raise Broken("with quotation marks that do not match", f"{shown(fields)}.", "Check its quotation marks.")
    byte = "" if sound else next(filter(None, map(stray, fields)), "")
    if byte:
        problem = not_utf8("", byte).problem.removeprefix(": ")
        raise Broken("not UTF-8", problem, "Save the file as UTF-8; it may mix encodings.")
    return fields


def _header(fields: list[str], where: str) -> list[str]:
    header = [field.strip() for field in fields]
    _check_unique(header, where)
    return header


def _check_unique(header: list[str], where: str) -> None:
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice and not twice[0]:
        raise LoraError(f"{where}: {header.count('')} columns have no name.", "Name them, or leave them out.")
    if twice:
        raise LoraError(f'{where}: the column "{shown(twice[0])}" is there twice.', "Rename one of them.")


def text_rows(text: TextFile, tally: Tally) -> Iterator[Row]:
    """Plain text: one row a paragraph, parted by blank lines; one row a line where no blank line parts any."""
    paragraphs = _has_paragraphs(text)
    unit = "paragraph (blank lines part them)" if paragraphs else "line (no blank lines part paragraphs)"
    tally.note(f"plain text, one row a {unit}")
    return _paragraphs(text, tally, by_line=not paragraphs)


def _has_paragraphs(text: TextFile) -> bool:
    before = blank = False
    for line in text.lines():
        filled = bool(line.strip(BLANKS))
        if filled and before and blank:
            return True
        before, blank = before or filled, not filled
    return False


def _paragraphs(text: TextFile, tally: Tally, *, by_line: bool) -> Iterator[Row]:
    kept: list[str] = []
    size = start = number = 0
    for number, line in enumerate(text.lines(), start=1):
        if line.strip(BLANKS):
            start = start if kept else number
            kept.append(line.rstrip("\r\n").removeprefix("\ufeff"))
            size += len(line)
            if size > LONGEST_LINE:
                problem = f"{text.name} line {start}: a paragraph of more than {LONGEST_LINE >> 20} Mi characters."
                raise LoraError(problem, "Part the text with blank lines.")
        if kept and (by_line or not line.strip(BLANKS)):
            yield from _paragraph(kept, range(start, start + len(kept)), text, tally)
            kept, size = [], 0
    if kept:
        yield from _paragraph(kept, range(start, number + 1), text, tally)


def _paragraph(kept: list[str], numbers: range, text: TextFile, tally: Tally) -> Iterator[Row]:
    row = "\n".join(kept).rstrip()
    byte = "" if text.encoding.sound else stray(row)
    if byte:
        problem = not_utf8("", byte).problem.removeprefix(": ")
        broken = Broken("not UTF-8", problem, "Save the file as UTF-8; it may mix encodings.")
        tally.skip(numbers, broken)
    else:
        yield {"text": row}


def parquet_rows(path: Path) -> Iterator[Row]:
    """A Parquet file's rows, some hundred at a time.

    Raises:
        LoraError: it is no readable Parquet file, or has a column twice.
    """
    with _parquet(path) as file:
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH):
            yield from batch.to_pylist()


def parquet_size(path: Path) -> int:
    """Bytes of a Parquet file's columns before compression.

    Raises:
        LoraError: as `parquet_rows`.
    """
    with _parquet(path) as file:
        _check_unique(file.schema_arrow.names, path.name)
        groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
        return sum(group.total_byte_size for group in groups)


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        with _seekable(path) as source, parquet.ParquetFile(source, pre_buffer=False) as file:
            yield file
    except gzip.BadGzipFile:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        first = str(error).partition("\n")[0].rstrip(".")
        raise LoraError(f"{path.name} is not a readable Parquet file ({shown(first)}).", "Write it again.") from None


@contextmanager
def _seekable(path: Path) -> Iterator[Any]:
    """The file's bytes; those of a gzipped one are unzipped to a temporary file."""
    if path.suffix.lower() != ".gz":
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as spilled:
        with gzip.open(path) as zipped:
            shutil.copyfileobj(zipped, spilled)
        spilled.seek(0)
        yield spilled
