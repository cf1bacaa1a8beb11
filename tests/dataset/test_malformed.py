"""Twelve thousand malformed inputs: each is refused in one line that says where, or gives rows that can be used."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from pathlib import Path

import pytest

from lora_magic.dataset.examples import examples
from lora_magic.dataset.files import kind
from lora_magic.dataset.sources import Source
from lora_magic.errors import LoraError
from tests.benchmarks.malformed import KINDS, Input, inputs, outcome

COUNT, PARTS = 12_000, 6


@pytest.mark.parametrize("part", range(PARTS))
def test_every_malformed_input_is_one_line_or_usable(
    part: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for made in inputs(COUNT, start=part, step=PARTS):
            try:
                seen[_checked(made, tmp_path)] += 1
            except Exception as error:
                error.add_note(f"input {made.number} ({made.kind}, {made.name or type(made.value).__name__})")
                raise
    assert seen.total() == COUNT / PARTS
    assert min(seen["refused"], seen["skipped"], seen["taken"]) > COUNT / PARTS / 20
    assert capfd.readouterr() == ("", "")


def _checked(made: Input, folder: Path) -> str:
    """Reads an input, asserts what a user would notice, and returns the outcome."""
    result, message, source = outcome(made, folder)
    assert message.isprintable(), f"more than one plain line: {message!r}"
    if source is None:
        _names_the_place(made, message)
    else:
        _is_usable(source)
    if result != "refused":
        assert source is not None
        _gives_examples(source)
    if made.name and made.number % 8 == 0:
        _is_the_same_when_large(made, folder, result, source)
    return result


def _names_the_place(made: Input, message: str) -> None:
    if not made.name:
        return
    assert message.startswith(made.name)
    has_lines = kind(Path(made.name)) in (".jsonl", ".csv", ".tsv", ".txt")
    whole = " has no rows", " cannot be read ("
    is_array = kind(Path(made.name)) == ".jsonl" and made.value.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \r\n\t")[:1] == b"["
    if has_lines and not is_array and not made.name.endswith(".gz") and not any(part in message for part in whole):
        assert re.match(rf"{re.escape(made.name)} (line|item) \d+: ", message), message


def _is_usable(source: Source) -> None:
    assert len(source.rows) == sum(1 for _ in source.rows) > 0
    assert all(isinstance(row, dict) and all(isinstance(key, str) for key in row) for row in source.rows)
    assert all(note.isprintable() for note in source.notes)


def _gives_examples(source: Source) -> None:
    found = examples(source.rows, system=None)
    assert len(found) + found.skipped_count == len(source.rows)
    made = list(found)
    assert len(made) == len(found) > 0
    assert all(1 <= example.row <= len(source.rows) for example in made)
    for turn in (turn for example in made for turn in example.turns):
        turn.content.encode()
    assert all(note.isprintable() for note in found.notes)


def _is_the_same_when_large(made: Input, folder: Path, result: str, source: Source | None) -> None:
    """Rows that are read anew each time are those of a list; broken arrays may be worded otherwise."""
    again, _, lazy = outcome(made, folder, large=0)
    assert (again, lazy is None) == (result, source is None)
    if source is not None and lazy is not None:
        assert not isinstance(lazy.rows, list)
        assert repr(list(lazy.rows)) == repr(list(lazy.rows)) == repr(list(source.rows))
        assert lazy.notes == source.notes


def test_the_inputs_are_the_same_each_time_and_of_every_kind() -> None:
    first, second = (list(inputs(200)) for _ in range(2))
    files = [made for made in first if made.name]
    assert [(made.kind, made.name, made.value) for made in files] == [
        (made.kind, made.name, made.value) for made in second if made.name
    ]
    assert {made.kind for made in first} == set(KINDS)


def test_a_wrong_reader_would_be_noticed(tmp_path: Path) -> None:
    """The checks above do fail where a message has two lines or names no file."""
    made = Input(1, "cut short", "rows.jsonl", b"{")
    with pytest.raises(AssertionError):
        _names_the_place(made, "not JSON")
    assert _checked(made, tmp_path) == "refused"
    with pytest.raises(LoraError):
        examples([], system=None)
