"""Rows into examples: conversations that end with an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from lora_magic.dataset.cells import Unusable
from lora_magic.dataset.formats import NOTHING, Format, Reader, reader
from lora_magic.dataset.shapes import Shape
from lora_magic.dataset.tally import Tally
from lora_magic.dataset.turns import Example, Turn
from lora_magic.errors import LoraError

if TYPE_CHECKING:
    from lora_magic.dataset.files import Rows

__all__ = ["Example", "Examples", "Turn", "examples"]

LOOKED_AT = 1000


class Examples:
    """The usable rows of a source as examples; may be gone through again and again, always with the same result.

    A list of rows is turned into examples once and they are kept; other rows are read anew each time.

    Args:
        rows: column names to values.
        system: a system text, put first where a row brings none.
        made: how the rows are read.
        kept: the examples, where they are kept.
        seen: what was counted on the way.

    Attributes:
        format: what the rows were recognised as.
        notes: sentences about what was decided or left out.
        skipped: (row number from 1, reason) of the first rows that cannot be used.
        skipped_count: how many there are.
    """

    def __init__(self, rows: Rows, system: str | None, made: Reader, kept: list[Example] | None, seen: Tally) -> None:
        self._rows, self._system, self._reader, self._kept = rows, system, made, kept
        self._count = seen.examples
        self.format: Format = seen.format(made)
        self.notes: tuple[str, ...] = seen.notes(system)
        self.skipped: tuple[tuple[int, str], ...] = tuple(seen.skipped)
        self.skipped_count: int = seen.reasons.total()

    @property
    def is_lazy(self) -> bool:
        """Whether the examples are made anew each time they are gone through."""
        return self._kept is None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Example]:
        return iter(self._kept) if self._kept is not None else _made(self._rows, self._reader, self._system)

    def __repr__(self) -> str:
        return f"<{self._count:,} examples, {self.format.name}>"


def examples(rows: Rows, *, system: str | None, columns: Mapping[str, str] = NOTHING) -> Examples:
    """Turns rows into examples; rows that cannot be used are left out and counted.

    Args:
        rows: column names to values; a list, or rows read anew each time they are gone through.
        system: a system text, put first where a row brings none; None or "" for none.
        columns: which column is "prompt", "completion", "system", "messages" or "text"; empty to find them.

    Raises:
        LoraError: the columns are not understood, or no row can be used.
    """
    first = list(islice(rows, LOOKED_AT))
    if not first:
        raise LoraError("There are no rows.", "Give data that holds examples.")
    made = reader(first, columns)
    seen = Tally()
    found = _made(rows, made, system, seen)
    kept = list(found) if isinstance(rows, list) else None
    for _ in found:
        pass
    if not seen.examples:
        raise seen.none_left()
    return Examples(rows, system, made, kept, seen)


def _made(rows: Rows, made: Reader, system: str | None, seen: Tally | None = None) -> Iterator[Example]:
    for number, row in enumerate(rows, start=1):
        shape: Shape | None = None
        try:
            shape, spelling = made.choose(row)
            found = made.read(row, shape, spelling)
        except Unusable as reason:
            if seen is not None:
                seen.see(row)
                seen.skip(number, reason, shape)
            continue
        if seen is not None:
            seen.see(row)
            seen.take(row, shape, spelling, found)
        yield Example(_with_system(found.turns, system), number, found.tools)


def _with_system(turns: list[Turn], system: str | None) -> tuple[Turn, ...]:
    if not system or turns[0].role in ("system", "text"):
        return tuple(turns)
    return (Turn("system", system), *turns)
