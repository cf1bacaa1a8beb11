"""Which columns hold the conversation: found by their names and values, or as the user says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from lora_magic.dataset.cells import Unusable, as_text, is_blank
from lora_magic.dataset.messages import Conversation
from lora_magic.dataset.remedies import ambiguous, unrecognised
from lora_magic.dataset.shapes import (
    AND_SYSTEM,
    SYSTEM,
    TOOLS,
    Row,
    Shape,
    Spelling,
    candidates,
    first_filled,
    fits,
    normal,
    pair,
    settled,
    shape_with,
    text_in,
    turns_in,
)
from lora_magic.dataset.turns import Turn
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError, nearest

NOTHING: Mapping[str, str] = MappingProxyType({})

_MOST_PLANS = 4096
_NEARLY_ALL = 0.9
_NO_COLUMNS = "no usable columns"
_TWO_WAYS = "columns that can be read in more than one way"
_PREFERENCE = "preference data"
_PREFERENCES = ({"chosen", "rejected"}, {"preferred", "dispreferred"})


@dataclass(frozen=True)
class Format:
    """What the rows of a source were recognised as; mixed files are resolved row by row.

    Attributes:
        name: such as "question/answer", or "mixed (messages, text)".
        why: how that was recognised, a sentence without its full stop.
        columns: (what it holds, column as the source spells it) pairs of the columns used.
        unused: the other columns, as spelled.
    """

    name: str
    why: str
    columns: tuple[tuple[str, str], ...]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """How rows with the same filled columns are read."""

    shapes: tuple[Shape, ...]
    spelling: Spelling
    reason: str = ""


@dataclass
class Reader:
    """Reads rows of one source, each by the shape that its columns have.

    Attributes:
        mapped: the one shape that the user asks for, or None to find it.
        spelling: how `mapped` finds its columns; without it, where the system column is, if that was asked for.
        asked: what the user says that columns hold, with their names as the rows spell them.
        won: shapes' names, to the name of the pair that their column merely renders in this source.
    """

    mapped: Shape | None = None
    spelling: Spelling = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    won: dict[str, Shape] = field(default_factory=dict)
    _plans: dict[tuple[tuple[str, ...], tuple[str, ...]], _Plan] = field(default_factory=dict, repr=False)

    def read(self, row: Row, shape: Shape, spelling: Spelling) -> Conversation:
        """Makes a row's turns.

        Args:
            row: column names to values.
            shape: what `choose` says of it.
            spelling: likewise.

        Raises:
            Unusable: the row is to be skipped.
        """
        made = shape.read(row, spelling)
        if made.turns[0].role in ("system", "text"):
            return made
        system = first_filled(row, spelling, SYSTEM)
        if system is not None:
            made.turns.insert(0, Turn("system", as_text(system)))
        return made

    def choose(self, row: Row) -> tuple[Shape, Spelling]:
        """The shape by which a row is read, and how the row spells its columns.

        Raises:
            Unusable: there is none, or more than one.
        """
        if self.mapped is not None:
            return self.mapped, self.spelling
        plan = self.plan(row)
        shapes = plan.shapes
        if len(shapes) > 1:
            shapes = tuple(s for s in shapes if self.won.get(s.name) not in shapes) or shapes
        if len(shapes) > 1:
            shapes = settled(shapes, row, plan.spelling)
        if len(shapes) != 1:
            raise Unusable(plan.reason or _TWO_WAYS)
        return shapes[0], plan.spelling

    def settle(self, first: Sequence[Row]) -> None:
        """Decides which shape is meant where columns allow several, by the values of the first rows.

        Raises:
            LoraError: the values do not tell.
        """
        groups: dict[tuple[Shape, ...], Counter[tuple[Shape, ...]]] = {}
        spellings: dict[tuple[Shape, ...], Mapping[str, str]] = {}
        for row in first:
            plan = self.plan(row)
            if len(plan.shapes) > 1:
                groups.setdefault(plan.shapes, Counter())[settled(plan.shapes, row, plan.spelling)] += 1
                spellings.setdefault(plan.shapes, plan.spelling)
        for shapes, counts in groups.items():
            left, count = counts.most_common(1)[0]
            if len(left) > 1 or count < _NEARLY_ALL * counts.total():
                raise ambiguous(shapes, spellings[shapes])
            self.won |= {shape.name: left[0] for shape in shapes if shape is not left[0]}
        self._plans.clear()

    def plan(self, row: Row) -> _Plan:
        """The shapes that a row's columns allow, told by which of them are filled."""
        filled = tuple([key for key, value in row.items() if not is_blank(value) and fits(normal(key), value)])
        key = (filled, tuple(row))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(*key)
            if len(self._plans) < _MOST_PLANS:
                self._plans[key] = plan
        return plan

    def _plan(self, filled: Sequence[str], everything: Sequence[str]) -> _Plan:
        says = _spelled(filled)
        spelling = {**_spelled(everything), **says, **self.spelling}
        if any(says.keys() >= columns for columns in _PREFERENCES):
            return _Plan((), spelling, _PREFERENCE)
        shapes = candidates(says)
        if len(shapes) == 1 and shapes[0].name in self.won:
            winner = self.won[shapes[0].name]
            shapes = (winner,) if spelling.keys() >= set(winner.columns) else shapes
        if not shapes:
            half = candidates(spelling, filled=False)
            shapes = tuple(sorted(half, key=lambda shape: -sum(column in says for column in shape.columns))[:1])
        return _Plan(shapes, spelling, "" if shapes else _NO_COLUMNS)


