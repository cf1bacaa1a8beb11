"""The known ways in which columns hold a conversation, and what a row of each becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from lora_magic.dataset.cells import Unusable, as_text, is_blank
from lora_magic.dataset.messages import Conversation, conversation, looks_like_turns, turn_list
from lora_magic.dataset.turns import Turn
from lora_magic.dataset.wording import shown

Row = Mapping[str, Any]
Spelling = Mapping[str, str]
Parts = tuple[tuple[str, str], ...]

SYSTEM = ("system", "systemprompt", "systemmessage")
TOOLS = ("tools", "functions")
TURNS = ("messages", "conversations")
MAYBE_TURNS = ("conversation", "chat", "dialog", "turns")
PROMPTS = ("prompt", "instruction", "question", "query", "input", "problem")
ANSWERS = ("completion", "output", "answer", "answers", "response", "solution")

_USUAL = """
instruction/output instruction/response prompt/completion prompt/response question/answer question/answers
question/response query/response input/output problem/solution
"""
_FURTHER = """
context/response human/assistant user/assistant human/bot user/bot human/gpt source/target input/target inputs/targets
text/summary document/summary article/summary dialogue/summary
"""
_LABELLED = "text/labeltext text/label sentence/labeltext sentence/label"
_NAMES = {
    ("instruction", "output"): "instruction/input/output",
    ("text", "labeltext"): "text/label_text",
    ("sentence", "labeltext"): "sentence/label_text",
}


@dataclass(frozen=True, eq=False)
class Shape:
    """One way in which columns hold a conversation; columns are named as `normal` writes them.

    Attributes:
        name: such as "question/answer".
        required: (what it holds, column) pairs that a row must have.
        read: makes a row's turns, given how the row spells the columns.
        optional: pairs that are used where they are there.
        beside: columns that mean nothing of their own next to the required ones.
    """

    name: str
    required: Parts
    read: Callable[[Row, Spelling], Conversation]
    optional: Parts = ()
    beside: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """The required columns."""
        return tuple(column for _, column in self.required)

    def covers(self, other: Shape) -> bool:
        """Whether this shape already says what another's columns are; a label alone does not say it of a text."""
        if other is self or (self.name in _LABELS and other.name == "text"):
            return False
        own = {*self.columns, *self.beside, *(column for _, column in self.optional)}
        return own.issuperset(other.columns)


@lru_cache(maxsize=4096)
def normal(column: object) -> str:
    """A column's name without case, spaces, dashes and underscores, by which it is recognised."""
    return "".join(char for char in str(column).lower() if not char.isspace() and char not in "_-")


def first_filled(row: Row, spelling: Spelling, columns: Sequence[str]) -> object:
    """The first value that says something among columns (in their normal names), or None."""
    for column in columns:
        if column in spelling and not is_blank(value := row.get(spelling[column])):
            return value
    return None


def fits(column: str, value: object) -> bool:
    """Whether a value is of the kind that a column of this (normal) name must hold to be recognised by it."""
    if column in TURNS or column in MAYBE_TURNS:
        return looks_like_turns(value)
    return column != "context" or not isinstance(value, Mapping)


def candidates(columns: Iterable[str], *, filled: bool = True) -> tuple[Shape, ...]:
    """The shapes that columns can be read as, less those that another of them makes senseless.

    Lists of turns come before pairs and text; a shape before one whose columns are all among its own; two usual
    pairs before one made of a column of each.

    Args:
        columns: normal names.
        filled: whether they hold something in the row; names that mean turns only where turns are in them count then.
    """
    names = set(columns)
    found = [shape for shape in SHAPES if names.issuperset(shape.columns)]
    if not filled:
        found = [shape for shape in found if shape.name not in MAYBE_TURNS]
    lists = [shape for shape in found if is_turns(shape)]
    found = lists or [shape for shape in found if not any(other.covers(shape) for other in found)]
    usual = {column for shape in found if shape.name in _USUAL.split() for column in shape.columns}
    return tuple(shape for shape in found if shape.name not in _UNUSUAL or not usual.issuperset(shape.columns))


def shape_with(required: Parts) -> Shape | None:
    """The known shape of just these (what it holds, normal column) pairs, or None."""
    return next((shape for shape in SHAPES if shape.required == required), None)


def is_turns(shape: Shape) -> bool:
    """Whether a shape is one column of turns."""
    return shape.required[0][0] == "messages"


def settled(shapes: Sequence[Shape], row: Row, spelling: Spelling) -> tuple[Shape, ...]:
    """The candidates that are left when a row's values are looked at.

    A pair wins over columns whose text holds both its prompt and its answer; a label in words wins over plain text.

    Args:
        shapes: at least two.
        row: column names to values.
        spelling: normal names to the row's own.
    """
    for shape in shapes:
        if len(shape.required) == 2 and all(
            other is shape or _holds_both(other, shape, row, spelling) for other in shapes
        ):
            return (shape,)
    worded = [s for s in shapes if s.name in _LABELS and isinstance(row[spelling[s.columns[1]]], str)]
    return tuple(worded) if {s.columns[0] for s in worded} >= {s.columns[0] for s in shapes} else tuple(shapes)


