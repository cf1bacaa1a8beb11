"""Broken lines: a few in a good file are left out and counted, more are an error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from lora_magic.dataset.streams import Row, changed
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

MOST_SKIPPED, MOST_SHARE, SOUND_FIRST = 100, 0.01, 10
DEEPEST = 200
LISTED = 10

ONE_OBJECT = 'An example is one object: {"prompt": "…", "completion": "…"}.'


class Broken(Exception):
    """A line that holds no row.

    Args:
        reason: why, in a few words, such as "not JSON".
        problem: what is wrong, for the error.
        remedy: what to do about it.
        line: of several that were parsed together, the one at fault (from 1).
    """

    def __init__(self, reason: str, problem: str, remedy: str = ONE_OBJECT, line: int = 1) -> None:
        super().__init__(problem)
        self.reason, self.problem, self.remedy, self.line = reason, problem, remedy, line


class Tally:
    """Counts what is wrong with a file while it is gone through for the first time.

    Broken lines are left out when the file is sound otherwise: its first 10 rows are whole, and at most 100 lines
    and at most 1% of the rows are broken. So a file of fewer than 100 rows has to be whole.

    Args:
        name: the file, for messages.
        unit: what is numbered, "line" or "item".
    """

    def __init__(self, name: str, unit: str = "line") -> None:
        self.name, self.unit = name, unit
        self.rows = 0
        self.said: dict[str, None] = {}
        self._skipped: dict[str, list[int]] = {}
        self._twice: list[int] = []
        self._twice_count = 0
        self._number = 0
        self._first: LoraError | None = None
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    @property
    def skipped(self) -> frozenset[int]:
        """The numbers of the lines left out."""
        return frozenset(number for numbers in self._skipped.values() for number in numbers)

    def knows(self, number: int) -> bool:
        """Whether a line is known to be broken before it is looked at."""
        return False

    @property
    def decoder(self) -> json.JSONDecoder:
        """Reads JSON; keys that an object has twice are counted, and their last value is taken."""
        return self._decoder

    def at(self, number: int) -> None:
        """Says which line is read next."""
        self._number = number

    def row(self, value: Any) -> Row:
        """A JSON value as a row.

        Raises:
            Broken: it is no object, or nested more than 200 deep.
        """
        if not isinstance(value, dict):
            problem = f"a JSON {json_name(value)}, not an object with named columns."
            raise Broken("not an object with named columns", problem)
        if _is_deep(value):
            raise Broken("nested too deeply", "nested too deeply.")
        return value

    def counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Passes rows on, and refuses the file at its end when too much of it is broken."""
        for row in rows:
            self.rows += 1
            yield row
        count = len(self.skipped)
        if self._first and count > MOST_SHARE * (self.rows + count):
            raise self._refusal(count)

    def skip(self, numbers: range, broken: Broken) -> None:
        """Leaves lines out.

        Args:
            numbers: the lines.
            broken: what is wrong with them.

        Raises:
            LoraError: too much of the file is broken.
        """
        if self._first is None:
            where = f"{self.name} {self.unit} {numbers[0] + broken.line - 1}"
            self._first = LoraError(f"{where}: {broken.problem}", broken.remedy)
        self._skipped.setdefault(broken.reason, []).extend(numbers[: MOST_SKIPPED + 1])
        count = len(self.skipped)
        if self.rows < SOUND_FIRST or count > MOST_SKIPPED:
            raise self._refusal(count)

    def note(self, text: str) -> None:
        """Adds a sentence to the notes."""
        self.said[text] = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, a sentence each."""
        notes = [*self.said]
        for reason, numbers in self._skipped.items():
            notes.append(f"{_many(len(numbers), self.unit)} skipped ({reason}): {_listed(numbers, len(numbers))}")
        if self._twice_count:
            have = "has" if self._twice_count == 1 else "have"
            what = f"{_many(self._twice_count, self.unit)} {have} a key twice, of which the last value is taken"
            notes.append(f"{what}: {_listed(self._twice, self._twice_count)}" if any(self._twice) else what)
        return tuple(notes)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs) and (not self._number or self._twice[-1:] != [self._number]):
            self._twice_count += 1
            self._twice = [*self._twice[:LISTED], self._number]
        return value

    def _refusal(self, count: int) -> LoraError:
        assert self._first is not None
        if count == 1:
            return self._first
        more = f"{'More than ' if count > MOST_SKIPPED else ''}{min(count, MOST_SKIPPED)} {self.unit}s are broken."
        return LoraError(f"{self._first.problem} {more}", self._first.remedy)


class Replay(Tally):
    """Goes through a file again: what was left out is left out, and anything else that is broken is a change.

    Args:
        name: the file, for messages.
        known: the numbers of the lines left out.
    """

    def __init__(self, name: str, known: frozenset[int]) -> None:
        super().__init__(name)
        self._known = known

    def knows(self, number: int) -> bool:
        """Whether a line was left out before."""
        return number in self._known

    @property
    def decoder(self) -> json.JSONDecoder:
        """Reads JSON, without looking for keys that are there twice."""
        return _PLAIN

    def skip(self, numbers: range, broken: Broken) -> None:
        """Leaves lines out that were left out before.

        Raises:
            LoraError: they were not.
        """
        if numbers[0] not in self._known:
            raise changed(self.name)


_PLAIN = json.JSONDecoder()


def parsed(text: str, decoder: json.JSONDecoder) -> Any:
    """Python's JSON, with whatever it raises on hostile input turned into one exception.

    Raises:
        Broken: it is not JSON, nested too deeply, or has a number of thousands of digits.
    """
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        problem = f"not JSON ({error.msg.removesuffix(' at')} at character {error.colno})."
        raise Broken("not JSON", problem, line=error.lineno) from None
    except RecursionError:
        raise Broken("nested too deeply", "nested too deeply.") from None
    except ValueError as error:
        raise Broken("with numbers that are too long", f"not usable ({shown(error)}).") from None


def json_name(value: Any) -> str:
    """What JSON calls a value."""
    names = {list: "array", str: "string", bool: "true or false", type(None): "null", dict: "object"}
    return names.get(type(value), "number")


def _is_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _many(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def _listed(numbers: list[int], count: int) -> str:
    more = f" and {count - LISTED:,} more" if count > LISTED else ""
    return ", ".join(f"{number:,}" for number in numbers[:LISTED]) + more
