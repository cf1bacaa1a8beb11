"""What every measure is computed from, and how its numbers become a `Measure`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lora_magic.evaluation.intervals import Bootstrap, Floats, Statistic
from lora_magic.results.measures import Measure


@dataclass(frozen=True)
class Scored:
    """One row that every column answered.

    Attributes:
        prompt: what was asked.
        reference: the data's answer, where there is one.
        outputs: answers by column.
        place: where it stands in the comparison, from 0.
    """

    prompt: str
    reference: str | None
    outputs: Mapping[str, str]
    place: int = 0


@dataclass(frozen=True)
class Title:
    """How a measure is shown: its title, its unit and which way is better, as in `Measure`."""

    text: str
    unit: str
    better: str

    @property
    def top(self) -> float | None:
        """The most that it can be; None for no bound."""
        return 1.0 if self.unit in ("share", "cosine") else None


TITLES: Mapping[str, Title] = {
    "label-accuracy": Title("Right label", "share", "higher"),
    "macro-f1": Title("Macro-F1", "share", "higher"),
    "auc": Title("AUC", "share", "higher"),
    "json-valid": Title("Valid JSON", "share", "higher"),
    "json-fields": Title("Fields right", "share", "higher"),
    "exact-match": Title("Exact match", "share", "higher"),
    "token-f1": Title("Token F1", "share", "higher"),
    "rouge-1": Title("ROUGE-1", "share", "higher"),
    "rouge-2": Title("ROUGE-2", "share", "higher"),
    "rouge-l": Title("ROUGE-L", "share", "higher"),
    "bleu": Title("BLEU", "score", "higher"),
    "similarity": Title("Similarity", "cosine", "higher"),
    "held-out-loss": Title("Held-out loss", "nats", "lower"),
    "perplexity": Title("Perplexity", "score", "lower"),
    "length": Title("Length", "words", ""),
    "repetition": Title("Repetition", "share", "lower"),
    "parroting": Title("Copied from training", "share", ""),
    "abstention": Title("Declined to answer", "share", ""),
}


@dataclass(frozen=True)
class Asked:
    """What there is to measure.

    Attributes:
        rows: the rows.
        columns: the columns, in order.
        baseline: the column that the others are compared with.
        bootstrap: makes the intervals.
        training: answers of training rows, read at most once.
        losses: by column, (summed nats, tokens) a row.
        label_losses: by column, a row's nats of each label as the answer.
        embedder: id or folder of a sentence embedding model; "" for one that is at hand.
        total: rows of the comparison, with those that some column did not answer.
    """

    rows: Sequence[Scored]
    columns: Sequence[str]
    baseline: str
    bootstrap: Bootstrap
    training: Iterator[str] = field(default_factory=lambda: iter(()))
    losses: Mapping[str, Sequence[tuple[float, int]]] = field(default_factory=dict)
    label_losses: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    embedder: str = ""
    total: int = 0

    @property
    def referenced(self) -> list[Scored]:
        """The rows with a reference that is not blank."""
        return [row for row in self.rows if row.reference is not None and row.reference.strip()]


class LeftOut(Exception):
    """A measure that cannot be made of these rows, with the reason as its text."""


def by_rows(
    asked: Asked, name: str, scores: Mapping[str, Floats], note: str = "", title: Title | None = None,
    rows: Sequence[Scored] | None = None,
) -> Measure:  # fmt: skip
    """A measure that is a mean over rows.

    Args:
        asked: what is measured.
        name: the measure's.
        scores: a number a row by column; a row that is nan in one column counts in none.
        note: the measure's.
        title: where it is not in `TITLES`.
        rows: the rows that have a number; all unless given.

    Raises:
        LeftOut: no row counts.
    """
    said = title or TITLES[name]
    known = np.all([np.isfinite(column) for column in scores.values()], axis=0)
    if not np.any(known):
        raise LeftOut("no row can be measured")
    counting = {column: values[known] for column, values in scores.items()}
    values = {column: asked.bootstrap.value(of, top=said.top) for column, of in counting.items()}
    base = counting.get(asked.baseline)
    differences = {
        column: asked.bootstrap.difference(base, of, better=said.better, unit=said.unit, top=said.top)
        for column, of in counting.items()
        if base is not None and column != asked.baseline
    }
    measured = [row for row, counts in zip(asked.rows if rows is None else rows, known, strict=True) if counts]
    return Measure(
        name, said.text, said.unit, said.better, values, differences, note, by_row(asked, measured, counting)
    )


def by_figure(
    asked: Asked, name: str, figures: Mapping[str, Statistic], scores: Mapping[str, Floats], note: str = "",
    top: float | None = None, alone: Mapping[str, tuple[float | None, ...]] | None = None,
) -> Measure:  # fmt: skip
    """A measure that is one figure of all rows together.

    Args:
        asked: what is measured.
        name: the measure's.
        figures: what computes it by column.
        scores: a number a row by column, which tells better rows from worse ones; higher numbers are more.
        note: the measure's.
        top: the most that it can be, where its unit does not say.
        alone: the figure of each row by itself, as `by_row` gives it, where a row has one.
    """
    said = TITLES[name]
    most = said.top if top is None else top
    values = {column: asked.bootstrap.value_of(of, len(scores[column]), top=most) for column, of in figures.items()}
    differences = {
        column: asked.bootstrap.difference_of(
            figures[asked.baseline], of, scores[column] - scores[asked.baseline],
            better=said.better, unit=said.unit, top=most,
        )
        for column, of in figures.items()
        if asked.baseline in figures and column != asked.baseline
    }  # fmt: skip
    return Measure(name, said.text, said.unit, said.better, values, differences, note, alone or {})


def by_row(asked: Asked, rows: Sequence[Scored], scores: Mapping[str, Floats]) -> dict[str, tuple[float | None, ...]]:
    """Numbers of some rows by column, each at its row's place in the comparison; None at the others.

    Args:
        asked: what is measured.
        rows: those that have a number.
        scores: their numbers by column; what is no finite number is None.
    """
    found = {}
    for column, numbers in scores.items():
        pairs = zip(rows, numbers.tolist(), strict=True)
        at = {row.place: number for row, number in pairs if math.isfinite(number)}
        found[column] = tuple(at.get(place) for place in range(asked.total))
    return found


def scored(asked: Asked, rows: Sequence[Scored], score: Callable[[Scored, str], float]) -> dict[str, Floats]:
    """A number a row by column.

    Args:
        asked: what is measured.
        rows: the rows that are.
        score: the number of a row's answer.
    """
    return {
        column: np.array([score(row, row.outputs[column]) for row in rows], dtype=np.float64)
        for column in asked.columns
    }


def counted(number: int, thing: str) -> str:
    """`1 row`, `24 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
