"""Formats and examples: what columns are recognised as, what is skipped, what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.dataset.examples import Example, Examples, Turn, examples
from lora_magic.dataset.turns import ROLES
from lora_magic.errors import LoraError

Row = dict[str, Any]

USER, ANSWER = Turn("user", "Where?"), Turn("assistant", "There")
PAIR = (USER, ANSWER)
MESSAGES = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There"}]
SHARED = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There"}]


@dataclass(frozen=True)
class Lazy:
    """Rows that are made anew each time, as those of a large file are."""

    rows: list[Row]

    def __iter__(self) -> Iterator[Row]:
        return (dict(row) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def made(*rows: Row, system: str | None = None) -> Examples:
    return examples(list(rows), system=system)


def turns(row: Row) -> tuple[Turn, ...]:
    return next(iter(made(row))).turns


RECOGNISED: dict[str, tuple[Row, str]] = {
    "messages": ({"messages": MESSAGES}, "messages"),
    "messages as text": ({"messages": json.dumps(MESSAGES)}, "messages"),
    "messages beside a prompt": ({"prompt": "Where?", "messages": MESSAGES}, "messages"),
    "messages beside their rendering": ({"text": "Where? There", "messages": MESSAGES}, "messages"),
    "messages beside a pair": ({"prompt": "Where?", "completion": "There", "messages": MESSAGES}, "messages"),
    "messages in columns": (
        {"messages": {"role": ["user", "assistant"], "content": ["Where?", "There"]}},
        "messages",
    ),
    "text parts": (
        {"messages": [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in MESSAGES]},
        "messages",
    ),
    "conversation": ({"conversation": MESSAGES}, "messages"),
    "followed by a question": ({"messages": [*MESSAGES, MESSAGES[0]]}, "messages"),
    "ShareGPT": ({"conversations": SHARED}, "ShareGPT"),
    "Alpaca": ({"instruction": "Where?", "input": "", "output": "There"}, "instruction/input/output"),
    "Alpaca without input": ({"Instruction": "Where?", "Output": "There"}, "instruction/input/output"),
    "Alpaca with its rendering": (
        {"instruction": "Where?", "input": "", "output": "There", "text": "### Where?\n### There"},
        "instruction/input/output",
    ),
    "a rendering as prompt": (
        {"instruction": "Where?", "input": "", "output": "There", "prompt": "### Where?\n### There"},
        "instruction/input/output",
    ),
    "Dolly": ({"instruction": "Where?", "context": "", "response": "There", "category": "x"}, "instruction/response"),
    "prompt/completion": ({"prompt": "Where?", "completion": "There", "id": 3}, "prompt/completion"),
    "turns in two columns": ({"prompt": MESSAGES[:1], "completion": MESSAGES[1:]}, "prompt/completion"),
    "turns, then text": ({"prompt": MESSAGES[:1], "completion": "There"}, "prompt/completion"),
    "question/answer": ({" Question": "Where?", "ANSWER": "There"}, "question/answer"),
    "SQuAD": (
        {"question": "Where?", "answers": {"text": ["There"], "answer_start": [3]}, "id": "x"},
        "question/answers",
    ),
    "prompt/response": ({"prompt": "Where?", "response": "There"}, "prompt/response"),
    "prompt/answer": ({"prompt": "Where?", "answer": "There"}, "prompt/answer"),
    "input/output": ({"input": "Where?", "output": "There"}, "input/output"),
    "query/response": ({"query": "Where?", "response": "There", "type": "a"}, "query/response"),
    "human/assistant": ({"human": "Where?", "assistant": "There"}, "human/assistant"),
    "user/assistant": ({"User": "Where?", "Assistant": "There"}, "user/assistant"),
    "source/target": ({"source": "Where?", "target": "There"}, "source/target"),
    "problem/solution": ({"problem": "Where?", "solution": "There"}, "problem/solution"),
    "text/label": ({"text": "Where?", "label": "There"}, "text/label"),
    "a label in words and numbers": ({"text": "Where?", "label": 1, "label_text": "There"}, "text/label_text"),
    "text/summary": ({"text": "Where?", "summary": "There"}, "text/summary"),
    "a dialogue in words": ({"dialogue": "Where?", "summary": "There"}, "dialogue/summary"),
}


@pytest.mark.parametrize("case", RECOGNISED)
def test_recognised(case: str) -> None:
    row, name = RECOGNISED[case]
    found = made(row)
    assert (found.format.name, [example.turns for example in found]) == (name, [PAIR])
    assert {column for _, column in found.format.columns} | set(found.format.unused) == set(row)


def test_columns_used_and_why() -> None:
    form = made({"id": 1, "Output": "a", "System_Prompt": "s", "Instruction": "b", "input": ""}).format
    assert form.columns == (
        ("prompt", "Instruction"),
        ("completion", "Output"),
        ("input", "input"),
        ("system", "System_Prompt"),
    )
    assert (form.unused, form.why) == (("id",), 'every row has "Instruction" and "Output"')
    assert made({"conversations": SHARED}).format.why == (
        'every row has "conversations", a list of turns with "from" and "value"'
    )
    alpaca = made(RECOGNISED["Alpaca with its rendering"][0]).format
    assert alpaca.why.endswith('; "text" says the same again') and alpaca.unused == ("text",)


def test_what_belongs_to_a_question_goes_into_the_prompt() -> None:
    assert turns({"instruction": "Translate.", "input": "chat", "output": "cat"})[0].content == "Translate.\n\nchat"
    assert turns({"instruction": "", "input": "chat", "output": "cat"})[0].content == "chat"
    assert turns({"instruction": "Who?", "context": "A page.", "response": "x"})[0].content == "Who?\n\nA page."
    assert turns({"question": "Who?", "context": ["A.", "B."], "answer": "x"})[0].content == "A.\n\nB.\n\nWho?"
    nested = made({"question": "Who?", "context": {"urls": ["a"]}, "answer": "x"})
    assert next(iter(nested)).prompt == "Who?" and nested.format.unused == ("context",)


def test_the_first_of_several_answers() -> None:
    found = made({"question": "Where?", "answers": ["There", "Here"]}, {"question": "Where?", "answer": ["There"]})
    assert [example.reference for example in found] == ["There", "There"]
    assert "1 row with several answers: the first is taken" in found.notes


def test_text() -> None:
    found = made({"text": "A page."}, {"text": "Another."}, system="Be brief.")
    first = next(iter(found))
    assert found.format.name == "text" and first == Example((Turn("text", "A page."),))
    assert (first.is_text, first.prompt, first.reference, first.context) == (True, "", "", ())
    assert found.notes == (
        "2 rows of plain text: trained on fully, and not used as prompts to compare with",
        "the system text does not go into plain text",
    )
    hint = made({"text": "A page.", "translation": "Une page."}).notes[-1]
    assert hint.endswith("--map prompt=text,completion=translation")


def test_what_an_example_offers() -> None:
    conversation = (Turn("system", "s"), USER, ANSWER, Turn("user", "When?"), Turn("assistant", "Soon"))
    example = Example(conversation, row=7)
    assert (example.prompt, example.reference, example.context) == ("When?", "Soon", conversation[:-1])
    assert example == Example(conversation, row=8) != Example(conversation, tools="[]")
    alone = Example((ANSWER,))
    assert (alone.prompt, alone.reference, alone.context, alone.is_text) == ("", "There", (), False)
    assert Example((USER, Turn("assistant", "", '[{"name": "f"}]'))).reference == '[{"name": "f"}]'


def test_system() -> None:
    rows: list[Row] = [
        {"prompt": "Where?", "completion": "There", "system": "of the row"},
        {"prompt": "Where?", "completion": "There", "system": " "},
        {"messages": [{"role": "developer", "content": "of the turns"}, *MESSAGES], "system": "of the row"},
    ]
    assert [example.turns[0] for example in made(*rows, system="asked for")] == [
        Turn("system", w) for w in ("of the row", "asked for", "of the turns")
    ]
    assert [len(example.turns) for example in made(*rows)] == [3, 2, 3]


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_mixed_files_are_resolved_row_by_row(missing: object) -> None:
    rows: list[Row] = [
        {"question": "Where?", "answer": "There", "messages": missing, "text": missing},
        {"question": missing, "answer": missing, "messages": MESSAGES, "text": missing},
        {"question": "Where?", "answer": "There", "messages": missing, "text": missing},
        {"question": missing, "answer": missing, "messages": missing, "text": "A page."},
        {"other": "x"},
    ]
    found = made(*rows)
    assert found.format.name == "mixed (question/answer, messages, text)"
    assert found.format.why == (
        '40% of the rows have "question" and "answer"; 20% of the rows have "messages", a list of turns; '
        '20% of the rows have "text"'
    )
    assert [(example.row, len(example.turns)) for example in found] == [(1, 2), (2, 2), (3, 2), (4, 1)]
    assert found.notes[0] == "1 row skipped: no usable columns (row 5)"


def test_skipped_rows_are_counted() -> None:
    rows: list[Row] = [
        {"prompt": "Where?", "completion": ""},
        {"prompt": "Where?", "completion": None},
        {"prompt": "Where?", "completion": float("nan")},
        {"prompt": "Where?", "completion": []},
        {"prompt": " ", "completion": "There"},
        {"prompt": "Where?", "completion": "There"},
        {"messages": MESSAGES[:1]},
        {"messages": []},
        {"messages": "{"},
        {"messages": str(MESSAGES)},
        {"messages": [{"content": "x"}]},
        {"messages": ["x"]},
        {"text": " "},
        {"messages": [{"role": "narrator", "content": "x"}, *MESSAGES]},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}, MESSAGES[1]]},
        {"chosen": "a", "rejected": "b"},
    ]
    found = made(*rows)
    assert [(example.row, example.turns) for example in found] == [(6, PAIR)]
    assert (len(found), found.skipped_count, len(found.skipped)) == (1, 15, 10)
    assert found.skipped[0] == (1, "an empty answer")
    assert found.notes == (
        "4 rows skipped: an empty answer (rows 1, 2, 3, …)",
        "1 row skipped: an empty prompt (row 5)",
        "1 row skipped: no answer (row 7)",
        '1 row skipped: "messages" that is empty (row 8)',
        '1 row skipped: "messages" that is text but not JSON (row 9)',
        '1 row skipped: "messages" that is written the Python way (row 10)',
        "1 row skipped: a turn without a role (row 11)",
        '1 row skipped: "messages" that is not a list of turns (row 12)',
        "1 row skipped: an empty text (row 13)",
        '1 row skipped: the unknown role "narrator" (row 14)',
        '1 row skipped: a part of type "image" (row 15)',
        "1 row skipped: preference data (row 16)",
    )


def test_no_row_left() -> None:
    with pytest.raises(LoraError, match=r"None of the 2 rows can be used: 2 with an empty answer \(rows 1, 2\)"):
        made({"prompt": "Where?", "completion": ""}, {"prompt": "Where?", "completion": " "})
    with pytest.raises(LoraError, match=r'1 with the unknown role "narrator" \(row 1\)') as error:
        made({"messages": [{"role": "narrator", "content": "x"}, *MESSAGES]})
    assert "human" in error.value.remedy
    with pytest.raises(LoraError, match='a part of type "image"') as error:
        made({"messages": [{"role": "user", "content": [{"type": "image"}]}, MESSAGES[1]]})
    assert error.value.remedy.startswith("Only text")
    with pytest.raises(LoraError, match="There are no rows"):
        made()


def test_a_rendering_does_not_stand_in_for_an_empty_answer() -> None:
    good = RECOGNISED["Alpaca with its rendering"][0]
    found = made(*[good] * 20, {**good, "output": ""})
    assert (len(found), found.format.name) == (20, "instruction/input/output")
    assert found.skipped == ((21, "an empty answer"),)


def test_reasons_that_data_can_make_up_stay_few() -> None:
    rows = [{"messages": [{"role": f"role {i}", "content": "x"}]} for i in range(100)]
    found = made({"messages": MESSAGES}, *rows)
    assert len(found.notes) < 30 and found.skipped_count == 100
    assert any(note.startswith("80 rows skipped: other reasons") for note in found.notes)


def test_other_values_become_text() -> None:
    assert [turn.content for turn in turns({"prompt": 48, "completion": {"sum": [1, 2.5, True], "naïve": None}})] == [
        "48",
        '{"sum": [1, 2.5, true], "naïve": null}',
    ]
    assert [turn.content for turn in turns({"prompt": True, "completion": "a\ud83d\ude42b\ud800"})] == [
        "true",
        "a🙂b\ufffd",
    ]


def test_choices_that_go_unused_are_said() -> None:
    notes = made({"question": "Which?", "choices": ["a", "b"], "answer": 1}).notes
    assert notes == ('"choices" is not used: the prompts do not list them',)


def test_what_is_left_out_is_said() -> None:
    notes = made(
        {"messages": [*MESSAGES, MESSAGES[0]]},
        {"messages": [MESSAGES[0], *MESSAGES]},
        {"messages": [MESSAGES[0], {**MESSAGES[1], "weight": 0, "reasoning_content": "hm"}]},
        {"messages": [MESSAGES[0], {**MESSAGES[1], "weight": 1, "thinking": None}]},
        {"prompt": "Where?", "completion": "There", "label": False},
    ).notes
    assert set(notes) == {
        "1 row with turns after the last answer: these are left out",
        "1 row with two turns of one role in a row: some chat templates refuse that",
        '1 row with "weight" in a turn: this is not taken into account',
        '1 row with "reasoning_content" in a turn: this is not taken into account',
        '"label" is true or false: rows marked false are trained on as well',
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "type", "text", "tool_calls", "function", "name", "weight"]),
            inner,
        )
    ),
    max_leaves=6,
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "function_call", "x", 3]), "content": JSON},
    optional={"tool_calls": JSON, "weight": JSON},
)
NAMES = ["messages", "conversations", "chat", "Prompt", "completion", "text", "label", "system", "instruction", "input"]
COLUMN = st.sampled_from([*NAMES, "output", "answers", "tools", "context", "chosen", "rejected", "x\n"])
VALUE = JSON | st.lists(TURN, max_size=3) | st.lists(TURN, max_size=3).map(lambda value: json.dumps(value))
ROWS = st.lists(st.dictionaries(COLUMN, VALUE, max_size=5), max_size=5)
MAPPED = st.sampled_from(["prompt", "completion", "system", "messages", "text"])


@settings(max_examples=150, deadline=None)
@given(
    rows=ROWS,
    system=st.none() | st.text(max_size=3),
    columns=st.just({}) | st.dictionaries(MAPPED, COLUMN, max_size=3),
)
def test_any_rows_give_examples_or_one_line(rows: list[Row], system: str | None, columns: dict[str, str]) -> None:
    try:
        found = examples(rows, system=system, columns=columns)
    except LoraError as error:
        assert len(str(error).splitlines()) == 1
        with pytest.raises(LoraError) as again:
            examples(Lazy(rows), system=system, columns=columns)
        assert str(again.value) == str(error)
        return
    kept = list(found)
    assert len(kept) == len(found) and len(found) + found.skipped_count == len(rows)
    for example in kept:
        assert example.is_text or example.reference.strip()
        for turn in example.turns:
            assert turn.role in (*ROLES, "text") and isinstance(turn.content, str) and turn.content.encode() is not None
            assert not turn.tool_calls or json.loads(turn.tool_calls)
    lazy = examples(Lazy(rows), system=system, columns=columns)
    assert list(found) == list(lazy) == list(lazy) == kept
    assert [example.row for example in lazy] == [example.row for example in kept]
    said = [(each.format, each.notes, each.skipped, each.skipped_count, len(each)) for each in (found, lazy)]
    assert said[0] == said[1] and all(len(note.splitlines()) == 1 for note in (*found.notes, found.format.why))
    assert (lazy.is_lazy, found.is_lazy) == (True, False)


@pytest.mark.parametrize(
    ("name", "count", "form"),
    [
        ("gsm8k_train", 7473, "question/answer"),
        ("user_oriented_instructions", 252, "instruction/input/output"),
    ],
)
def test_real_files_need_no_option(name: str, count: int, form: str) -> None:
    folder = os.environ.get("LORA_MAGIC_REAL_DATA")
    if not folder:
        pytest.skip("LORA_MAGIC_REAL_DATA names no folder")
    lines = (Path(folder) / f"{name}.jsonl").read_text().splitlines()
    found = made(*map(json.loads, lines))
    assert (len(found), found.format.name, found.notes) == (count, form, ())
