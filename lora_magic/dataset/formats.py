"""Which columns hold the conversation, and how a row of them becomes turns."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lora_magic.dataset.turns import Turn
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

Row = Mapping[str, Any]
Columns = Mapping[str, str]

LOOKED_AT = 1000
PREFERENCE = {"chosen", "rejected"}

_ROLES = {"human": "user", "gpt": "assistant", "model": "assistant"} | {r: r for r in ("system", "user", "assistant")}
_NO_COLUMNS = "no usable columns"


class Unusable(ValueError):
    """A row that is to be skipped; the text is the reason, worded so that equal reasons can be counted."""


@dataclass(frozen=True)
class Shape:
    """One way in which columns hold a conversation.

    Attributes:
        name: such as "question/answer".
        required: columns (in lower case) that a row must have.
        optional: columns that are used where they are there.
        turns: makes a row's turns, given the row's own spelling of each column.
    """

    name: str
    required: tuple[str, ...]
    turns: Callable[[Row, Columns], list[Turn]]
    optional: tuple[str, ...] = ("system",)


@dataclass(frozen=True)
class Format:
    """What the rows of a source were recognised as; mixed files are resolved row by row.

    Attributes:
        name: such as "question/answer", or "mixed (messages, text)".
        columns: the columns used, as the source spells them.
    """

    name: str
    columns: tuple[str, ...]
    _known: dict[tuple[str, ...], Shape | None] = field(default_factory=dict, repr=False, compare=False)

    def turns(self, row: Row) -> tuple[Turn, ...]:
        """Makes a row's turns, up to the last answer.

        Args:
            row: column names to values.

        Raises:
            Unusable: the row is to be skipped.
            LoraError: the row has a role that cannot be trained on.
        """
        shape = _shape_of(row, self._known)
        if shape is None:
            raise Unusable(_NO_COLUMNS)
        columns = _spelling(row)
        turns = shape.turns(row, columns)
        system = _text(row[columns["system"]]) if "system" in columns and "system" in shape.optional else ""
        if system.strip() and turns[0].role != "system":
            turns = [Turn("system", system), *turns]
        return tuple(turns)


def detect(rows: Sequence[Row]) -> Format:
    """Recognises the format by the columns of the first rows.

    Args:
        rows: column names to values, at least one row.

    Raises:
        LoraError: no row has usable columns, or they hold preference data.
    """
    known: dict[tuple[str, ...], Shape | None] = {}
    counts: Counter[str] = Counter()
    columns: dict[str, None] = {}
    for row in islice(rows, LOOKED_AT):
        shape = _shape_of(row, known)
        if shape is not None:
            counts[shape.name] += 1
            spelling = _spelling(row)
            columns |= {spelling[name]: None for name in (*shape.required, *shape.optional) if name in spelling}
    if not counts:
        raise _unrecognised(rows)
    names = [name for name, _ in counts.most_common()]
    return Format(names[0] if len(names) == 1 else f"mixed ({', '.join(names)})", tuple(columns), known)


def _unrecognised(rows: Sequence[Row]) -> LoraError:
    found = list(dict.fromkeys(shown(key) for row in islice(rows, LOOKED_AT) for key in row))
    if {name.strip().lower() for name in found} >= PREFERENCE:
        value = next((row[key] for row in rows for key in row if str(key).strip().lower() == "chosen"), None)
        keep = (
            '{"messages": r["chosen"]}'
            if isinstance(value, list)
            else '{"prompt": r["prompt"], "completion": r["chosen"]}'
        )
        problem = "This is preference data (chosen, rejected), which trains by comparing answers."
        return LoraError(problem, f"To train on the chosen answers: rows = [{keep} for r in rows].")
    accepted = "; ".join(", ".join(shape.required) for shape in SHAPES)
    listed = ", ".join(found[:12]) + (", …" if len(found) > 12 else "")
    return LoraError(f"No usable columns among: {listed or 'none'}.", f"Accepted sets: {accepted}.")


def _shape_of(row: Row, known: dict[tuple[str, ...], Shape | None]) -> Shape | None:
    """The first shape whose columns the row fills, else the first whose columns it has at all."""
    filled = tuple(key for key, value in row.items() if value is not None)
    if filled not in known:
        known[filled] = _match(_names(filled))
    shape = known[filled]
    if shape is not None or len(filled) == len(row):
        return shape
    everything = tuple(row)
    if everything not in known:
        known[everything] = _match(_names(everything))
    return known[everything]


def _match(names: set[str]) -> Shape | None:
    if names >= PREFERENCE:
        return None
    return next((shape for shape in SHAPES if names.issuperset(shape.required)), None)


def _names(keys: Sequence[object]) -> set[str]:
    return {str(key).strip().lower() for key in keys}


def _spelling(row: Row) -> dict[str, str]:
    return {str(key).strip().lower(): key for key in reversed(list(row))}


def _text(value: Any) -> str:
    """A cell as text: missing is empty, a number or a nested value is its JSON."""
    if isinstance(value, str):
        return _without_surrogates(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    try:
        return _without_surrogates(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, TypeError, RecursionError):
        raise Unusable("a value that cannot be written as text") from None


def _without_surrogates(text: str) -> str:
    """Pairs of UTF-16 halves joined and lone ones replaced: no tokenizer takes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _instruction(row: Row, columns: Columns) -> list[Turn]:
    instruction = _text(row[columns["instruction"]])
    extra = _text(row[columns["input"]]) if "input" in columns else ""
    question = f"{instruction}\n\n{extra}" if extra.strip() else instruction
    return _pair(question, _text(row[columns["output"]]))


