"""Some rows of a comparison, in another order: which are wanted, which those are, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lora_magic.config.compare import SHOWN, SORTED
from lora_magic.errors import LoraError, nearest

if TYPE_CHECKING:
    from lora_magic.config import CompareConfig
    from lora_magic.results.comparison import Comparison
    from lora_magic.results.measures import Measure

_BY_MEASURE = ("better", "worse")
OF_TWO = (*_BY_MEASURE, "different", "same")


@dataclass(frozen=True)
class Wanted:
    """Which rows, and in which order; see `Comparison.where`."""

    show: str = "all"
    by: str | None = None
    column: str | None = None
    against: str | None = None
    text: str | None = None
    sort: str | None = None

    @classmethod
    def of(cls, config: CompareConfig) -> Wanted:
        """What a config asks for."""
        return cls(config.show, config.by, config.column, config.against, config.text, config.sort)

    def __post_init__(self) -> None:
        for name, value, known in (("show", self.show, SHOWN), ("sort", self.sort, (None, *SORTED))):
            if value not in known:
                words = [word for word in known if word is not None]
                raise LoraError(f'{name} cannot be "{value}".', nearest(str(value), words) or f"Known: {_list(words)}.")
        if self.text is not None and not isinstance(self.text, str):
            raise LoraError(f"text must be text, got {self.text!r}.", 'Such as text="refund".')
        if self.text is not None and not self.text.strip():
            object.__setattr__(self, "text", None)

    @property
    def is_all(self) -> bool:
        """Whether every row is wanted, as it stands."""
        return self.show == "all" and self.by is None and self.text is None and self.sort is None

    @property
    def of_two(self) -> bool:
        """Whether one column is held against another."""
        return self.show in OF_TWO or self.sort == "change"

    @property
    def measured(self) -> bool:
        """Whether it takes a measure."""
        return self.by is not None or self.sort is not None or self.show in _BY_MEASURE

    def check(self, columns: Sequence[str]) -> None:
        """Hold it against columns, which may have no answers yet.

        Raises:
            LoraError: a column is unknown, or there is one where it takes two.
        """
        for name in (self.column, self.against):
            if name is not None and name not in columns:
                raise LoraError(f'There is no column "{name}".', nearest(name, columns) or f"Known: {_list(columns)}.")
        if self.of_two and len(columns) < 2:
            raise LoraError(
                "There is one column, and nothing to hold it against.", "Compare with --adapters base,NAME."
            )
        if self.column is not None and self.column == self.against:
            raise LoraError(f"{self.column} cannot be held against itself.", "Name another column, or leave one out.")


@dataclass(frozen=True, eq=False)
class Selection:
    """What is said of rows that were selected.

    Attributes:
        said: which rows, and in which order.
        numbers: where each row stands in the whole comparison, from 1, in the order shown.
        whole: the comparison with all its rows.
        measure: what each row's figures are of; None for no figures.
        columns: whose figures are said.
        folds_rest: whether the other rows are shown too, folded below.
    """

    said: str
    numbers: tuple[int, ...]
    whole: Comparison
    measure: Measure | None = None
    columns: tuple[str, ...] = ()
    folds_rest: bool = False

    @property
    def count(self) -> str:
        """Such as "9 of 32 rows"."""
        total = len(self.whole.rows)
        return f"{len(self.numbers):,} of {total:,} row{'' if total == 1 else 's'}"

    @property
    def line(self) -> str:
        """Such as "9 of 32 rows: support worse than base by Token F1"."""
        return f"{self.count}: {self.said}"


def selected(comparison: Comparison, wanted: Wanted, folds_rest: bool = False) -> Comparison:
    """The rows that are wanted; of those that were selected already, where there was a selection.

    Args:
        comparison: whose rows.
        wanted: which.
        folds_rest: whether the other rows are shown too, folded below.

    Raises:
        LoraError: a name is unknown, nothing was measured, or a blind vote on it is under way.
    """
    if comparison.votes is not None and comparison.votes.tally is None:
        raise LoraError("A blind vote on it is under way.", "Vote on the rows that are left, or press Reveal now.")
    before = comparison.selection
    whole = comparison if before is None else before.whole
    wanted.check(whole.columns)
    if wanted.is_all:
        return comparison
    view = _View(whole, wanted)
    numbers = range(1, len(whole.rows) + 1) if before is None else before.numbers
    found = view.ordered([number for number in numbers if view.keeps(number)])
    measure, columns = view.measure, view.figures
    if before is not None and measure is None:
        measure, columns = before.measure, before.columns
    said = "; ".join([*([before.said] if before is not None else []), view.said()])
    chosen = Selection(said, tuple(found), whole, measure, columns, folds_rest)
    return replace(comparison, rows=tuple(whole.rows[number - 1] for number in found), selection=chosen)


def as_asked(comparison: Comparison, wanted: Wanted) -> Comparison:
    """The rows that are wanted with the others folded below; all of them, with a note, where that cannot be.

    Args:
        comparison: whose answers took long: what is wrong with the wish costs none of them.
        wanted: which rows.
    """
    try:
        return selected(comparison, wanted, folds_rest=True)
    except LoraError as error:
        note = f"all rows are shown, in their own order: {error.problem} {error.remedy}"
        return replace(comparison, notes=(*comparison.notes, note))


class _View:
    """What is wanted, with the names that were left out filled in."""

    def __init__(self, whole: Comparison, wanted: Wanted) -> None:
        self._whole, self._wanted = whole, wanted
        self.column, self.against = pair(whole, wanted)
        needed = (self.against, self.column) if wanted.of_two else (self.column,)
        self.measure = _measure(whole, wanted, needed) if wanted.measured else None
        self.figures: tuple[str, ...] = ()
        if self.measure is not None:
            self.figures = tuple(name for name in (self.against, self.column) if name in self.measure.by_row)

    def keeps(self, number: int) -> bool:
        """Whether a row is wanted."""
        row, show = self._whole.rows[number - 1], self._wanted.show
        if self._wanted.text is not None and not _holds(
            self._wanted.text, [row.prompt, row.reference or "", *row.outputs.values()]
        ):
            return False
        if show in _BY_MEASURE:
            return self._gain(number) > 0 if show == "better" else self._gain(number) < 0
        if show in ("different", "same"):
            answers = [row.outputs.get(name, "").strip() for name in (self.column, self.against)]
            return (answers[0] == answers[1]) == (show == "same")
        if show == "cut":
            return self._wanted.column in row.cut if self._wanted.column is not None else bool(row.cut)
        return True

    def ordered(self, numbers: Sequence[int]) -> list[int]:
        """Row numbers in the order that is wanted; those without a figure come last."""
        if self._wanted.sort is None:
            return list(numbers)
        keys = {number: self._key(number) for number in numbers}
        return sorted(numbers, key=lambda number: (keys[number] is None, keys[number] or 0.0))

    def _key(self, number: int) -> float | None:
        if self._wanted.sort == "change":
            change = self._change(number)
            # Equal changes that floating point tells apart stay in the rows' own order.
            return None if change is None else -round(abs(change), 9)
        value = self._figure(self.column, number)
        return -value if value is not None and self._wanted.sort == "highest" else value

    def _figure(self, column: str, number: int) -> float | None:
        return None if self.measure is None else self.measure.by_row[column][number - 1]

    def _change(self, number: int) -> float | None:
        column, against = self._figure(self.column, number), self._figure(self.against, number)
        return None if column is None or against is None else column - against

    def _gain(self, number: int) -> float:
        """The change, above 0 where it is better; 0 of a row that is not measured."""
        change = self._change(number) or 0.0
        return -change if self.measure is not None and self.measure.better == "lower" else change

    def said(self) -> str:
        """Which rows, and in which order."""
        wanted, title = self._wanted, "" if self.measure is None else self.measure.title
        shown = {
            "better": f"{self.column} better than {self.against} by {title}",
            "worse": f"{self.column} worse than {self.against} by {title}",
            "different": f"{self.column} differs from {self.against}",
            "same": f"{self.column} is the same as {self.against}",
            "cut": f"{wanted.column or 'an answer'} cut at the token limit",
        }
        parts = [shown[wanted.show]] if wanted.show in shown else []
        parts += [f"with “{wanted.text}”"] if wanted.text is not None else []
        if wanted.sort == "change":
            where = "" if wanted.show in _BY_MEASURE else f" of {title} from {self.against} to {self.column}"
            parts.append(f"the largest change{where} first")
        elif wanted.sort is not None:
            parts.append(f"the {wanted.sort} {title} of {self.column} first")
        elif self.measure is not None and wanted.show not in _BY_MEASURE:
            parts.append(f"{title} at each")
        return ", ".join(parts)


def pair(whole: Comparison, wanted: Wanted) -> tuple[str, str]:
    """The column that rows are judged by, and the one that it is held against: as named, or filled in.

    The baseline of the measures, or the base, stands against the last other column. One column is both.

    Args:
        whole: the comparison with all its rows.
        wanted: what is asked for, of known names.
    """
    names = whole.columns
    first = whole.measures.baseline if whole.measures is not None else "base"
    first = first if first in names else names[0]
    others = [name for name in reversed(names) if name != first] or [first]
    column = wanted.column or next((name for name in others if name != wanted.against), first)
    against = wanted.against or (first if column != first else others[0])
    return column, against


def measures_of(whole: Comparison, columns: Iterable[str] = ()) -> list[Measure]:
    """The measures that have figures of rows by themselves.

    Args:
        whole: the comparison with all its rows.
        columns: that must have such figures.
    """
    made = () if whole.measures is None else whole.measures.measures
    return [one for one in made if one.by_row and set(columns) <= one.by_row.keys()]


def is_called(name: str, *known: str) -> bool:
    """Whether a measure's name as typed is one of these names or titles, in any case and spelling of spaces."""
    return _spelled(name) in map(_spelled, known)


