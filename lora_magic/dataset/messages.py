"""Lists of turns as chat sets write them: their roles, text parts and tool calls, made into turns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.dataset.cells import Unusable, as_text, from_json, is_blank, without_array
from lora_magic.dataset.turns import Turn
from lora_magic.dataset.wording import shown

Message = Mapping[str, Any]

_NAMED = {
    "system": "system developer",
    "user": "user human",
    "assistant": "assistant gpt model bot chatgpt bard bing claude ai",
    "tool": "tool function observation ipython tool_response function_response tool_result function_result",
    "call": "function_call tool_call",
}
_ROLES = {name: role for role, names in _NAMED.items() for name in names.split()}
_ROLE_KEYS, _CONTENT_KEYS = ("role", "from", "speaker"), ("content", "value", "text")
_CALL_KEYS = ("tool_calls", "function_call")
_TEXT_PARTS = ("text", "input_text", "output_text")
_LIST_OF_OBJECTS = re.compile(r"\s*\[\s*\{")
_FLAGS = {"weight", "train", "reasoning_content", "thinking"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a row's columns were made into.

    Attributes:
        turns: up to the last answer, or one of plain text.
        tools: JSON text of tool definitions, or "".
        dropped: turns after the last answer.
        ignored: keys of its turns that say something which is not taken into account.
        other_answers: whether more answers than the one taken were offered.
        shared: whether its turns are written the ShareGPT way, with "from" and "value".
    """

    turns: list[Turn]
    tools: str = ""
    dropped: int = 0
    ignored: frozenset[str] = frozenset()
    other_answers: bool = False
    shared: bool = False


def turn_list(value: object) -> list[Message] | None:
    """The turns that a value holds: a list of objects, one as JSON text, or an object of equally long lists.

    Args:
        value: a column's.

    Returns:
        At least one turn as found, or None where the value is no such thing.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = from_json(value)
        except ValueError:
            return None
    value = _transposed(value) if isinstance(value, Mapping) else without_array(value)
    if isinstance(value, tuple):
        value = list(value)
    return value if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value) else None


def looks_like_turns(value: object) -> bool:
    """Whether a value may be a list of turns, told without reading a text to its end."""
    if isinstance(value, str):
        return _LIST_OF_OBJECTS.match(value) is not None
    return turn_list(value) is not None


def conversation(messages: Sequence[Message], *, tools: object = None) -> Conversation:
    """Turns out of messages, up to the last answer that says something.

    Args:
        messages: objects with a role (or from) and a content (or value).
        tools: definitions of tools, as a list or as JSON text.

    Raises:
        Unusable: a turn has no role or an unknown one, holds more than text, or nobody answers.
    """
    turns = [turn(message) for message in messages]
    answers = [i for i, made in enumerate(turns) if made.role == "assistant" and says_something(made)]
    if not answers:
        raise Unusable("an empty answer" if any(made.role == "assistant" for made in turns) else "no answer")
    last = answers[-1] + 1
    ignored = frozenset(key for message in messages for key in _FLAGS & message.keys() if _matters(message[key]))
    shared = "from" in messages[0]
    return Conversation(turns[:last], definitions(tools), len(turns) - last, ignored, shared=shared)


def says_something(turn: Turn) -> bool:
    """Whether a turn has words or calls."""
    return bool(turn.tool_calls) or not is_blank(turn.content)


def turn(message: Message) -> Turn:
    """One message as a turn.

    Raises:
        Unusable: its role is missing or unknown, or it holds more than text.
    """
    name = next((message[key] for key in _ROLE_KEYS if message.get(key) is not None), None)
    if name is None:
        raise Unusable("a turn without a role", "Each turn needs a role and a content.")
    role = _ROLES.get(name.strip().lower().replace("-", "_").replace(" ", "_")) if isinstance(name, str) else None
    if role is None:
        known = ", ".join(_ROLES)
        what = f'the unknown role "{shown(name)}"' if isinstance(name, str) else "a role that is not text"
        raise Unusable(what, f"Rename it, or leave out such turns. Known: {known}.")
    value = next((message[key] for key in _CONTENT_KEYS if message.get(key) is not None), None)
    if role == "call":
        return _call(value)
    calls = [message[key] for key in _CALL_KEYS if not is_blank(message.get(key))] if role == "assistant" else []
    return Turn(role, _content(value), _calls(calls[0]) if calls else "")


def _call(value: object) -> Turn:
    """A turn that is a call alone; one that is not written as JSON stays an answer in words."""
    try:
        return Turn("assistant", "", _calls(value))
    except Unusable:
        return Turn("assistant", _content(value))


def _calls(value: object) -> str:
    """Calls as the JSON text of a list in one form, whatever form they came in."""
    value = _parsed(value)
    calls = [_in_function(call, "arguments") for call in (value if isinstance(value, list) else [value])]
    return as_text(calls) if calls else ""


def definitions(value: object) -> str:
    """Definitions of tools as the JSON text of a list in one form.

    Args:
        value: a list, or its JSON text; blank for none.

    Raises:
        Unusable: it is neither.
    """
    value = _parsed(value)
    if is_blank(value):
        return ""
    tools = [_in_function(tool, "parameters") for tool in (value if isinstance(value, list) else [value])]
    return as_text(tools)


def _parsed(value: object) -> object:
    if not isinstance(value, str) or is_blank(value):
        return without_array(value)
    try:
        parsed: object = from_json(value)
    except ValueError:
        raise Unusable("tools or tool calls that are not JSON") from None
    return parsed


def _in_function(value: object, holder: str) -> dict[str, Any]:
    """`{"type": "function", "function": {"name": …}}`, with `holder`'s value as an object rather than as text."""
    value = _parsed(value)
    inner = _parsed(value.get("function")) if isinstance(value, Mapping) and value.get("function") else value
    if not (isinstance(value, Mapping) and isinstance(inner, Mapping) and isinstance(inner.get("name"), str)):
        raise Unusable("a tool or tool call without a name")
    function = dict(inner)
    if isinstance(function.get(holder), str):
        function[holder] = _parsed(function[holder])
    kept = {"id": value["id"]} if isinstance(value.get("id"), str) and value is not inner else {}
    return {**kept, "type": "function", "function": function}


def _content(value: object) -> str:
    """Text, or a list of text parts as multimodal sets write them."""
    if isinstance(value, str):
        return as_text(value)
    parts = without_array(value)
    if not isinstance(parts, list):
        return as_text(value)
    if not parts or not all(isinstance(part, Mapping) and "type" in part for part in parts):
        return as_text(value)
    other = next((part["type"] for part in parts if part["type"] not in _TEXT_PARTS), None)
    if other is not None:
        what = f'a part of type "{shown(other)}"' if isinstance(other, str) else "a part of no known type"
        raise Unusable(what, "Only text can be trained on: leave out such rows.")
    return "".join(as_text(part.get("text")) for part in parts)


def _matters(value: object) -> bool:
    """Whether a flag asks for anything but the ordinary."""
    if isinstance(value, bool | int | float):
        return value != 1
    return not is_blank(value)


def _transposed(value: Mapping[str, Any]) -> list[Message] | None:
    plain = {key: without_array(items) for key, items in value.items()}
    columns = {key: items for key, items in plain.items() if isinstance(items, list)}
    if len({len(items) for items in columns.values()}) != 1 or not columns.keys() & set(_ROLE_KEYS):
        return None
    return [dict(zip(columns, items, strict=True)) for items in zip(*columns.values(), strict=True)]
