"""What is counted while rows are turned into examples, and how that is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from lora_magic.dataset.cells import Unusable, is_blank
from lora_magic.dataset.formats import Format, Reader
from lora_magic.dataset.messages import Conversation
from lora_magic.dataset.remedies import map_text
from lora_magic.dataset.shapes import Parts, Row, Shape, Spelling, fits, is_turns, normal
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

_FIRST_SKIPPED = 10
_FIRST_NUMBERS = 3
_MOST_REASONS = 20
_MOST_USES = 1000
_MOST_HINTS = 3
_MOST_COLUMNS = 200
_CHOICES = {"choices", "options"}
_ABOUT = {"id", "title", "url", "source", "name"}
_OTHERWISE = "other reasons"


@dataclass(slots=True)
class _Use:
    """Rows of one shape whose columns are spelled alike."""

    shape: Shape
    name: str
    columns: Parts
    rows: int = 0

    @property
    def says(self) -> str:
        """What such rows have."""
        required = {what for what, _ in self.shape.required}
        text = " and ".join(f'"{shown(column)}"' for what, column in self.columns if what in required)
        if is_turns(self.shape):
            text += ', a list of turns with "from" and "value"' if self.name == "ShareGPT" else ", a list of turns"
        return text


@dataclass
class Tally:
    """Counts over all rows of a source.

    Attributes:
        examples: usable rows.
        skipped: (row number from 1, reason) of the first that are not.
        reasons: how many rows there are for each reason.
    """

    examples: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    _numbers: dict[str, list[int]] = field(default_factory=dict)
    _remedies: dict[str, str] = field(default_factory=dict)
    _uses: dict[tuple[object, ...], _Use] = field(default_factory=dict)
    _unusable: Counter[Shape] = field(default_factory=Counter)
    _column_sets: set[tuple[str, ...]] = field(default_factory=set)
    _columns: dict[str, None] = field(default_factory=dict)
    _facts: Counter[str] = field(default_factory=Counter)
    _hints: dict[str, None] = field(default_factory=dict)

    def see(self, row: Row) -> None:
        """Takes note of a row's columns."""
        columns = tuple(row)
        if columns in self._column_sets:
            return
        if len(self._column_sets) < _MOST_USES:
            self._column_sets.add(columns)
        if len(self._columns) < _MOST_COLUMNS:
            self._columns |= dict.fromkeys(columns)

    def skip(self, number: int, reason: Unusable, shape: Shape | None) -> None:
        """Counts a row that cannot be used; `shape` is what its columns look like, if anything."""
        text = reason.reason
        if text not in self.reasons and len(self.reasons) >= _MOST_REASONS:
            text = _OTHERWISE
        self.reasons[text] += 1
        self._remedies.setdefault(text, reason.remedy)
        numbers = self._numbers.setdefault(text, [])
        if len(numbers) <= _FIRST_NUMBERS:
            numbers.append(number)
        if len(self.skipped) < _FIRST_SKIPPED:
            self.skipped.append((number, reason.reason))
        if shape is not None:
            self._unusable[shape] += 1

    def take(self, row: Row, shape: Shape, spelling: Spelling, made: Conversation) -> None:
        """Counts a usable row."""
        self.examples += 1
        key = (shape, made.shared, *spelling.values())
        if key not in self._uses and len(self._uses) >= _MOST_USES:
            key = (shape, made.shared)
        use = self._uses.get(key)
        if use is None:
            use = self._uses[key] = self._use(row, shape, spelling, made)
        use.rows += 1
        if made.dropped:
            self._facts["dropped"] += 1
        if made.other_answers:
            self._facts["other answers"] += 1
        if made.ignored:
            self._facts.update(made.ignored)
        turns = made.turns
        if len(turns) > 2 and any(a.role == b.role and a.role in ("user", "assistant") for a, b in pairwise(turns)):
            self._facts["in a row"] += 1

    def _use(self, row: Row, shape: Shape, spelling: Spelling, made: Conversation) -> _Use:
        parts = tuple(
            (what, spelling[column])
            for what, column in (*shape.required, *shape.optional)
            if column in spelling and (is_blank(row.get(spelling[column])) or fits(column, row[spelling[column]]))
        )
        self._hint(row, shape, dict(parts), spelling)
        name = ("ShareGPT" if made.shared else "messages") if is_turns(shape) else shape.name
        return _Use(shape, name, parts)

    def _hint(self, row: Row, shape: Shape, used: dict[str, str], spelling: Spelling) -> None:
        if len(shape.required) == 2 and isinstance(row.get(spelling.get("label", "label")), bool):
            self._hints['"label" is true or false: rows marked false are trained on as well'] = None
        for column in _CHOICES & spelling.keys():
            self._hints[f'"{shown(spelling[column])}" is not used: the prompts do not list them'] = None
        others = [
            key
            for key, value in row.items()
            if isinstance(value, str) and key != used.get("text") and normal(key) not in _ABOUT
        ]
        if shape.name == "text" and len(others) == 1 and any(char.isspace() for char in row[others[0]].strip()):
            way = map_text([("prompt", used["text"]), ("completion", others[0])])
            self._hints[f'"{shown(others[0])}" is not used; where it is the answer: --map {way}'] = None

    def format(self, made: Reader) -> Format:
        """What the rows were recognised as; at least one was usable."""
        uses = sorted(self._merged(), key=lambda use: -use.rows)
        names: Counter[str] = Counter()
        says: dict[str, dict[str, None]] = {}
        for use in uses:
            names[use.name] += use.rows
            says.setdefault(use.name, {})[use.says] = None
        ordered = [name for name, _ in names.most_common()]
        parts = tuple(dict.fromkeys(part for use in uses for part in use.columns))
        taken = {column for _, column in parts}
        unused = tuple(column for column in self._columns if column not in taken)
        name = ordered[0] if len(ordered) == 1 else f"mixed ({', '.join(ordered)})"
        if made.mapped is not None:
            along = [f'"{shown(column)}" goes along' for _, column in parts if column not in made.asked.values()]
            return Format(name, "; ".join([f"as asked: --map {map_text(made.asked.items())}", *along]), parts, unused)
        total = self.examples + self.reasons.total()
        whys = [f"{_share(names[name], total)} {' or '.join(list(says[name])[:3])}" for name in ordered]
        again = [f'"{shown(column)}" says the same again' for column in unused if normal(column) in made.won]
        return Format(name, "; ".join([*whys, *again]), parts, unused)

    def _merged(self) -> list[_Use]:
        """The uses, with rows that only look like one counted to the commonest of the same shape."""
        uses = [_Use(use.shape, use.name, use.columns, use.rows) for use in self._uses.values()]
        for shape, count in self._unusable.items():
            alike = [use for use in uses if use.shape is shape]
            if alike:
                max(alike, key=lambda use: use.rows).rows += count
        return uses

    def notes(self, system: str | None) -> tuple[str, ...]:
        """A sentence for each thing worth knowing."""
        notes = [f"{_rows(count)} skipped: {reason} ({self._where(reason)})" for reason, count in self.reasons.items()]
        texts = sum(use.rows for use in self._uses.values() if use.name == "text")
        if texts:
            notes.append(f"{_rows(texts)} of plain text: trained on fully, and not used as prompts to compare with")
        if texts and system:
            notes.append("the system text does not go into plain text")
        for fact, count in sorted(self._facts.items()):
            notes.append(f"{_rows(count)} {_FACTS.get(fact, _IGNORED.format(fact))}")
        return (*notes, *list(self._hints)[:_MOST_HINTS])

    def none_left(self) -> LoraError:
        """The error when no row can be used."""
        total = self.reasons.total()
        why = ", ".join(f"{count:,} with {reason} ({self._where(reason)})" for reason, count in self.reasons.items())
        remedy = self._remedies[self.reasons.most_common(1)[0][0]]
        rows = "The one row cannot" if total == 1 else f"None of the {total:,} rows can"
        return LoraError(f"{rows} be used: {why}.", remedy or "Give rows with a prompt and an answer.")

    def _where(self, reason: str) -> str:
        numbers = self._numbers[reason]
        listed = ", ".join(f"{number:,}" for number in numbers[:_FIRST_NUMBERS])
        return f"row{'s' * (len(numbers) > 1)} {listed}{', …' * (len(numbers) > _FIRST_NUMBERS)}"


_FACTS = {
    "dropped": "with turns after the last answer: these are left out",
    "other answers": "with several answers: the first is taken",
    "in a row": "with two turns of one role in a row: some chat templates refuse that",
}
_IGNORED = 'with "{}" in a turn: this is not taken into account'


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _share(count: int, total: int) -> str:
    if count >= total:
        return "every row has"
    share = count / total
    return f"{share:.0%} of the rows have" if 0.005 <= share < 0.995 else f"{count:,} of {total:,} rows have"
