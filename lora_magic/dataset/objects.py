"""Rows out of a notebook's objects: lists, DataFrames and the classes of the `datasets` library."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lora_magic.dataset.streams import LARGE, MOST_KEPT, Again, Row, Rows, gone_through
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

ACCEPTED = "a list of dicts, a list of strings, a DataFrame or a Dataset"
MOST_STREAMED = 1_000_000

_BATCH = 1000
_TABLES = (
    ("pandas", "DataFrame"),
    ("datasets", "Dataset"),
    ("datasets", "IterableDataset"),
    ("datasets", "DatasetDict"),
    ("datasets", "IterableDatasetDict"),
)


def could_be_data(value: object) -> bool:
    """Whether a variable counts as data; a look at its type and first item only."""
    if isinstance(value, list | tuple):
        return not value or isinstance(value[0], Mapping) or (isinstance(value, list) and isinstance(value[0], str))
    return any(is_a(value, *known) for known in _TABLES)


def is_a(value: object, module: str, *names: str) -> bool:
    """An instance check that imports nothing: without the module loaded, there is no such object."""
    kinds = [getattr(sys.modules.get(module), name, None) for name in names]
    return any(isinstance(kind, type) and isinstance(value, kind) for kind in kinds)


def object_rows(value: Any, name: str, large: int = LARGE) -> tuple[Rows, tuple[str, ...]]:
    """The rows of an object; those of a large table stay in it and are taken a part at a time.

    Args:
        value: the object.
        name: what messages call it.
        large: bytes above which a table's rows are not copied.

    Returns:
        The rows, and notes on what was decided.

    Raises:
        LoraError: it is no object that has rows, or an item is no row.
    """
    if is_a(value, "pandas", "DataFrame"):
        return _frame_rows(value, name, large), ()
    if is_a(value, "datasets", "Dataset"):
        table = value.with_format("arrow")
        share = len(value) / max(value.data.num_rows, 1)
        is_large = value.data.nbytes * share > large or len(value) > MOST_KEPT
        rows = Again(name, lambda: _arrow_rows(table), len(value))
        return rows if is_large else list(rows), ()
    if is_a(value, "datasets", "IterableDataset"):
        return _streamed_rows(value, name, large)
    if not isinstance(value, list | tuple):
        raise not_rows(value, f"{name} is {article(value)}, not rows.")
    return _list_rows(value, name), ()


def not_rows(value: object, problem: str) -> LoraError:
    """The error for an object that has no rows, with the way to get some out of it."""
    if hasattr(value, "__next__"):
        return LoraError(problem, "It can be gone through only once: pass list(…) of it.")
    if callable(getattr(value, "to_dicts", None)):
        return LoraError(problem, "Pass what its to_dicts() gives.")
    if callable(getattr(value, "to_pylist", None)):
        return LoraError(problem, "Pass what its to_pylist() gives.")
    if isinstance(value, Mapping):
        return LoraError(problem, "Of columns, pass pandas.DataFrame(…); one row goes into a list: [row].")
    return LoraError(problem, f"Pass {ACCEPTED}.")


def article(value: object) -> str:
    """What an object is: "a dict", "an int"."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _list_rows(items: Sequence[object], name: str) -> Rows:
    if len(items) <= MOST_KEPT:
        return [_row(item, number, name) for number, item in enumerate(items, start=1)]
    for number, item in enumerate(items, start=1):
        if not isinstance(item, str | Mapping):
            _row(item, number, name)

    def made() -> Iterator[Row]:
        return (_row(item, number, name) for number, item in enumerate(items, start=1))

    return Again(name, made, len(items))


def _row(item: object, number: int, name: str) -> Row:
    if isinstance(item, str):
        return {"text": item}
    if isinstance(item, Mapping):
        return {str(key): value for key, value in item.items()}
    raise LoraError(f"{name} item {number} is {article(item)}, not a dict or a string.", "Give a list of dicts.")


def _frame_rows(frame: Any, name: str, large: int) -> Rows:
    if not frame.columns.is_unique:
        twice = next(iter(frame.columns[frame.columns.duplicated()]))
        raise LoraError(f'{name} has the column "{shown(twice)}" twice.', "Rename one of them.")

    def made() -> Iterator[Row]:
        for start in range(0, len(frame), _BATCH):
            for row in frame.iloc[start : start + _BATCH].to_dict("records"):
                yield {str(key): _plain(value) for key, value in row.items()}

    rows = Again(name, made, len(frame))
    is_large = len(frame) > MOST_KEPT or int(frame.memory_usage(index=False, deep=True).sum()) > large
    return rows if is_large else list(rows)


def _plain(value: Any) -> Any:
    """A DataFrame's cell as a plain value: arrays become lists, and what stands for missing becomes None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


def _arrow_rows(table: Any) -> Iterator[Row]:
    for batch in table.iter(batch_size=_BATCH):
        yield from batch.to_pylist()


def _streamed_rows(stream: Any, name: str, large: int) -> tuple[Rows, tuple[str, ...]]:
    """An IterableDataset's first million rows; it does not know how many it has, so they are counted here."""
    plain = stream.with_format(None)

    def made() -> Iterator[Row]:
        seen = 0
        try:
            for row in itertools.islice(plain, MOST_STREAMED):
                seen += 1
                yield {str(key): value for key, value in row.items()}
        except Exception as error:
            problem = f"{name} broke off after row {seen:,} ({type(error).__name__}: {shown(error)})."
            raise LoraError(problem, "Check what it reads from, or save it as a file first.") from error

    kept, count = gone_through(made(), size=_bytes_about, largest=large)
    more = count == MOST_STREAMED and next(iter(plain.skip(MOST_STREAMED)), None) is not None
    notes = (f"only the first {MOST_STREAMED:,} rows of the stream are used",) if more else ()
    return (Again(name, made, count) if kept is None else kept), notes


def _bytes_about(row: Row) -> int:
    """A row's size without looking far: what its own values take."""
    return sum(sys.getsizeof(value) for value in row.values())
