"""Rows out of data files: JSON Lines, JSON, CSV, TSV and Parquet, plain or gzipped."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

Row = dict[str, Any]

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_ONE_OBJECT = 'An example is one object: {"prompt": "…", "completion": "…"}.'


def kind(path: Path) -> str:
    """The suffix that says how a file is read, such as ".jsonl", less any ".gz"; "" for none known."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in _READERS else ""


def read_file(path: Path) -> list[Row]:
    """Reads one data file.

    Args:
        path: a file whose suffix `kind` knows.

    Returns:
        Its rows; never empty.

    Raises:
        LoraError: the suffix is unknown, or the file is empty, unreadable or broken; the text names the line.
    """
    reader = _READERS.get(kind(path))
    if reader is None:
        raise LoraError(
            f"{path.name} is not a kind of file that can be read.",
            f"Known: {', '.join(_READERS)}, each also with .gz.",
        )
    try:
        rows = list(reader(_bytes(path), path.name))
    except (OSError, EOFError, zlib.error) as error:
        raise LoraError(f"{path.name} cannot be read ({error}).", "Check its permissions, or fetch it again.") from None
    if not rows:
        raise LoraError(f"{path.name} has no rows.", "Give a file that holds examples.")
    return rows


def rows_from_text(text: str, name: str = "cell") -> list[Row]:
    """Reads JSON Lines, or one JSON array of objects, such as a cell's body.

    Args:
        text: the text; empty lines are passed over.
        name: what error messages call it.

    Raises:
        LoraError: a line is not a JSON object, or there is none.
    """
    data = text.encode("utf-8", "surrogatepass")
    rows = list(_json_lines_or_array(data, name))
    if not rows:
        raise LoraError(f"{name} has no rows.", "Write one example a line.")
    return rows


def _bytes(path: Path) -> bytes:
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as file:
            return file.read()
    return path.read_bytes()


def _decode(data: bytes, name: str, first_line: int = 1) -> str:
    """UTF-8 text without a byte order mark; `first_line` is the number of the first line in `data`."""
    if data.startswith(_UTF16_MARKS):
        raise LoraError(f"{name} is UTF-16 text.", "Save it as UTF-8.")
    try:
        return data.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        problem = f"{name} line {line}: not UTF-8 (byte 0x{data[error.start]:02x})."
        raise LoraError(problem, "Save the file as UTF-8; it may be latin-1 or cp1252.") from None


def _parse(text: str, where: str) -> Any:
    """Python's JSON, with whatever it raises on hostile input turned into one line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f" line {error.lineno}" if error.lineno > 1 else ""
        problem = f"{where}{line}: not JSON ({error.msg.removesuffix(' at')} at character {error.colno})."
        raise LoraError(problem, _ONE_OBJECT) from None
    except RecursionError:
        raise LoraError(f"{where}: nested too deeply.", _ONE_OBJECT) from None
    except ValueError as error:
        raise LoraError(f"{where}: not usable ({shown(error)}).", _ONE_OBJECT) from None


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise LoraError(f"{where}: a JSON {_json_name(value)}, not an object with named columns.", _ONE_OBJECT)
    return value


def _json_name(value: Any) -> str:
    names = {list: "array", str: "string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "number")


def _json_lines_or_array(data: bytes, name: str) -> Iterator[Row]:
    is_array = data.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["
    return _json(data, name) if is_array else _json_lines(data, name)


def _json_lines(data: bytes, name: str) -> Iterator[Row]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        text = _decode(line, name, number)
        if text.strip():
            where = f"{name} line {number}"
            yield _object(_parse(text, where), where)


def _json(data: bytes, name: str) -> Iterator[Row]:
    """An array of objects, an object that holds exactly one such array, or JSON Lines under a .json name."""
    text = _decode(data, name)
    if not text.strip():
        return
    if _is_json_lines(text):
        yield from _json_lines(data, name)
        return
    for number, value in enumerate(_array(_parse(text, name), name), start=1):
        yield _object(value, f"{name} item {number}")


def _is_json_lines(text: str) -> bool:
    """Whether the first line is a whole object and more follows it."""
    first, _, rest = text.strip().partition("\n")
    if not (rest.strip() and first.startswith("{")):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def _array(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise LoraError(f"{name} holds a JSON {_json_name(value)}, not an array of objects.", _ONE_OBJECT)
    arrays = {key: item for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)}
    if len(arrays) != 1:
        found = (
            f"{len(arrays)} arrays of objects ({', '.join(map(shown, arrays))})" if arrays else "no array of objects"
        )
        raise LoraError(f"{name} is a JSON object that holds {found}.", "Save the rows as one array, or as JSON Lines.")
    return next(iter(arrays.values()))


def _table(data: bytes, name: str, delimiter: str) -> Iterator[Row]:
    """Delimited text: a header, then rows of as many fields, everything read as text."""
    text = _decode(data, name)
    first = text.lstrip().partition("\n")[0]
    if delimiter not in first and delimiter == "," and (";" in first or "\t" in first):
        delimiter = ";" if ";" in first else "\t"
    limit = csv.field_size_limit(sys.maxsize)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        yield from _table_rows(((reader.line_num, fields) for fields in reader if fields), name)
    except csv.Error as error:
        raise LoraError(f"{name} line {reader.line_num}: {shown(error)}.", "Check its quotation marks.") from None
    finally:
        csv.field_size_limit(limit)


def _table_rows(lines: Iterable[tuple[int, list[str]]], name: str) -> Iterator[Row]:
    header: list[str] = []
    for number, fields in lines:
        if not header:
            header = [field.strip() for field in fields]
            twice = sorted({column for column in header if header.count(column) > 1})
            if twice:
                raise LoraError(
                    f'{name} line {number}: the column "{shown(twice[0])}" is there twice.',
                    "Rename one of them.",
                )
        elif len(fields) != len(header):
            problem = f"{name} line {number}: {len(fields)} fields where the header has {len(header)}."
            raise LoraError(problem, "Put text that holds the separator or a line break in double quotes.")
        else:
            yield dict(zip(header, fields, strict=True))


def _csv(data: bytes, name: str) -> Iterator[Row]:
    return _table(data, name, ",")


def _tsv(data: bytes, name: str) -> Iterator[Row]:
    return _table(data, name, "\t")


def _parquet(data: bytes, name: str) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows: list[Row] = parquet.read_table(io.BytesIO(data)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        first = str(error).partition("\n")[0].rstrip(".")
        raise LoraError(f"{name} is not a readable Parquet file ({first}).", "Fetch or write it again.") from None
    return iter(rows)


_READERS: dict[str, Callable[[bytes, str], Iterator[Row]]] = {
    ".jsonl": _json_lines_or_array,
    ".ndjson": _json_lines_or_array,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