def _spelled(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.strip().casefold())


def _measure(whole: Comparison, wanted: Wanted, columns: Sequence[str]) -> Measure:
    """The measure that was named, or the first of which one way is better and that tells rows apart."""
    directed = wanted.show in _BY_MEASURE
    usable = measures_of(whole, columns)
    if not usable:
        raise LoraError(
            f"There are no figures of {_list(dict.fromkeys(columns))} to go by.", "Show different, same or cut instead."
        )
    best = [one for one in usable if one.better]
    if wanted.by is not None:
        return _named(whole, wanted.by, best if directed else usable, columns, directed)
    if directed and not best:
        raise LoraError("Of no measure here one way is better.", f"Sort by the change of {_titles(usable)} instead.")
    apart = (one for one in best if _tells_apart(one, columns))
    return next(apart, (best or usable)[0])


def _named(whole: Comparison, by: str, usable: Sequence[Measure], columns: Sequence[str], directed: bool) -> Measure:
    for one in usable:
        if is_called(by, one.name, one.title):
            return one
    remedy = f"Choose {_titles(usable)}." if usable else "Sort by its change instead."
    for one in () if whole.measures is None else whole.measures.measures:
        if not is_called(by, one.name, one.title):
            continue
        if not one.by_row:
            raise LoraError(f"{one.title} is a figure of all rows together.", remedy)
        if directed and not one.better:
            raise LoraError(f"Neither way is better of {one.title}.", remedy)
        raise LoraError(f"{one.title} was not measured of {_list(set(columns) - one.by_row.keys())}.", remedy)
    close = nearest(by, [name for one in usable for name in (one.name, one.title)])
    raise LoraError(f'There is no measure "{by}" here.', close or remedy)


def _tells_apart(one: Measure, columns: Sequence[str]) -> bool:
    """Whether rows differ in it: between the columns, or in the only one."""
    figures = [one.by_row[name] for name in columns]
    rows = zip(*figures, strict=True) if len(figures) > 1 else [figures[0]]
    return any(len({value for value in row if value is not None}) > 1 for row in rows)


def _titles(measures: Iterable[Measure]) -> str:
    return _list(one.title for one in measures)


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


def _holds(text: str, others: Iterable[str]) -> bool:
    """Whether a text stands in one of others, in any case of letters and width of spaces."""
    wanted = _folded(text)
    return any(wanted in _folded(other) for other in others)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
