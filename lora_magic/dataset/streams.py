"""Rows that are not held in memory: a file gone through again, a part of a table at a time, several in a row."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO, cast

from lora_magic.dataset.encodings import Encoding, stray
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

Row = dict[str, Any]

LARGE = 64 << 20
MOST_KEPT = 200_000
LONGEST_LINE = 256 << 20

# A byte order mark may stand inside files that were put together.
BLANKS = "\ufeff \t\r\n"


class Rows(Protocol):
    """Rows that can be gone through many times, the same ones in the same order each time."""

    def __iter__(self) -> Iterator[Row]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class TextFile:
    """Text that can be opened again and again.

    Attributes:
        name: what messages call it.
        opened: opens it from its beginning, with the given treatment of line ends (as `open` has it).
        encoding: how it is decoded.
        large: whether it is too large to be held in memory whole.
    """

    name: str
    opened: Callable[[str], TextIO]
    encoding: Encoding
    large: bool = False

    @classmethod
    def at(cls, path: Path, encoding: Encoding, large: int) -> TextFile:
        """The text of a file, plain or gzipped."""
        errors = "strict" if encoding.sound else "surrogateescape"

        def opened(newline: str) -> TextIO:
            return io.TextIOWrapper(opened_bytes(path), encoding.codec, errors, newline=newline)

        return cls(path.name, opened, encoding, encoding.size > large)

    def lines(self, newline: str = "\n") -> Iterator[str]:
        """Its lines with their ends.

        Raises:
            LoraError: a line is longer than 256 Mi characters.
        """
        number = 0
        with self.opened(newline) as file:
            while line := file.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    problem = f"{self.name} line {number}: longer than {LONGEST_LINE >> 20} Mi characters."
                    raise LoraError(problem, "Write one row a line.")
                yield line

    def whole(self) -> str:
        """All of it.

        Raises:
            LoraError: a byte does not decode.
        """
        with self.opened("\n") as file:
            text = file.read()
        if not self.encoding.sound and (byte := stray(text)):
            at = text.index(chr(int(byte, 16) + 0xDC00))
            raise not_utf8(f"{self.name} line {text.count(chr(10), 0, at) + 1}", byte)
        return text

    def first(self) -> str:
        """The first character that is no blank, "" without one."""
        with self.opened("\n") as file:
            while part := file.read(4096):
                if filled := part.lstrip(BLANKS):
                    return filled[0]
        return ""

    def first_line(self) -> str:
        """The first line that is not blank, without its ends; "" without one."""
        lines = self.lines()
        return next(filter(None, (line.strip(BLANKS) for line in lines)), "")


def opened_bytes(path: Path) -> BinaryIO:
    """The bytes of a file, unzipped if its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def not_utf8(where: str, byte: str) -> LoraError:
    """The error for a byte that does not decode."""
    return LoraError(f"{where}: not UTF-8 (byte {byte}).", "Save the file as UTF-8; it may mix encodings.")


class Again:
    """Rows that are made anew each time, from something that stays where it is.

    Args:
        name: what messages call it.
        make: begins anew.
        count: how many rows there are.
        mark: changes when the source does, such as a file's size and time.
        as_read: the mark when the rows were counted.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Iterator[Row]],
        count: int,
        mark: Callable[[], object] = lambda: None,
        as_read: object = None,
    ) -> None:
        self._name, self._make, self._count, self._mark, self._as_read = name, make, count, mark, as_read

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        """Goes through the rows.

        Raises:
            LoraError: the source is not what it was.
        """
        self._check()
        seen = 0
        for row in self._make():
            seen += 1
            if seen > self._count:
                break
            yield row
        self._check()
        if seen != self._count:
            raise changed(self._name)

    def _check(self) -> None:
        if self._mark() != self._as_read:
            raise changed(self._name)


def changed(name: str) -> LoraError:
    """The error for a source that is not what it was when it was first gone through."""
    return LoraError(f"{name} changed while it was in use.", "Give the data again, and leave it alone meanwhile.")


def stamp(path: Path) -> Callable[[], object]:
    """What tells whether a file is still the same: its number on the disk, size and time of change."""

    def mark() -> object:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    return mark


class Joined:
    """Rows of several sources, one after the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = tuple(parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Row]:
        for part in self._parts:
            yield from part


def joined(parts: Sequence[Rows]) -> Rows:
    """Several sources as one; lists become one list."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, list) for part in parts):
        return [row for part in parts for row in part]
    return Joined(parts)


def gone_through(
    rows: Iterable[Row], most: int = MOST_KEPT, size: Callable[[Row], int] = lambda row: 0, largest: int = LARGE
) -> tuple[list[Row] | None, int]:
    """Goes through rows once.

    Args:
        rows: any number of them.
        most: how many are worth keeping; 0 for none.
        size: what one takes, in bytes, where that is to count too.
        largest: how many bytes are worth keeping.

    Returns:
        The rows as a list, or None where there were too many, and how many there were.
    """
    kept: list[Row] | None = []
    count = total = 0
    for row in rows:
        count += 1
        if kept is not None:
            kept.append(row)
            total += size(row)
            kept = kept if count <= most and total <= largest else None
    return kept, count


def unreadable(name: str, error: Exception) -> LoraError:
    """The error for a file that the machine cannot read."""
    return LoraError(f"{name} cannot be read ({shown(error)}).", "Check its permissions, or fetch it again.")
