"""Rows out of JSON: one object a line, an array of objects, or an object that holds one such array."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from lora_magic.dataset.broken import ONE_OBJECT, Broken, Tally, json_name, parsed
from lora_magic.dataset.encodings import stray
from lora_magic.dataset.streams import BLANKS, LONGEST_LINE, Row, TextFile, not_utf8
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

# Peak memory over the text's size, measured on Python 3.11: 8.7 for rows of 40 bytes, 6.9 for 60, 2.3 to 3.1 for 340.
_MEMORY_FACTOR = 8
_PART = 1 << 20
_FILLED = re.compile(r"[^\ufeff \t\r\n]")


def lines_or_array(text: TextFile, tally: Tally) -> Iterator[Row]:
    """What a .jsonl file holds: JSON Lines, or one array of objects in spite of its name."""
    return _array_items(text, tally) if text.first() == "[" else _lines(text, tally)


def document(text: TextFile, tally: Tally) -> Iterator[Row]:
    """What a .json file holds: an array of objects, an object that holds exactly one, or JSON Lines."""
    first = text.first()
    if first == "[":
        return _array_items(text, tally)
    if first == "{" and _is_lines(text):
        return _lines(text, tally)
    return _held_array(text, tally) if first else iter(())


def _lines(text: TextFile, tally: Tally) -> Iterator[Row]:
    sound = text.encoding.sound
    for number, line in enumerate(text.lines(), start=1):
        if tally.knows(number) or line.isspace():
            continue
        # Files that were put together carry marks in their middle.
        line = line.lstrip("\ufeff").rstrip()
        try:
            if not sound and (byte := stray(line)):
                problem = not_utf8("", byte).problem.removeprefix(": ")
                raise Broken("not UTF-8", problem, "Save the file as UTF-8; it may mix encodings.")
            if not line:
                continue
            tally.at(number)
            row = tally.row(parsed(line, tally.decoder))
        except Broken as broken:
            tally.skip(range(number, number + 1), broken)
        else:
            yield row


def _is_lines(text: TextFile) -> bool:
    """Whether the first line is a whole object and more follows it."""
    lines = (line.strip(BLANKS) for line in text.lines())
    filled = (line for line in lines if line)
    first = next(filled, "")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return next(filled, None) is not None


def _array_items(text: TextFile, tally: Tally) -> Iterator[Row]:
    """The objects of an array, each parsed by itself."""
    return _objects(_streamed(text, tally), tally)


def _held_array(text: TextFile, tally: Tally) -> Iterator[Row]:
    """The one array of objects that an object holds."""
    _check_memory(text)
    value = _parsed_whole(text, tally)
    if not isinstance(value, dict):
        raise LoraError(f"{text.name} holds a JSON {json_name(value)}, not an array of objects.", ONE_OBJECT)
    arrays = {key: item for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)}
    if len(arrays) != 1:
        names = ", ".join(shown(key) for key in list(arrays)[:8])
        found = f"{len(arrays)} arrays of objects ({names})" if arrays else "no array of objects"
        problem = f"{text.name} is a JSON object that holds {found}."
        raise LoraError(problem, "Save the rows as one array, or as JSON Lines.")
    return _objects(next(iter(arrays.values())), tally)


def _parsed_whole(text: TextFile, tally: Tally) -> Any:
    try:
        return parsed(text.whole().removeprefix("\ufeff"), tally.decoder)
    except Broken as broken:
        line = f" line {broken.line}" if broken.line > 1 else ""
        raise LoraError(f"{text.name}{line}: {broken.problem}", broken.remedy) from None


def _objects(values: Iterable[Any], tally: Tally) -> Iterator[Row]:
    tally.unit = "item"
    for number, value in enumerate(values, start=1):
        if tally.knows(number):
            continue
        try:
            row = tally.row(value)
        except Broken as broken:
            tally.skip(range(number, number + 1), broken)
        else:
            yield row


def _check_memory(text: TextFile) -> None:
    """Refuses what would not fit: an object has to be parsed in one go."""
    if not text.large:
        return
    import psutil

    size = text.encoding.size
    free = psutil.virtual_memory().available
    if size * _MEMORY_FACTOR > free:
        needs, has = size * _MEMORY_FACTOR / 2**30, free / 2**30
        problem = f"{text.name} is one JSON object that needs about {needs:.1f} GiB of memory; {has:.1f} GiB are free."
        raise LoraError(problem, "Convert it to JSON Lines, one object a line: that is read a line at a time.")


def _streamed(text: TextFile, tally: Tally) -> Iterator[Any]:
    """The items of an array, with no more of it in memory than one item and a part of the file.

    Raises:
        LoraError: the array breaks off, an item is not JSON, or a byte does not decode; the text names the line.
    """
    with text.opened("\n") as file:
        window = _Window(file, text)
        window.past("[")
        ended = window.peek() == "]" and bool(window.past("]"))
        for number in itertools.count(1):
            if ended:
                break
            tally.at(number)
            yield window.value(tally.decoder)
            ended = window.past(",]") == "]"
        if window.peek():
            raise window.error("more after the end of the array")


class _Window:
    """A part of a large text, moved along as it is read."""

    def __init__(self, file: TextIO, text: TextFile) -> None:
        self._file, self._name, self._sound = file, text.name, text.encoding.sound
        self._part, self._at, self._line, self._column = "", 0, 1, 1

    def peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            found = _FILLED.search(self._part, self._at)
            self._at = found.start() if found else len(self._part)
            if found:
                return found[0]
            if not self._more():
                return ""

    def past(self, signs: str) -> str:
        """Moves past the next sign, which is to be one of `signs`, and returns it."""
        sign = self.peek()
        if not sign or sign not in signs:
            raise self.error(f"expecting {' or '.join(signs)}")
        self._at += 1
        return sign

    def value(self, decoder: json.JSONDecoder) -> Any:
        """Moves past the next value and returns it."""
        self.peek()
        while True:
            try:
                value, end = decoder.raw_decode(self._part, self._at)
            except json.JSONDecodeError as error:
                ahead = error.pos - self._at
                if len(self._part) - self._at > LONGEST_LINE or not self._more():
                    raise self.error(error.msg.removesuffix(" at"), self._at + ahead) from None
            except RecursionError:
                raise self.error("nested too deeply") from None
            except ValueError as error:
                raise self.error(shown(error)) from None
            else:
                # A number may go on in the next part; an object cannot.
                if end < len(self._part) or isinstance(value, dict) or not self._more():
                    self._at = end
                    return value

    def error(self, what: str, at: int | None = None) -> LoraError:
        """The error for what is found here, or at another place of the part in view."""
        line, column = self._place(self._at if at is None else at)
        return LoraError(f"{self._name} line {line}: not JSON ({what} at character {column}).", ONE_OBJECT)

    def _more(self) -> bool:
        part = self._file.read(max(_PART, len(self._part) - self._at))
        self._line, self._column = self._place(self._at)
        if not self._sound and (byte := stray(part)):
            at = part.index(chr(int(byte, 16) + 0xDC00))
            line = self._line + self._part.count("\n", self._at) + part.count("\n", 0, at)
            raise not_utf8(f"{self._name} line {line}", byte)
        self._part, self._at = self._part[self._at :] + part, 0
        return bool(part)

    def _place(self, at: int) -> tuple[int, int]:
        """Line and column of a place in the part in view."""
        before = self._part.count("\n", 0, at)
        start = self._part.rfind("\n", 0, at)
        return self._line + before, at - start if before else self._column + at
