"""The numbers beside the answers of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Value:
    """One column's figure.

    Attributes:
        mean: the mean over rows, or the figure of all rows together (BLEU, macro-F1, AUC, loss a token).
        low, high: the ends of its 95% interval; nan with too few rows for one.
        rows: rows that it was made of.
    """

    mean: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class Difference:
    """What a column has over the baseline, on the same rows.

    Attributes:
        mean: the column's figure less the baseline's.
        low, high: the ends of its 95% interval; nan with too few rows for one.
        rows: rows that it was made of.
        better, worse, equal: rows that are so in this column; where neither way is better, that have more and less.
        verdict: what may be said of it, such as "better on 24 rows, 95%".
    """

    mean: float
    low: float
    high: float
    rows: int
    better: int
    worse: int
    equal: int
    verdict: str


@dataclass(frozen=True)
class Measure:
    """One way of measuring answers.

    Attributes:
        name: as it is asked for, such as "exact-match".
        title: as it is shown.
        unit: "share" (0 to 1), "score", "words", "nats" or "cosine".
        better: "higher", "lower", or "" where neither is.
        values: by column.
        differences: from the baseline, by column; the baseline has none.
        note: how it is counted, and what was seen on the way.
        by_row: by column, the figure of each row of the comparison by itself, None where the row is not measured;
            empty where a row by itself has none (macro-F1, AUC).
    """

    name: str
    title: str
    unit: str
    better: str
    values: Mapping[str, Value]
    differences: Mapping[str, Difference]
    note: str = ""
    by_row: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measures:
    """Every measure of a comparison.

    Attributes:
        baseline: the column that the others are compared with.
        kind: what the references look like: "labels", "json", "short", "long" or "none".
        why: how that was seen, a sentence.
        measures: in the order to show them.
        notes: what was left out and why, a sentence each.
    """

    baseline: str
    kind: str
    why: str
    measures: tuple[Measure, ...]
    notes: tuple[str, ...] = ()
