"""The table of measures: what it says, on any width, whatever columns and fields are called."""

from __future__ import annotations

import html
import json
import math
import re
from dataclasses import replace

import pytest
from wcwidth import wcswidth

from lora_magic.display.measures import measures_html, measures_text
from lora_magic.display.safe import unsafe
from lora_magic.evaluation.measures import Scored, measure
from lora_magic.results.measures import Difference, Measure, Measures, Value

HOSTILE = '<script>alert(1)</script> $x$ \x1b[31m\u202e "quoted" & more'


def words(fragment: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", fragment)).split())


def labelled(*columns: str, rows: int = 24) -> Measures:
    """Columns that are right on fewer rows one after the other, the first on half of them and the second on all."""
    right = dict(zip(columns, (0.5, 1.0, 0.5, 0.0), strict=False))
    kinds = ["yes", "no"] * (rows // 2)
    scored = [
        Scored("p", kind, {name: kind if place < share * rows else "neither" for name, share in right.items()})
        for place, kind in enumerate(kinds)
    ]
    return measure(scored, columns, baseline=columns[0], wanted=["label-accuracy", "length"])


def figure(unit: str, mean: float, low: float, high: float, better: str = "higher") -> Measures:
    value = Value(mean, low, high, 24)
    made = Measure("one", "One", unit, better, {"base": value}, {}, "")
    return Measures("base", "short", "Why.", (made,), ())


def test_a_row_has_figures_intervals_the_best_and_the_verdict() -> None:
    result = labelled("base", "tuned")
    for view in (words(measures_html(result)), " ".join(measures_text(result, 120))):
        assert "References are labels: 24 references hold 2 short answers." in view
        assert "Right label" in view and "50%" in view and "100% ▲" in view
        assert "better on 24 rows, 95% (+50 points)" in view and "from base." in view
        assert "tuned: better" not in view
    assert "higher is better" in words(measures_html(result)) and "how each is counted" in measures_html(result)


def test_several_columns_are_named_in_verdicts_and_only_the_best_is_marked() -> None:
    result = labelled("base", "tuned", "same", "broken")
    view = words(measures_html(result))
    assert "tuned: better on 24 rows, 95% (+50 points)" in view
    assert "same: the same on all 24 rows" in view and "broken: worse on 24 rows, 95% (−50 points)" in view
    assert re.findall(r"\d+% [▲▼]", view) == ["100% ▲", "0% ▼"]


def test_columns_of_which_the_same_may_be_said_share_a_line() -> None:
    result = labelled("base", "one", "two")
    same = replace(result.measures[1], differences=dict.fromkeys(("one", "two"), result.measures[0].differences["two"]))
    assert "one, two: the same on all 24 rows" in words(measures_html(replace(result, measures=(same,))))


def test_the_baseline_is_the_best_where_all_others_are_worse() -> None:
    result = measure(
        [Scored("p", kind, {"base": kind, "tuned": "neither"}) for kind in ["yes", "no"] * 12],
        ["base", "tuned"], baseline="base", wanted=["label-accuracy"],
    )  # fmt: skip
    assert re.findall(r"\d+% [▲▼]", words(measures_html(result))) == ["100% ▲", "0% ▼"]


def test_too_few_rows_have_no_interval_no_mark_and_say_so() -> None:
    result = labelled("base", "tuned", rows=8)
    view = words(measures_html(result))
    assert "8 rows cannot tell" in view and "nan" not in view
    assert "There are too few rows for intervals." in view and not set("▲▼") & set(view)


def test_one_column_alone_has_no_verdict() -> None:
    result = labelled("base", "tuned", rows=24)
    alone = [replace(one, values={"base": one.values["base"]}, differences={}) for one in result.measures]
    result = replace(result, measures=tuple(alone))
    for view in (words(measures_html(result)), " ".join(measures_text(result, 100))):
        assert "erdict" not in view and "95% intervals" in view and not set("▲▼") & set(view)


@pytest.mark.parametrize(
    ("unit", "mean", "low", "high", "said"),
    [
        ("share", 0.5, 0.25, 0.75, "50% (25–75%)"),
        ("share", 0.997, 0.99, 1.0, "99.7% (99–100%)"),
        ("share", 0.0004, 0.0, 0.004, "0.1% (0–0.4%)"),
        ("share", 1.0, 0.9, 1.0, "100% (90–100%)"),
        ("nats", 0.0832, 0.07, 0.1234, "0.083 (0.070–0.123)"),
        ("nats", 1.834, 1.7, 2.0, "1.83 (1.70–2.00)"),
        ("score", 57.57, 41.36, 73.79, "57.6 (41.4–73.8)"),
        ("score", 12345.6, 12000.0, 13000.0, "12,346 (12,000–13,000)"),
        ("score", math.inf, math.nan, math.nan, "–"),
        ("words", 4.65, 4.4, 4.9, "4.7 (4.4–4.9)"),
        ("cosine", 0.84, 0.8, 0.88, "0.840 (0.800–0.880)"),
    ],
)
def test_numbers_as_people_read_them(unit: str, mean: float, low: float, high: float, said: str) -> None:
    view = " ".join(" ".join(measures_text(figure(unit, mean, low, high), 100)).split())
    assert f"One ↑ {said} " in view


def test_hostile_names_are_text_and_survive_the_sanitiser() -> None:
    answer = json.dumps({HOSTILE: 1, "b": 2})
    columns = ("base", HOSTILE)
    rows = [Scored(HOSTILE, answer, dict.fromkeys(columns, answer)) for _ in range(12)]
    result = measure(rows, columns, baseline="base")
    made = measures_html(replace(result, notes=(HOSTILE,), why=HOSTILE))
    assert unsafe(made) == []
    assert "alert(1)" in words(made) and "<script" not in made
    assert not any("\x1b" in line or "\u202e" in line for line in measures_text(result))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_text_fits_the_terminal(width: int) -> None:
    lines = measures_text(labelled("base", "a-rather-long-adapter-name", "other"), width)
    assert max(wcswidth(line) for line in lines) <= width
    assert "Right" in " ".join(lines)


def test_a_result_without_measures_still_says_why() -> None:
    result = measure([], ["base"], baseline="base")
    assert "nothing is measured" in words(measures_html(result)) and "<table" not in measures_html(result)
    assert any("nothing is measured" in line for line in measures_text(result, 80))


def test_a_column_without_a_figure_has_a_dash() -> None:
    value, verdict = Value(0.5, 0.4, 0.6, 24), Difference(0.0, -0.1, 0.1, 24, 0, 0, 24, "the same on all 24 rows")
    whole = Measure("one", "One", "share", "higher", {"base": value, "tuned": value}, {"tuned": verdict})
    part = Measure("two", "Two", "nats", "lower", {"base": value}, {})
    view = words(measures_html(Measures("base", "short", "Why.", (whole, part))))
    assert re.search(r"Two lower is better 0.500 0.400–0.600 –", view)
