"""95% intervals of what was measured on rows, by resampling the rows, and what may be said from them.

The interval is the symmetric studentised bootstrap: rows are drawn again with replacement, and the distance of each
draw's mean from the rows' mean is taken in units of the draw's own standard error. Where a column's rows hold only 0
and 1, or all but a few are equal, a draw rarely shows what other rows could have shown, and made-up rows are added
before drawing: two of each end to one column's rows (Agresti and Coull 1998), one better and one worse to a difference
(Bonett and Price 2012). tests/benchmarks/interval_coverage.py has how often each holds the truth, beside percentile's
and BCa's.

A figure of all rows together is resampled through its jackknife pseudo-values, one a row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lora_magic.results.measures import Difference, Value

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Row weights (draws × rows) to the figure of each draw; nan where a draw has none."""

LEAST_ROWS = 10
RESAMPLES = 2000
COVERAGE = 0.95
# Beyond this many rows the bootstrap's quantile is the normal one to three digits.
MOST_RESAMPLED = 2000
_NORMAL = 1.959964
# Part of the rows' own variance that is added to each draw's, so that a draw of equal rows is not infinitely far off.
_FLOOR = 0.05
_FEW = 5
_BLOCK = 256


class Bootstrap:
    """Intervals from one seed: the same rows in any order give the same one, and changing sides mirrors it.

    Args:
        seed: of the draws.
        resamples: how many draws.
    """

    def __init__(self, seed: int = 0, resamples: int = RESAMPLES) -> None:
        self._seed, self._resamples = seed, resamples
        self._weights = functools.lru_cache(maxsize=4)(self._drawn)

    def value(self, rows: Sequence[float] | Floats, *, top: float | None = None) -> Value:
        """The mean of a column's rows.

        Args:
            rows: a number a row, 0 or more.
            top: the most a row can have; None for no bound.
        """
        values = np.asarray(rows, dtype=np.float64)
        mean = float(values.mean()) if len(values) else math.nan
        return Value(mean, *self._bounded(values, mean, top, signed=False), len(values))

    def difference(
        self, baseline: Sequence[float] | Floats, column: Sequence[float] | Floats, *,
        better: str = "higher", unit: str = "share", top: float | None = None,
    ) -> Difference:  # fmt: skip
        """A column's rows against the baseline's, row by row.

        Args:
            baseline, column: a number a row, of the same rows.
            better: "higher", "lower" or "".
            unit: as in `Measure`.
            top: the most a row can have; None for no bound.
        """
        rows = np.asarray(column, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
        mean = float(rows.mean()) if len(rows) else math.nan
        return self._difference(rows, rows, mean, better, unit, top)

    def value_of(self, statistic: Statistic, rows: int, *, top: float | None = None) -> Value:
        """A figure of all rows together.

        Args:
            statistic: what computes it.
            rows: how many there are.
            top: the most it can be; None for no bound.
        """
        figure, pseudo = pseudo_values(statistic, rows)
        return Value(figure, *self._bounded(pseudo, figure, top, signed=False), rows)

    def difference_of(
        self, baseline: Statistic, column: Statistic, scores: Floats, *,
        better: str = "higher", unit: str = "score", top: float | None = None,
    ) -> Difference:  # fmt: skip
        """A figure of all rows together against the baseline's.

        Args:
            baseline, column: what computes it for either.
            scores: a number a row, positive where the column has more than the baseline.
            better, unit, top: as in `difference`.
        """
        figure, pseudo = pseudo_values(lambda weights: column(weights) - baseline(weights), len(scores))
        return self._difference(pseudo, scores, figure, better, unit, top)

    def _difference(
        self, rows: Floats, scores: Floats, mean: float, better: str, unit: str, top: float | None
    ) -> Difference:
        low, high = self._bounded(rows, mean, top, signed=True)
        more, less = int((scores > 0).sum()), int((scores < 0).sum())
        equal = len(scores) - more - less
        said = verdict(mean, low, high, len(scores), better=better, unit=unit, same=equal == len(scores) and mean == 0)
        ups, downs = (less, more) if better == "lower" else (more, less)
        return Difference(mean, low, high, len(scores), ups, downs, equal, said)

    def _bounded(self, rows: Floats, mean: float, top: float | None, signed: bool) -> tuple[float, float]:
        if len(rows) < LEAST_ROWS or not np.isfinite(rows).all() or not math.isfinite(mean):
            return math.nan, math.nan
        rows, mirrored = np.sort(rows), np.sort(-rows)
        if signed and tuple(mirrored) < tuple(rows):
            low, high = self._ends(mirrored, -mean, top, signed)
            return -high, -low
        return self._ends(rows, mean, top, signed)

    def _ends(self, rows: Floats, mean: float, top: float | None, signed: bool) -> tuple[float, float]:
        """The interval of sorted rows."""
        made_up = _made_up(rows, top, signed)
        if made_up:
            low, high = self._percentile(np.concatenate([rows, made_up]))
            low, high = min(low, mean), max(high, mean)
        else:
            half = self._half(rows)
            low, high = mean - half, mean + half
        most = math.inf if top is None else top
        return max(low, -most if signed else 0.0), min(high, most)

    def _percentile(self, rows: Floats) -> tuple[float, float]:
        """The middle 95% of the draws' means."""
        if len(rows) > MOST_RESAMPLED:
            middle, half = float(rows.mean()), _NORMAL * float(rows.std()) / math.sqrt(len(rows))
            return middle - half, middle + half
        draws = self._weights(len(rows)) @ rows
        low, high = np.quantile(draws, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
        return float(low), float(high)

    def _half(self, rows: Floats) -> float:
        """Half the width of the studentised interval."""
        off = rows - rows.mean()
        variance = float((off**2).mean())
        if variance == 0 or len(rows) > MOST_RESAMPLED:
            return _NORMAL * math.sqrt(variance / max(len(rows) - 1, 1))
        weights = self._weights(len(rows))
        means = weights @ off
        own = np.maximum(weights @ off**2 - means**2, 0)
        distance = np.abs(means) / np.sqrt((own + _FLOOR * variance) / (1 + _FLOOR))
        return float(np.quantile(distance, COVERAGE)) * math.sqrt(variance)

    def _drawn(self, rows: int) -> Floats:
        """The share that each row has in each draw."""
        rng = np.random.default_rng([self._seed, rows])
        return rng.multinomial(rows, np.full(rows, 1 / rows), size=self._resamples) / rows


def _made_up(rows: Floats, top: float | None, signed: bool) -> list[float]:
    """Rows to add before drawing; none where the rows themselves vary enough."""
    if top is None:
        return []
    _, counts = np.unique(rows, return_counts=True)
    few = len(rows) - counts.max() < _FEW
    if signed:
        return [-top, top] if few else []
    return [0.0, 0.0, top, top] if few or np.isin(rows, [0.0, top]).all() else []


def pseudo_values(statistic: Statistic, rows: int) -> tuple[float, Floats]:
    """A figure of all rows, and what each row adds to it: numbers whose mean is the figure.

    A row without which there is no figure (the only one of its class) adds what the others do on average.
    """
    if rows == 0:
        return math.nan, np.empty(0)
    figure = float(statistic(np.ones((1, rows)))[0])
    without = np.empty(rows)
    for start in range(0, rows, _BLOCK):
        weights = np.ones((min(_BLOCK, rows - start), rows))
        weights[np.arange(len(weights)), start + np.arange(len(weights))] = 0
        without[start : start + len(weights)] = statistic(weights)
    known = np.isfinite(without)
    if not math.isfinite(figure) or not known.any():
        return figure, np.full(rows, math.nan)
    pseudo = rows * figure - (rows - 1) * without
    pseudo = np.where(known, pseudo, pseudo[known].mean())
    return figure, np.round(pseudo - pseudo.mean() + figure, 12)


def verdict(mean: float, low: float, high: float, rows: int, *, better: str, unit: str, same: bool = False) -> str:
    """What may be said of a difference, in plain words.

    Args:
        mean, low, high: the difference and its interval.
        rows: how many rows it was made of.
        better: "higher", "lower" or "".
        unit: as in `Measure`.
        same: whether no row differs.
    """
    counted = f"{rows:,} row{'' if rows == 1 else 's'}"
    if rows < LEAST_ROWS or not (math.isfinite(low) and math.isfinite(high)):
        return "no rows" if rows == 0 else f"{counted} cannot tell"
    if same:
        return f"the same on all {counted}"
    if low > 0 or high < 0:
        return f"{_word(better, unit, mean > 0)} on {counted}, 95%"
    return f"no difference to be seen on {counted} (±{_amount((high - low) / 2, unit)})"


def _word(better: str, unit: str, more: bool) -> str:
    if not better:
        return {"words": ("shorter", "longer")}.get(unit, ("less", "more"))[more]
    return "better" if more == (better == "higher") else "worse"


def _amount(half: float, unit: str) -> str:
    number, name = (
        (100 * half, "points") if unit == "share" else (half, {"words": "words", "nats": "nats"}.get(unit, ""))
    )
    digits = 0 if number >= 9.95 or (unit == "share" and number >= 0.95) else 1 if number >= 0.95 else 2
    return f"{number:,.{digits}f} {name}".rstrip()