def _holds_both(other: Shape, pair: Shape, row: Row, spelling: Spelling) -> bool:
    column = other.columns[0]
    text = row[spelling[column]]
    if column in pair.columns or not isinstance(text, str):
        return False
    prompt, answer = pair.columns
    try:
        parts = as_text(row[spelling[prompt]]), as_text(_answer(row[spelling[answer]])[0])
    except Unusable:
        return False
    return all(part.strip() in text for part in parts)


def pair(prompt: str, answer: str, optional: Parts = (), *, name: str = "", several: bool = False) -> Shape:
    """Two columns, each text or a list of turns.

    Args:
        prompt: the column with the question.
        answer: the column with the answer.
        optional: further columns; an "input" or "context" goes into the prompt: after an instruction, else before.
        name: what the shape is called, unless after its columns.
        several: whether the answer's column may hold a list of answers, of which the first is taken.
    """
    extra = tuple(column for what, column in optional if what in ("input", "context"))

    def read(row: Row, spelling: Spelling) -> Conversation:
        asked, answered = row.get(spelling[prompt]), row.get(spelling[answer])
        answered, others = _answer(answered) if several else (answered, False)
        if not (isinstance(asked, str) and isinstance(answered, str)):
            before, after = (None if isinstance(v, str | Mapping) else turn_list(v) for v in (asked, answered))
            if before or after:
                return conversation([*(before or [_said("user", asked)]), *(after or [_said("assistant", answered)])])
        question = as_text(asked)
        passages = [_passage(row.get(spelling[column])) for column in extra if column in spelling]
        if passages:
            parts = [question, *passages] if prompt == "instruction" else [*passages, question]
            question = "\n\n".join([part for part in parts if not is_blank(part)])
        return _asked(question, as_text(answered), others)

    return Shape(name or f"{prompt}/{answer}", (("prompt", prompt), ("completion", answer)), read, optional)


def turns_in(column: str) -> Shape:
    """One column that is a list of turns, or the JSON text of one."""

    def read(row: Row, spelling: Spelling) -> Conversation:
        value = row.get(spelling[column])
        messages = turn_list(value)
        if messages is None:
            raise _no_turns(spelling[column], value)
        tools = first_filled(row, spelling, TOOLS)
        return conversation(messages, tools=tools)

    return Shape(column, (("messages", column),), read, _named("tools", TOOLS) + AND_SYSTEM)


def _no_turns(column: str, value: object) -> Unusable:
    remedy = 'A list of turns is [{"role": "user", "content": "…"}, …].'
    if is_blank(value):
        what = "empty"
    elif isinstance(value, str) and "'role'" in value[:100]:
        what, remedy = "written the Python way", "Write the column as JSON, with json.dumps."
    else:
        what = "text but not JSON" if isinstance(value, str) else "not a list of turns"
    return Unusable(f'"{shown(column)}" that is {what}', remedy)


def text_in(column: str) -> Shape:
    """One column of plain text."""

    def read(row: Row, spelling: Spelling) -> Conversation:
        text = as_text(row.get(spelling[column]))
        if is_blank(text):
            raise Unusable("an empty text")
        return Conversation([Turn("text", text)])

    return Shape("text", (("text", column),), read)


def _said(role: str, value: object) -> dict[str, Any]:
    return {"role": role, "content": as_text(value)}


def _asked(question: str, answer: str, others: bool) -> Conversation:
    if is_blank(answer):
        raise Unusable("an empty answer", "Fill in the answers.")
    if is_blank(question):
        raise Unusable("an empty prompt", "Fill in the prompts.")
    return Conversation([Turn("user", question), Turn("assistant", answer)], other_answers=others)


def _answer(value: object) -> tuple[object, bool]:
    """The answer out of an object with a text, or of a list of answers, and whether there were others."""
    if isinstance(value, Mapping):
        value = value.get("text", value.get("value", value))
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return (value[0] if value else ""), len(set(value)) > 1
    return value, False


def _passage(value: object) -> str:
    """What goes into a prompt beside the question: text, or a list of texts with an empty line between."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "\n\n".join(value)
    return "" if isinstance(value, Mapping) else as_text(value)


def _named(what: str, columns: Sequence[str]) -> Parts:
    return tuple((what, column) for column in columns)


def _pairs(names: str) -> list[Shape]:
    return [_known_pair(*name.split("/")) for name in names.split()]


def _known_pair(prompt: str, answer: str) -> Shape:
    extra: Parts = (("context", "context"),) if prompt in PROMPTS else ()
    if prompt == "instruction":
        extra = (("input", "input"), *extra)
    name = _NAMES.get((prompt, answer), "")
    made = pair(prompt, answer, (*extra, *AND_SYSTEM), name=name, several=answer in ("answer", "answers"))
    return replace(made, beside=frozenset({"label"})) if answer == "labeltext" else made


AND_SYSTEM = _named("system", SYSTEM)
_UNUSUAL = {
    f"{prompt}/{answer}" for prompt in PROMPTS for answer in ANSWERS if f"{prompt}/{answer}" not in _USUAL.split()
}
_labelled = _pairs(_LABELLED)
_LABELS = {shape.name for shape in _labelled}
SHAPES = (
    *map(turns_in, (*TURNS, *MAYBE_TURNS)),
    *_pairs(_USUAL),
    *_pairs(_FURTHER),
    *_pairs(" ".join(sorted(_UNUSUAL))),
    *_labelled,
    text_in("text"),
)
