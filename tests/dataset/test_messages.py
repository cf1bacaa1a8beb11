"""Lists of turns: names of roles, calls of tools, and values of unusual kinds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lora_magic.dataset.examples import Examples, Turn, examples
from lora_magic.errors import LoraError

Row = dict[str, Any]

PAIR = (Turn("user", "Where?"), Turn("assistant", "There"))
MESSAGES = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There"}]
SHARED = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There"}]


def made(*rows: Row) -> Examples:
    return examples(list(rows), system=None)


def turns(row: Row) -> tuple[Turn, ...]:
    return next(iter(made(row))).turns


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((name, "user") for name in ("human", "User")),
        *((name, "assistant") for name in ("gpt", "Assistant", "bot", "chatgpt", "bard", "model")),
        *((name, "tool") for name in ("tool", "observation", "function", "function-response")),
        ("system", "system"),
    ],
)
def test_names_of_roles(name: str, role: str) -> None:
    found = turns({"conversations": [*SHARED, {"from": name, "value": "x"}, SHARED[1]]})
    assert found == (*PAIR, Turn(role, "x"), PAIR[1])


CALL = {"name": "look", "arguments": {"where": "there"}}
CALLS = [{"type": "function", "function": CALL}]
WRITTEN: dict[str, list[Row]] = {
    "tool_calls": [{"role": "assistant", "content": None, "tool_calls": CALLS}],
    "arguments as text": [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": {**CALL, "arguments": json.dumps(CALL["arguments"])}}],
        }
    ],
    "bare calls": [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
    "a function_call": [{"role": "assistant", "content": None, "function_call": CALL}],
    "a turn that is a call": [{"from": "function_call", "value": json.dumps(CALL)}],
}


@pytest.mark.parametrize("way", WRITTEN)
def test_calls_of_tools_come_in_one_form(way: str) -> None:
    tools = [{"name": "look", "parameters": {"type": "object"}}]
    for spelling in (tools, json.dumps(tools), [{"type": "function", "function": tools[0]}]):
        row = {
            "messages": [MESSAGES[0], *WRITTEN[way], {"role": "tool", "content": "seen"}, MESSAGES[1]],
            "tools": spelling,
        }
        example = next(iter(made(row)))
        assert [turn.role for turn in example.turns] == ["user", "assistant", "tool", "assistant"]
        assert (example.turns[1].content, json.loads(example.turns[1].tool_calls)) == ("", CALLS)
        assert json.loads(example.tools) == [{"type": "function", "function": tools[0]}]


def test_calls_that_are_none() -> None:
    assert turns({"messages": [MESSAGES[0], *WRITTEN["tool_calls"]]})[-1].tool_calls
    words = [SHARED[0], {"from": "function_call", "value": "look around"}]
    assert turns({"conversations": words})[-1] == Turn("assistant", "look around")
    found = made(
        {"messages": MESSAGES},
        {"messages": MESSAGES, "tools": "{"},
        {"messages": [MESSAGES[0], {"role": "assistant", "tool_calls": [{"function": {}}]}]},
    )
    assert [reason for _, reason in found.skipped] == [
        "tools or tool calls that are not JSON",
        "a tool or tool call without a name",
    ]


def test_arrays_are_lists() -> None:
    import numpy as np

    parts = np.array([{"type": "text", "text": "There"}], dtype=object)
    calls = np.array([CALL, CALL], dtype=object)
    spoken = [MESSAGES[0], {"role": "assistant", "content": parts, "tool_calls": calls}]
    for row in ({"messages": np.array(spoken, dtype=object)}, {"prompt": "Where?", "completion": spoken[1:]}):
        answer = turns(row)[-1]
        assert (answer.content, len(json.loads(answer.tool_calls))) == ("There", 2)
    assert turns({"prompt": np.array([1, 2]), "completion": np.float64(2.5)})[1].content == "2.5"


@pytest.mark.parametrize("place", ["completion", "beside text", "context", "content", "role", "type", "tools"])
def test_deep_nesting_is_skipped(place: str) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    rows: dict[str, Row] = {
        "completion": {"prompt": "Where?", "completion": deep},
        "beside text": {"prompt": "Where?", "completion": deep, "text": "Where?"},
        "context": {"question": "Where?", "answer": "There", "context": deep},
        "content": {"messages": [MESSAGES[0], {"role": "assistant", "content": deep}]},
        "role": {"messages": [{"role": deep, "content": "x"}]},
        "type": {"messages": [MESSAGES[0], {"role": "assistant", "content": [{"type": deep}]}]},
        "tools": {"messages": MESSAGES, "tools": "[" * 100_000},
    }
    if place == "beside text":
        with pytest.raises(LoraError, match="more than one way"):
            made(rows[place])
        return
    found = made({"prompt": "Where?", "completion": "There"}, rows[place])
    assert (len(found), found.skipped_count) == (1, 1)
