"""Columns that are not understood, and what `--map` makes of them: each remedy is tried out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from lora_magic.config.data import DataOptions
from lora_magic.dataset.examples import Examples, Turn, examples
from lora_magic.errors import LoraError

Row = dict[str, Any]

PAIR = (Turn("user", "Where?"), Turn("assistant", "There"))
MESSAGES = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There"}]


def mapped(row: Row, text: str) -> Examples:
    """The row read with `--map TEXT`, through the option itself."""
    return examples([row], system=None, columns=DataOptions(data="x", map=text).columns)


def refused(*rows: Row) -> LoraError:
    with pytest.raises(LoraError) as error:
        examples(list(rows), system=None)
    assert len(str(error.value).splitlines()) == 1
    return error.value


def ways(error: LoraError) -> list[str]:
    """The texts for `--map` that an error offers, as a shell would read them."""
    found = re.findall(r'--map ("[^"]+"|\S+?)(?=[.,]? |[.,]?$)', error.remedy)
    return [shlex.split(way)[0] for way in found]


AMBIGUOUS: dict[str, tuple[Row, list[str]]] = {
    "two pairs": (
        {"prompt": "Where?", "completion": "There", "question": "When?", "answer": "Now"},
        ["prompt=prompt,completion=completion", "prompt=question,completion=answer"],
    ),
    "two prompts": (
        {"prompt": "Where?", "question": "When?", "answer": "Now"},
        ["prompt=question,completion=answer", "prompt=prompt,completion=answer"],
    ),
    "two answers": (
        {"Question": "Where?", "Answer": "There", "Response": "Now"},
        ["prompt=Question,completion=Answer", "prompt=Question,completion=Response"],
    ),
    "text beside a pair": (
        {"question": "Where?", "answer": "There", "text": "A page."},
        ["prompt=question,completion=answer", "text=text"],
    ),
    "a number as label": ({"text": "Fine.", "label": 1}, ["prompt=text,completion=label", "text=text"]),
    "two lists of turns": (
        {"messages": MESSAGES, "conversations": MESSAGES[:2]},
        ["messages=messages", "messages=conversations"],
    ),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_can_be_read_in_more_than_one_way(case: str) -> None:
    row, expected = AMBIGUOUS[case]
    error = refused(row)
    assert error.problem.endswith("can be read in more than one way.")
    assert ways(error) == expected
    for way in expected:
        found = mapped(row, way)
        assert len(found) == 1
        assert dict(found.format.columns) == dict(pair.split("=") for pair in way.split(","))


def test_values_that_differ_do_not_count_as_a_rendering() -> None:
    good = {"instruction": "Where?", "output": "There", "text": "Where? There"}
    assert len(examples([good] * 20, system=None)) == 20
    assert "more than one way" in refused(*[good] * 10, *[{**good, "text": "A page."}] * 5).problem


def test_rows_that_turn_ambiguous_late_are_skipped() -> None:
    late = {"prompt": "Where?", "completion": "There", "question": "When?", "answer": "Now"}
    found = examples([*[{"prompt": "Where?", "completion": "There"}] * 1000, late], system=None)
    assert (len(found), found.skipped) == (1000, ((1001, "columns that can be read in more than one way"),))


def test_preference_data() -> None:
    asked: list[tuple[Row, str]] = [
        ({"prompt": "Where?", "chosen": "There", "rejected": "Here"}, "prompt=prompt,completion=chosen"),
        ({"Question": "Where?", "Preferred": "There", "Dispreferred": "x"}, "prompt=Question,completion=Preferred"),
        ({"chosen": MESSAGES, "rejected": MESSAGES}, "messages=chosen"),
        ({"prompt": "Where?", "chosen": MESSAGES, "rejected": MESSAGES}, "messages=chosen"),
        ({"prompt": MESSAGES[:1], "chosen": MESSAGES[1:], "rejected": MESSAGES[1:]}, "prompt=prompt,completion=chosen"),
    ]
    for row, way in asked:
        error = refused(row)
        assert error.problem.startswith("This is preference data") and ways(error) == [way]
        assert [example.turns for example in mapped(row, way)] == [PAIR]
    assert ways(refused({"chosen": "Where? There", "rejected": "x"})) == ["text=chosen"]


def test_unknown_columns_are_answered_with_what_may_be_meant() -> None:
    error = refused({"id": 1, "My Q": "Where?", "A": "There"})
    assert error.problem == "No usable columns among: id, My Q, A."
    assert ways(error) == ["prompt=My Q,completion=A", "prompt=A,completion=My Q"]
    assert [example.turns for example in mapped({"My Q": "Where?", "A": "There"}, ways(error)[0])] == [PAIR]
    assert ways(refused({"talk": MESSAGES, "id": 1})) == ["messages=talk"]
    assert ways(refused({"id": 1, "body": "A page."})) == ["text=body"]
    assert "prompt, completion; question, answer" in refused({"a": "x", "b": "y", "c": "z"}).remedy
    assert refused({"a,b": "x", "c": "y"}).remedy.startswith("Rename the columns")
    assert "among: none" in refused({}).problem


MAPPED: dict[str, tuple[Row, str, tuple[Turn, ...]]] = {
    "a pair": ({"Q": "Where?", "A": "There", "answer": "x", "prompt": "y"}, "prompt=Q,completion=A", PAIR),
    "any case": ({"Question Text": "Where?", "A": "There"}, "prompt=question text,completion=a", PAIR),
    "with system": (
        {"Q": "Where?", "A": "There", "S": "s"},
        "prompt=Q,completion=A,system=S",
        (Turn("system", "s"), *PAIR),
    ),
    "turns": ({"talk": MESSAGES, "text": "x"}, "messages=talk", PAIR),
    "turns and system": ({"talk": MESSAGES, "S": "s"}, "messages=talk,system=S", (Turn("system", "s"), *PAIR)),
    "text": ({"prompt": "Where?", "completion": "There"}, "text=completion", (Turn("text", "There"),)),
    "system alone": ({"question": "Where?", "answer": "There", "S": "s"}, "system=S", (Turn("system", "s"), *PAIR)),
    "an answer of many": ({"Q": "Where?", "A": {"text": ["There", "x"]}}, "prompt=Q,completion=A", PAIR),
    "what belongs to known columns": (
        {"instruction": "Translate.", "input": "chat", "output": "cat", "text": "x"},
        "prompt=instruction,completion=output",
        (Turn("user", "Translate.\n\nchat"), Turn("assistant", "cat")),
    ),
}


@pytest.mark.parametrize("case", MAPPED)
def test_mapped(case: str) -> None:
    row, text, expected = MAPPED[case]
    found = mapped(row, text)
    assert [example.turns for example in found] == [expected]
    used = {column for _, column in found.format.columns}
    assert {pair.partition("=")[2].lower() for pair in text.split(",")} <= {column.lower() for column in used}
    assert used | set(found.format.unused) == set(row) and not used & set(found.format.unused)


def test_a_mapping_is_said() -> None:
    assert mapped(*MAPPED["a pair"][:2]).format.why == "as asked: --map prompt=Q,completion=A"
    assert mapped(*MAPPED["what belongs to known columns"][:2]).format.why.endswith('; "input" goes along')
    tools = mapped({"talk": MESSAGES, "tools": [{"name": "look"}]}, "messages=talk")
    assert '"look"' in next(iter(tools)).tools


def test_rows_without_the_mapped_column_are_skipped() -> None:
    rows: list[Row] = [{"Q": "Where?", "A": "There"}, {"Q": "Where?"}, {"prompt": "Where?", "completion": "There"}]
    found = examples(rows, system=None, columns={"prompt": "Q", "completion": "A"})
    assert (len(found), found.skipped_count) == (1, 2)


@pytest.mark.parametrize(
    ("columns", "problem", "remedy"),
    [
        ({"prompt": "Q"}, "--map names the prompt and no completion.", "Add completion=COLUMN"),
        ({"completion": "Q"}, "--map names the completion and no prompt.", "Add prompt=COLUMN"),
        ({"prompt": "Qeustion", "completion": "Q"}, 'There is no column "Qeustion".', 'Did you mean "Question"?'),
        ({"prompt": "zzz", "completion": "Q"}, 'There is no column "zzz".', "Columns: Q, Question, TEXT, Text."),
        ({"prompt": "Q", "completion": "q"}, '--map names "Q" twice.', "Name two columns"),
        ({"text": "text"}, '"text" is more than one column.', ""),
        ({"messages": "Q", "text": "Q"}, "--map names messages, text, which do not go together.", "Map prompt"),
        ({"text": "Q", "system": "Question"}, "--map names text, system, which do not go together.", "Map prompt"),
    ],
)
def test_mappings_that_cannot_be(columns: dict[str, str], problem: str, remedy: str) -> None:
    with pytest.raises(LoraError) as error:
        examples([{"Q": "a", "Question": "b", "TEXT": "c", "Text": "d"}], system=None, columns=columns)
    assert error.value.problem == problem and error.value.remedy.startswith(remedy)


def test_a_mapped_column_of_the_wrong_kind_is_said() -> None:
    cases: list[Callable[[], Examples]] = [
        lambda: mapped({"Q": "no turns"}, "messages=Q"),
        lambda: mapped({"Q": "Where?", "A": ""}, "prompt=Q,completion=A"),
    ]
    for case, reason in zip(cases, ('"Q" that is text but not JSON', "an empty answer"), strict=True):
        with pytest.raises(LoraError, match=reason):
            case()
