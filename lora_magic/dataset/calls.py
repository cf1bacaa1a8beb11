"""Conversations as chat templates take them: messages with parsed tool calls, and tool definitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lora_magic.dataset.turns import Turn
from lora_magic.errors import LoraError

Message = dict[str, Any]


def has_tools(turns: Sequence[Turn], tools: str = "") -> bool:
    """Whether a conversation defines, calls or hears from a tool."""
    return bool(tools) or any(turn.role == "tool" or turn.tool_calls for turn in turns)


def as_messages(turns: Sequence[Turn]) -> list[Message]:
    """The turns as messages; a tool's answer carries the name and the id of the call that it answers.

    Raises:
        LoraError: tool calls that are not a JSON list of calls.
    """
    messages: list[Message] = []
    waiting: list[Message] = []
    for turn in turns:
        message: Message = {"role": turn.role, "content": turn.content}
        if turn.tool_calls:
            message["tool_calls"] = _calls(turn.tool_calls)
            waiting = list(message["tool_calls"])
        elif turn.role == "tool" and waiting:
            call = waiting.pop(0)
            message["name"] = call["function"]["name"]
            if "id" in call:
                message["tool_call_id"] = call["id"]
        messages.append(message)
    return messages


def as_tools(text: str) -> list[Message] | None:
    """Tool definitions from their JSON text; None for none.

    Raises:
        LoraError: not a JSON list of objects.
    """
    if not text:
        return None
    tools = _objects(text, "tool definitions")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]


def _calls(text: str) -> list[Message]:
    made = []
    for call in _objects(text, "tool calls"):
        function = call.get("function", call)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise LoraError("The tool calls do not name their function.", 'A call is {"name": …, "arguments": {…}}.')
        inner = {"name": function["name"], "arguments": _arguments(function.get("arguments"))}
        made.append({"type": "function", **({"id": str(call["id"])} if call.get("id") else {}), "function": inner})
    return made


def _arguments(value: Any) -> Any:
    """A call's arguments as an object; OpenAI's format has them as JSON text."""
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        return value


def _objects(text: str, what: str) -> list[Message]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    values = [values] if isinstance(values, dict) else values
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise LoraError(f"The {what} are not a JSON list of objects.", "Mend the row.")
    return values
