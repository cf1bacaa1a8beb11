"""Intervals hold the truth as often as they say, and verdicts say no more than the rows do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.evaluation.intervals import LEAST_ROWS, Bootstrap, pseudo_values, verdict
from tests.benchmarks import interval_coverage as laws

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=60)
BINARY = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)
PAIRS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60)


@pytest.mark.parametrize("rows", [20, 60])
@pytest.mark.parametrize(
    ("name", "paired"),
    [("binary", False), ("token F1, many 0 and 1", False), ("shares, skewed", False), ("lengths, log-normal", False),
     ("binary pairs", True), ("token F1 pairs", True), ("losses", True), ("normal", True)],
)  # fmt: skip
def test_95_percent_of_intervals_hold_the_truth(name: str, paired: bool, rows: int) -> None:
    law, top = (laws.DIFFERENCES if paired else laws.VALUES)[name]
    held = laws.coverage(law, top, rows, draws=500, paired=paired)
    assert 0.925 <= held["ours"] <= 0.98  # 95% ± 1.5, and the chance of 500 draws


def test_few_pairs_that_differ_are_where_the_percentile_bootstrap_fails_and_ours_does_not() -> None:
    law, top = laws.DIFFERENCES["binary pairs"]
    held = laws.coverage(law, top, 20, draws=500, paired=True)
    assert held["percentile"] < 0.9 < 0.935 < held["ours"]


@settings(deadline=None, max_examples=60)
@given(SHARES | BINARY, st.randoms(use_true_random=False))
def test_a_share_lies_in_its_interval_whatever_the_order_of_rows(rows: list[float], random: object) -> None:
    value = Bootstrap().value(rows, top=1)
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = Bootstrap().value(shuffled, top=1)
    assert (again.low, again.high) == pytest.approx((value.low, value.high), nan_ok=True)
    assert value.rows == len(rows)
    if len(rows) < LEAST_ROWS:
        assert math.isnan(value.low) and math.isnan(value.high)
    else:
        assert 0 <= value.low <= value.mean <= value.high <= 1


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_changing_sides_mirrors_the_difference(rows: list[tuple[float, float]]) -> None:
    one, other = zip(*rows, strict=True)
    there = Bootstrap().difference(one, other, top=1)
    back = Bootstrap().difference(other, one, top=1)
    assert (-back.high, -back.low, -back.mean) == pytest.approx((there.low, there.high, there.mean), nan_ok=True)
    assert (back.better, back.worse, back.equal) == (there.worse, there.better, there.equal)
    assert there.better + there.worse + there.equal == there.rows == len(rows)
    assert back.verdict.replace("better", "worse") == there.verdict.replace("better", "worse")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rows_that_are_all_alike_do_not_make_certainty(share: float) -> None:
    few, many = (Bootstrap().value([share] * rows, top=1) for rows in (20, 200))
    assert few.high - few.low > 0.1
    assert 0 < many.high - many.low < 0.05


def test_one_row_more_than_is_resampled_changes_little() -> None:
    resampled, normal = (Bootstrap().value([1.0] * rows, top=1) for rows in (2000, 2001))
    assert normal.high == 1 and 0 < normal.low < 1
    assert 1 - normal.low == pytest.approx(1 - resampled.low, rel=0.3)
    few = Bootstrap().difference([0.0] * 2001, [1.0] * 4 + [0.0] * 1997, top=1)
    assert few.low < 0 < few.high and few.verdict.startswith("no difference to be seen")


def test_a_few_rows_that_differ_by_chance_are_no_improvement() -> None:
    rows = Bootstrap().difference([0.0] * 20, [1.0] * 2 + [0.0] * 18, top=1)
    assert (rows.better, rows.worse, rows.equal) == (2, 0, 18)
    assert rows.low < 0 < rows.high and rows.verdict.startswith("no difference to be seen on 20 rows")


def test_a_clear_change_is_told_and_lower_can_be_better() -> None:
    base, tuned = [2.0 + 0.01 * row for row in range(24)], [1.0 + 0.02 * row for row in range(24)]
    found = Bootstrap().difference(base, tuned, better="lower", unit="nats")
    assert found.verdict == "better on 24 rows, 95%"
    assert found.mean == pytest.approx(-0.885) and found.low < -0.885 < found.high < 0
    assert (found.better, found.worse) == (24, 0)
    assert Bootstrap().difference(tuned, base, better="lower", unit="nats").verdict == "worse on 24 rows, 95%"
    assert Bootstrap().difference(base, tuned, better="", unit="words").verdict == "shorter on 24 rows, 95%"


@pytest.mark.parametrize("rows", [[], [0.3], [math.nan] * 30, [math.inf, *[1.0] * 30]])
def test_rows_that_say_nothing_get_no_interval(rows: list[float]) -> None:
    value, difference = Bootstrap().value(rows), Bootstrap().difference([0.0] * len(rows), rows)
    assert math.isnan(value.low) and math.isnan(difference.high)
    assert difference.verdict in ("no rows", "1 row cannot tell", f"{len(rows)} rows cannot tell")


def test_the_interval_narrows_with_rows_and_the_same_seed_gives_the_same_one() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for size in (20, 80, 320, 4000):
        rows = rng.normal(5, 1, size)
        value = Bootstrap(7).value(rows)
        assert value == Bootstrap(7).value(rows)
        widths.append(value.high - value.low)
    assert widths == sorted(widths, reverse=True) and widths[0] / widths[2] == pytest.approx(4, rel=0.35)


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=300))
def test_pseudo_values_of_a_mean_are_its_rows(rows: list[float]) -> None:
    values = np.array(rows)
    figure, pseudo = pseudo_values(lambda weights: (weights @ values) / weights.sum(axis=1), len(rows))
    assert figure == pytest.approx(values.mean(), abs=1e-9)
    assert pseudo == pytest.approx(values, abs=1e-6)


def test_a_row_without_which_there_is_no_figure_does_not_spoil_it() -> None:
    held = np.array([1.0, *[0.0] * 19])
    noise = np.linspace(0, 1, 20)

    def only_with_the_first(weights: np.ndarray) -> np.ndarray:
        return np.where(weights @ held > 0, (weights @ noise) / weights.sum(axis=1), np.nan)

    figure, pseudo = pseudo_values(only_with_the_first, 20)
    assert np.isfinite(pseudo).all() and pseudo.mean() == pytest.approx(figure)
    assert Bootstrap().value_of(only_with_the_first, 20).low < figure


@pytest.mark.parametrize(
    ("low", "high", "rows", "better", "unit", "said"),
    [
        (0.1, 0.3, 24, "higher", "share", "better on 24 rows, 95%"),
        (-0.3, -0.1, 24, "higher", "share", "worse on 24 rows, 95%"),
        (0.1, 0.3, 9, "higher", "share", "9 rows cannot tell"),
        (0.1, 0.3, 1, "higher", "share", "1 row cannot tell"),
        (-0.02, 0.02, 60, "higher", "share", "no difference to be seen on 60 rows (±2 points)"),
        (-0.002, 0.002, 6000, "higher", "share", "no difference to be seen on 6,000 rows (±0.20 points)"),
        (-0.25, 0.25, 60, "lower", "nats", "no difference to be seen on 60 rows (±0.25 nats)"),
        (-3.0, 3.0, 60, "higher", "score", "no difference to be seen on 60 rows (±3.0)"),
        (1.0, 3.0, 60, "", "words", "longer on 60 rows, 95%"),
        (-0.2, -0.1, 60, "", "share", "less on 60 rows, 95%"),
        (0.0, 0.2, 60, "higher", "share", "no difference to be seen on 60 rows (±10 points)"),
        (math.nan, math.nan, 60, "higher", "share", "60 rows cannot tell"),
    ],
)
def test_verdicts_in_words(low: float, high: float, rows: int, better: str, unit: str, said: str) -> None:
    assert verdict((low + high) / 2, low, high, rows, better=better, unit=unit) == said
