"""Formats and examples: what columns are recognised as, what is skipped, what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.dataset.examples import Example, Turn, examples
from lora_magic.dataset.formats import Unusable, detect
from lora_magic.dataset.sources import read
from lora_magic.errors import LoraError

USER, ANSWER = Turn("user", "Where?"), Turn("assistant", "There")
PAIR = (USER, ANSWER)
MESSAGES = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There"}]
SHARED = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There"}]

RECOGNISED: dict[str, tuple[dict[str, Any], str]] = {
    "messages": ({"messages": MESSAGES}, "messages"),
    "messages as text": ({"messages": json.dumps(MESSAGES)}, "messages"),
    "messages beside a prompt": ({"prompt": "Where?", "messages": MESSAGES}, "messages"),
    "text parts": (
        {"messages": [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in MESSAGES]},
        "messages",
    ),
    "followed by a question": ({"messages": [*MESSAGES, MESSAGES[0]]}, "messages"),
    "ShareGPT": ({"conversations": SHARED}, "ShareGPT"),
    "ShareGPT of a model": ({"conversations": [SHARED[0], {"from": "Model", "value": "There"}]}, "ShareGPT"),
    "Alpaca": ({"instruction": "Where?", "input": "", "output": "There"}, "instruction/input/output"),
    "Alpaca without input": ({"Instruction": "Where?", "Output": "There"}, "instruction/input/output"),
    "prompt/completion": ({"prompt": "Where?", "completion": "There", "id": 3}, "prompt/completion"),
    "turns in two columns": ({"prompt": MESSAGES[:1], "completion": MESSAGES[1:]}, "prompt/completion"),
    "turns, then text": ({"prompt": MESSAGES[:1], "completion": "There"}, "prompt/completion"),
    "question/answer": ({" Question": "Where?", "ANSWER": "There", "text": "x"}, "question/answer"),
    "prompt/response": ({"prompt": "Where?", "response": "There"}, "prompt/response"),
    "input/output": ({"input": "Where?", "output": "There"}, "input/output"),
}


@pytest.mark.parametrize("case", RECOGNISED)
def test_recognised(case: str) -> None:
    row, name = RECOGNISED[case]
    found = detect([row])
    assert (found.name, found.turns(row)) == (name, PAIR)
    assert set(found.columns) <= set(row)


def test_columns_used() -> None:
    assert detect([{"id": 1, "Output": "a", "System": "s", "Instruction": "b"}]).columns == (
        "Instruction",
        "Output",
        "System",
    )


def test_alpaca_joins_its_input() -> None:
    row = {"instruction": "Translate.", "input": "chat", "output": "cat"}
    assert detect([row]).turns(row)[0] == Turn("user", "Translate.\n\nchat")


def test_text() -> None:
    made, found, notes = examples([{"text": "A page."}], system="Be brief.")
    assert found.name == "text" and made == [Example((Turn("text", "A page."),))]
    assert (made[0].is_text, made[0].prompt, made[0].reference, made[0].context) == (True, "", "", ())
    assert "1 rows are plain text: trained on fully, and not used as prompts to compare with" in notes


def test_what_an_example_offers() -> None:
    turns = (Turn("system", "s"), USER, ANSWER, Turn("user", "When?"), Turn("assistant", "Soon"))
    example = Example(turns)
    assert (example.prompt, example.reference, example.context) == ("When?", "Soon", turns[:-1])
    alone = Example((ANSWER,))
    assert (alone.prompt, alone.reference, alone.context, alone.is_text) == ("", "There", (), False)


def test_system() -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "Where?", "completion": "There", "system": "of the row"},
        {"prompt": "Where?", "completion": "There", "system": " "},
        {"messages": [{"role": "system", "content": "of the turns"}, *MESSAGES], "system": "of the row"},
    ]
    made, _, _ = examples(rows, system="asked for")
    assert [example.turns[0] for example in made] == [
        Turn("system", w) for w in ("of the row", "asked for", "of the turns")
    ]
    assert [len(example.turns) for example in examples(rows, system=None)[0]] == [3, 2, 3]


def test_mixed_files_are_resolved_row_by_row() -> None:
    rows: list[dict[str, Any]] = [
        {"question": "Where?", "answer": "There", "messages": None},
        {"question": None, "answer": None, "messages": MESSAGES},
        {"question": "Where?", "answer": "There", "messages": None},
        {"other": "x"},
    ]
    made, found, notes = examples(rows, system=None)
    assert found.name == "mixed (question/answer, messages)"
    assert [example.turns for example in made] == [PAIR] * 3
    assert notes == ("1 row skipped: no usable columns",)


def test_skipped_rows_are_counted() -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "Where?", "completion": ""},
        {"prompt": "Where?", "completion": None},
        {"prompt": "Where?", "completion": float("nan")},
        {"prompt": " ", "completion": "There"},
        {"prompt": "Where?", "completion": "There"},
        {"messages": MESSAGES[:1]},
        {"messages": []},
        {"messages": "{"},
        {"messages": [{"content": "x"}]},
        {"text": " "},
    ]
    made, _, notes = examples(rows, system=None)
    assert [example.turns for example in made] == [PAIR]
    assert notes[:2] == ("3 rows skipped: an empty answer", "1 row skipped: an empty prompt")
    assert sum(int(note.split()[0]) for note in notes) == 9
    with pytest.raises(LoraError, match="None of the 2 rows can be used: 2 with an empty answer"):
        examples(rows[:2], system=None)
    with pytest.raises(Unusable, match="empty answer"):
        detect(rows).turns(rows[0])


def test_other_values_become_text() -> None:
    row = {"prompt": 48, "completion": {"sum": [1, 2.5, True], "naïve": None}}
    assert [turn.content for turn in detect([row]).turns(row)] == [
        "48",
        '{"sum": [1, 2.5, true], "naïve": null}',
    ]
    row = {"prompt": True, "completion": "a\ud83d\ude42b\ud800"}
    assert [turn.content for turn in detect([row]).turns(row)] == ["true", "a🙂b\ufffd"]


def test_roles_that_cannot_be_trained_on_are_named() -> None:
    good = {"conversations": SHARED}
    bad = {"conversations": [*SHARED, {"from": "function_call", "value": "x"}]}
    with pytest.raises(LoraError, match=r'Row 2: the role "function_call" cannot be trained on') as error:
        examples([good, bad], system=None)
    assert "human" in error.value.remedy
    picture = {"messages": [{"role": "user", "content": [{"type": "image"}]}, MESSAGES[1]]}
    with pytest.raises(LoraError, match='Row 1: a turn holds a part of type "image"'):
        examples([picture], system=None)


def test_preference_data_is_answered() -> None:
    with pytest.raises(LoraError, match=r"preference data \(chosen, rejected\)") as error:
        detect([{"prompt": "Where?", "chosen": "There", "rejected": "Here"}])
    assert '"completion": r["chosen"]' in error.value.remedy
    with pytest.raises(LoraError) as error:
        detect([{"chosen": MESSAGES, "rejected": MESSAGES}])
    assert '"messages": r["chosen"]' in error.value.remedy


def test_no_usable_columns() -> None:
    with pytest.raises(LoraError, match="No usable columns among: id, title, body") as error:
        detect([{"id": 1, "title": "a"}, {"body": "b"}])
    assert "prompt, completion; question, answer" in error.value.remedy
    with pytest.raises(LoraError, match="among: none"):
        detect([{}])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from", "type"]), inner)
    ),
    max_leaves=6,
)
COLUMN = st.sampled_from(
    ["messages", "conversations", "Prompt", "completion", "text", "system", "instruction", "output", "x"]
)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.dictionaries(COLUMN, JSON, max_size=4), min_size=1, max_size=4))
def test_no_rows_are_more_than_one_line(rows: list[dict[str, Any]]) -> None:
    try:
        made, _, _ = examples(rows, system="s")
    except LoraError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(example.is_text or example.reference.strip() for example in made)


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
    made, found, notes = examples(read(Path(folder) / f"{name}.jsonl").rows, system=None)
    assert (len(made), found.name, notes) == (count, form, ())
