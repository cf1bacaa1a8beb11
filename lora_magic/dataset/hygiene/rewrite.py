"""One row cleaned: each text of the columns used, one kind of repair after the other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lora_magic.dataset.files import Row
from lora_magic.dataset.hygiene import residue
from lora_magic.dataset.hygiene.seen import Seen
from lora_magic.dataset.turns import Example

_TEXT_KEYS = frozenset(("content", "value", "text"))
_ROUNDS = 32
_LONGEST_INTEGER = 14_000  # bits; 4,300 digits are what json writes at most

_Repair = Callable[[str], str]


@dataclass(frozen=True)
class Change:
    """One kind of change to one row; `after` is None where the row is dropped."""

    row: int
    kind: str
    before: Row | None
    after: Row | None


def rewritten(number: int, row: Row, used: Iterable[str], example: Example, *, without_tags: bool) -> list[Change]:
    """The changes that clean a row, each with the whole row before and after it; none for a clean one.

    A repair that would leave a text empty is not made, and a row that repairs do not bring to rest is left as it is.
    Texts that are themselves JSON are left alone.

    Args:
        number: the row's, from 1.
        row: column names to values.
        used: the columns that hold the conversation.
        example: what the row became; tells its answers from its prompts.
        without_tags: whether HTML tags go.
    """
    texts = [turn.content for turn in example.turns]
    if not any("\x1b" in text or "&" in text or not text.isascii() or (without_tags and "<" in text) for text in texts):
        return []
    return _until_nothing_changes(number, row, set(used), example, without_tags)


def _until_nothing_changes(
    number: int, row: Row, columns: set[str], example: Example, without_tags: bool
) -> list[Change]:
    answers = {turn.content for turn in example.turns if turn.role in ("assistant", "text")}
    before = plain(row)
    changes: list[Change] = []
    for _ in range(_ROUNDS):
        so_far = len(changes)
        for kind, repair, in_prompts in _repairs(example, without_tags):
            if before is None:
                return []
            fixed = _Fixer(repair, in_prompts, answers)
            after = {key: fixed.cell(value) if key in columns else value for key, value in before.items()}
            if after != before:
                changes.append(Change(number, kind, before, after))
                before = after
                answers |= fixed.new_answers
        if len(changes) == so_far:
            return changes
    return []


def _repairs(example: Example, without_tags: bool) -> list[tuple[str, _Repair, bool]]:
    """(kind, repair, whether prompts are repaired too), fitting to what this example is about."""
    about = residue.mended(residue.without_escapes(Seen(example).asked))
    found: list[tuple[str, _Repair, bool]] = [
        ("terminal codes", residue.without_escapes, True),
        ("HTML entities", lambda text: _if_found(residue.entities, about, text, residue.without_entities), False),
    ]
    if residue.may_mend(about):
        found.insert(0, ("broken encoding", residue.mended, True))
    if without_tags and not residue.has_tags(about):
        found.append(("HTML tags", lambda text: _if_found(residue.tags, about, text, residue.without_tags), False))
    return found


def _settled(repair: _Repair, text: str) -> str:
    """The text after as many repairs as change it, within bounds."""
    for _ in range(_ROUNDS):
        repaired = repair(text)
        if repaired == text:
            break
        text = repaired
    return text


def _if_found(find: Callable[[str, str], residue.Place | None], asked: str, text: str, repair: _Repair) -> str:
    return repair(text) if find(asked, text) else text


@dataclass
class _Fixer:
    """Applies one repair to the texts of a cell; knows which texts are answers."""

    repair: _Repair
    in_prompts: bool
    answers: set[str]

    def __post_init__(self) -> None:
        self.new_answers: set[str] = set()

    def cell(self, value: Any) -> Any:
        """A column's value with its texts repaired."""
        return self._text(value) if isinstance(value, str) else self._nested(value)

    def _nested(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._nested(item) for item in value]
        if isinstance(value, dict):
            return {
                key: self._text(item) if key in _TEXT_KEYS and isinstance(item, str) else self._nested(item)
                for key, item in value.items()
            }
        return value

    def _text(self, text: str) -> str:
        is_answer = text in self.answers
        if not (is_answer or self.in_prompts) or _is_json(text):
            return text
        repaired = _settled(self.repair, text)
        if repaired == text or not repaired.strip():
            return text
        if is_answer:
            self.new_answers.add(repaired)
        return repaired


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("[", "{"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def plain(row: Mapping[str, Any]) -> Row | None:
    """The row as JSON can hold it (dates as text, what is no number as null), or None where it cannot."""
    try:
        found: Row = {str(key): _plain(value) for key, value in row.items()}
    except (RecursionError, OverflowError):
        return None
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
        raise OverflowError("an integer that Python does not write out")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