def _pair(question: str, answer: str) -> list[Turn]:
    if not answer.strip():
        raise Unusable("an empty answer")
    if not question.strip():
        raise Unusable("an empty prompt")
    return [Turn("user", question), Turn("assistant", answer)]


def _two_columns(prompt: str, answer: str) -> Shape:
    """Two columns, each text or a list of messages."""

    def turns(row: Row, columns: Columns) -> list[Turn]:
        asked, answered = row[columns[prompt]], row[columns[answer]]
        if not (_is_messages(asked) or _is_messages(answered)):
            return _pair(_text(asked), _text(answered))
        before = _messages(asked) if _is_messages(asked) else [Turn("user", _text(asked))]
        after = _messages(answered) if _is_messages(answered) else [Turn("assistant", _text(answered))]
        return _to_last_answer([*before, *after])

    return Shape(f"{prompt}/{answer}", (prompt, answer), turns)


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _message_column(name: str) -> Callable[[Row, Columns], list[Turn]]:
    def turns(row: Row, columns: Columns) -> list[Turn]:
        value = row[columns[name]]
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise Unusable(f'"{name}" that is text but not JSON') from None
        if not _is_messages(value):
            raise Unusable(f'"{name}" that is not a list of turns')
        return _to_last_answer(_messages(value))

    return turns


def _messages(items: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """Turns out of role/content or from/value pairs."""
    turns = []
    for item in items:
        role = item.get("role", item.get("from"))
        if role is None:
            raise Unusable("a turn without a role")
        known = _ROLES.get(role.strip().lower()) if isinstance(role, str) else None
        if known is None:
            remedy = f"Roles that are: {', '.join(_ROLES)}. Rename or leave out such turns."
            raise LoraError(f'the role "{shown(role)}" cannot be trained on.', remedy)
        turns.append(Turn(known, _content(item.get("content", item.get("value")))))
    return turns


def _content(value: Any) -> str:
    """Text, or a list of text parts as multimodal sets write them."""
    if not (_is_messages(value) and all("type" in part for part in value)):
        return _text(value)
    other = next((part["type"] for part in value if part["type"] != "text"), None)
    if other is not None:
        raise LoraError(f'a turn holds a part of type "{shown(other)}".', "Only text can be trained on.")
    return "".join(_text(part.get("text")) for part in value)


def _to_last_answer(turns: list[Turn]) -> list[Turn]:
    """The turns without what follows the last answer that says something."""
    answers = [i for i, turn in enumerate(turns) if turn.role == "assistant" and turn.content.strip()]
    if not answers:
        raise Unusable("no answer" if not any(turn.role == "assistant" for turn in turns) else "an empty answer")
    return turns[: answers[-1] + 1]


def _plain_text(row: Row, columns: Columns) -> list[Turn]:
    text = _text(row[columns["text"]])
    if not text.strip():
        raise Unusable("an empty text")
    return [Turn("text", text)]


SHAPES = (
    Shape("messages", ("messages",), _message_column("messages")),
    Shape("ShareGPT", ("conversations",), _message_column("conversations")),
    Shape("instruction/input/output", ("instruction", "output"), _instruction, ("input", "system")),
    _two_columns("prompt", "completion"),
    _two_columns("question", "answer"),
    _two_columns("prompt", "response"),
    _two_columns("input", "output"),
    Shape("text", ("text",), _plain_text, ()),
)