def reader(first: Sequence[Row], columns: Mapping[str, str] = NOTHING) -> Reader:
    """Recognises how rows are to be read.

    Args:
        first: the first rows, at least one.
        columns: columns as the user names them, by what they hold; empty to find them.

    Raises:
        LoraError: no row has usable columns, they hold preference data, they can be read in more than one way, or
            `columns` names what is not there.
    """
    names = list(dict.fromkeys(key for row in first for key in row))
    asked = {what: _column(column, names) for what, column in columns.items()}
    if asked.keys() - {"system"}:
        return _mapped(asked, names)
    made = Reader(spelling=asked, asked=asked)
    if not any(made.plan(row).shapes for row in first):
        raise unrecognised(first)
    made.settle(first)
    return made


def _spelled(keys: Sequence[str]) -> dict[str, str]:
    """Normal names to the row's own; of two alike, the one that is spelled so, else the first."""
    found: dict[str, str] = {}
    for key in keys:
        name = normal(key)
        if name not in found or key == name:
            found[name] = key
    return found


def _column(asked: str, names: Sequence[str]) -> str:
    """The column that a user means: spelled as asked, or alike but for upper and lower case."""
    if asked in names:
        return asked
    alike = [name for name in names if str(name).strip().lower() == asked.strip().lower()]
    if len(alike) == 1:
        return alike[0]
    listed = ", ".join(shown(name) for name in names[:12])
    problem = f'There is no column "{shown(asked)}"' if not alike else f'"{shown(asked)}" is more than one column'
    raise LoraError(f"{problem}.", nearest(asked, map(str, names)) or f"Columns: {listed or 'none'}.")


def _mapped(asked: Mapping[str, str], names: Sequence[str]) -> Reader:
    """Reads as asked; columns that are those of a known shape bring what belongs to it, such as its input."""
    kinds = [kind for kind in ("messages", "text", "prompt", "completion") if kind in asked]
    if len(kinds) + ("system" in asked) != len(asked) or (kinds == ["text"] and "system" in asked):
        kinds = []
    if kinds in (["prompt"], ["completion"]):
        other = "completion" if kinds == ["prompt"] else "prompt"
        raise LoraError(
            f"--map names the {kinds[0]} and no {other}.", f"Add {other}=COLUMN, or use text=COLUMN for plain text."
        )
    if kinds not in (["messages"], ["text"], ["prompt", "completion"]):
        raise LoraError(
            f"--map names {', '.join(asked)}, which do not go together.",
            "Map prompt and completion, or messages, each perhaps with system; or text alone.",
        )
    spelled, system = _spelled(names), {"system": asked["system"]} if "system" in asked else {}
    if len({asked[kind] for kind in kinds}) < len(kinds):
        raise LoraError(f'--map names "{shown(asked[kinds[0]])}" twice.', "Name two columns, or use text=COLUMN.")
    known = shape_with(tuple((kind, normal(asked[kind])) for kind in kinds))
    if known is not None:
        return Reader(known, {**spelled, **{normal(asked[kind]): asked[kind] for kind in kinds}, **system}, asked)
    if kinds == ["messages"]:
        tools = {key: name for key, name in spelled.items() if key in TOOLS}
        return Reader(turns_in("messages"), {**tools, **asked}, asked)
    if kinds == ["text"]:
        return Reader(text_in("text"), asked, asked)
    return Reader(pair("prompt", "completion", AND_SYSTEM, several=True), asked, asked)
