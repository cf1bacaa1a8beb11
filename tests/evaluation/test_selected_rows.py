"""Which rows of a comparison are shown, in which order, and what is said of them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.display import bundle, text
from lora_magic.display.comparison import comparison_html
from lora_magic.display.safe import unsafe
from lora_magic.errors import LoraError
from lora_magic.evaluation.measures import MEASURES, Scored, check_by, measure
from lora_magic.evaluation.votes import Poll
from lora_magic.results import Comparison, ComparisonRow
from lora_magic.results.selected import Wanted, as_asked, selected
from tests.display.conftest import HOSTILE

WORDS = "a fox or hen went over to see some old red barn with wheat on it".split()
LIGHT = ["exact-match", "token-f1", "rouge-1", "rouge-l", "bleu", "held-out-loss", "perplexity", "length", "repetition"]


def measured(
    rows: list[ComparisonRow], names: tuple[str, ...] = ("base", "mine"), wanted: list[str] | None = None, seed: int = 0
) -> Comparison:
    """A comparison with numbers, and a loss a row and column that is anything."""
    rng = random.Random(seed)
    losses = {name: [(rng.randint(1, 40) / 4, rng.randint(1, 8)) for _ in rows] for name in names}
    scored = [Scored(row.prompt, row.reference, row.outputs) for row in rows]
    made = measure(scored, names, baseline=names[0], wanted=wanted or LIGHT, losses=losses)
    return Comparison("demo", names, tuple(rows), f"{len(rows)} rows", measures=made)


def some(count: int = 32, names: tuple[str, ...] = ("base", "mine"), seed: int = 0) -> list[ComparisonRow]:
    """Rows of which some answers are right, some nearly, some cut, and one has no reference."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        right = [rng.choice(WORDS) for _ in range(6)]
        answers = {}
        for name in names:
            answer = [rng.choice(WORDS) if rng.random() < rng.choice((0, 0.5)) else word for word in right]
            answers[name] = " ".join(answer)
        cut = tuple(name for name in names if rng.random() < 0.2)
        made.append(ComparisonRow(f"Prompt {number}?", None if number == 5 else " ".join(right), answers, cut))
    return made


def numbers(made: Comparison) -> list[int]:
    assert made.selection is not None
    return list(made.selection.numbers)


def share_of_words(answer: str, reference: str) -> float:
    """Token F1, counted plainly; the words are such that articles are left out by hand."""
    found, wanted = ([word for word in text.split() if word != "a"] for text in (answer, reference))
    left, shared = list(wanted), 0
    for word in found:
        if word in left:
            left.remove(word)
            shared += 1
    return 2 * shared / (len(found) + len(wanted)) if found and wanted else float(found == wanted)


def test_rows_that_are_better_and_worse_are_those_of_a_plain_count() -> None:
    rows = some()
    made = measured(rows)
    change = {
        place: share_of_words(row.outputs["mine"], row.reference) - share_of_words(row.outputs["base"], row.reference)
        for place, row in enumerate(rows, 1)
        if row.reference is not None
    }
    worse, better = (sorted(n for n, by in change.items() if way * by > 1e-12) for way in (-1, 1))
    assert worse and better
    assert numbers(made.where("worse", by="token-f1")) == worse
    assert numbers(made.where("better", by="Token F1")) == better
    assert numbers(made.where("better", by="token f1", column="base")) == worse
    by_change = sorted(worse, key=lambda n: (round(change[n], 9), n))
    assert numbers(made.where("worse", by="token_f1", sort="change")) == by_change
    everything = numbers(made.where(by="token-f1", sort="change"))
    assert [round(abs(change.get(n, 0)), 9) for n in everything] == sorted(
        (round(abs(change.get(n, 0)), 9) for n in everything), reverse=True
    )
    assert everything[-1] == 6, "the row without a reference has no figure, and comes last"
    lengths = {n: len(row.outputs["mine"].split()) for n, row in enumerate(rows, 1)}
    assert numbers(made.where(by="length", sort="highest")) == sorted(lengths, key=lambda n: (-lengths[n], n))
    assert numbers(made.where(by="length", sort="lowest")) == sorted(lengths, key=lambda n: (lengths[n], n))


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6), count=st.integers(1, 25), by=st.sampled_from(LIGHT),
    names=st.sampled_from([("base", "mine"), ("base", "mine", "other")]),
)  # fmt: skip
def test_as_many_rows_are_better_and_worse_as_the_verdict_counts(
    seed: int, count: int, by: str, names: tuple[str, ...]
) -> None:
    made = measured(some(count, names, seed), names, [by], seed)
    assert made.measures is not None
    for one in made.measures.measures:
        for column, difference in one.differences.items():
            assert difference.better + difference.worse + difference.equal == difference.rows
            if not one.better:
                continue
            kept = {show: numbers(made.where(show, by=one.name, column=column)) for show in ("better", "worse")}
            assert (len(kept["better"]), len(kept["worse"])) == (difference.better, difference.worse)
            again = numbers(made.where("worse", by=one.name, column=column, sort="change"))
            assert sorted(again) == kept["worse"]


def test_rows_are_chosen_by_their_answers_and_words() -> None:
    rows = some()
    made = measured(rows)
    equal = [n for n, row in enumerate(rows, 1) if row.outputs["base"] == row.outputs["mine"]]
    assert numbers(made.where("same")) == equal
    assert sorted([*numbers(made.where("different")), *equal]) == list(range(1, 33))
    assert numbers(made.where("cut")) == [n for n, row in enumerate(rows, 1) if row.cut]
    assert numbers(made.where("cut", column="base")) == [n for n, row in enumerate(rows, 1) if "base" in row.cut]
    holding = [
        n for n, row in enumerate(rows, 1) if "red barn" in " ".join([*row.outputs.values(), row.reference or ""])
    ]
    assert set(numbers(made.where(text="RED   Barn"))) <= set(holding)
    assert numbers(made.where(text="prompt 17?")) == [18]
    assert numbers(made.where(text="no such word")) == []
    assert made.where(text="  ") is made and made.where() is made


def test_a_selection_of_a_selection_is_of_its_rows_and_keeps_its_order() -> None:
    made = measured(some())
    worse = made.where("worse", by="token-f1", sort="change")
    both = worse.where(text="fox")
    assert numbers(both) == [n for n in numbers(worse) if n in numbers(made.where(text="fox"))]
    assert both.selection is not None and both.selection.whole is made
    assert both.selection.line == (
        f"{len(both.rows)} of 32 rows: mine worse than base by Token F1, the largest change first; with “fox”"
    )
    assert not both.interrupted and replace(made, asked=40).where(text="fox").interrupted


def test_what_is_shown_is_said_with_the_whole_comparison_s_numbers() -> None:
    made = measured(some())
    worse = made.where("worse", by="token-f1", sort="change")
    said = f"{len(worse.rows)} of 32 rows: mine worse than base by Token F1, the largest change first"
    html = bundle(worse)["text/html"]
    assert unsafe(html) == []
    seen = " ".join(BeautifulSoup(html, "html.parser").get_text(" ").split())
    assert said in seen and "numbers of all 32 rows" in seen
    assert said in " ".join(text(worse).split()) and "numbers of all 32 rows:" in text(worse)
    for number in numbers(worse):
        assert f"prompt {number} of 32 · Token F1: base " in seen
    others = set(range(1, 33)) - set(numbers(worse))
    assert not any(f"prompt {number} of 32" in seen for number in others)
    rows = [line.split("│")[1].strip() for line in text(worse).splitlines() if "Prompt" in line]
    assert rows == [str(number) for number in numbers(worse)[:8]]
    assert "0 of 32 rows: with “nothing”" in text(made.where(text="nothing"))


def test_a_line_s_view_has_the_other_rows_folded_and_stays_small() -> None:
    rng = random.Random(3)
    names = ("base", "base+system", "mine")
    rows = [
        ComparisonRow(f"Prompt {n}?", "yes", {name: " ".join(rng.choices(WORDS, k=200)) for name in names})
        for n in range(200)
    ]
    made = measured(rows, names, ["token-f1", "length"])
    view = as_asked(made, Wanted("cut"))
    html = comparison_html(view)
    assert len(html.encode()) < 1_500_000
    soup = BeautifulSoup(html, "html.parser")
    assert "0 of 200 rows: an answer cut at the token limit" in html
    summaries = [" ".join(one.get_text(" ").split()) for one in soup.find_all("summary")]
    assert "the other 200 rows" in summaries and not any("show all" in one for one in summaries)
    view = as_asked(made, Wanted(text="Prompt 1", sort="highest", by="length"))
    html = comparison_html(view)
    assert len(html.encode()) < 1_500_000
    assert all(html.count(f">prompt {n} of 200") == 1 for n in range(1, 201)), "every row is there, once"
    summaries = [" ".join(one.get_text(" ").split()) for one in BeautifulSoup(html, "html.parser").find_all("summary")]
    assert f"show all: {len(view.rows) - 8} more rows" in summaries
    assert f"the other {200 - len(view.rows)} rows" in summaries


def test_hostile_text_is_text_in_a_selection() -> None:
    rows = [ComparisonRow(f"{HOSTILE} {n}", HOSTILE, {"base": HOSTILE, HOSTILE: f"{HOSTILE} {n}"}) for n in range(12)]
    made = measured(rows, ("base", HOSTILE), ["token-f1", "length"]).where(
        "different", by="length", text=HOSTILE, sort="highest"
    )
    assert len(made.rows) == 12 and unsafe(bundle(made)["text/html"]) == []
    assert "\x1b" not in text(made) and "\u202e" not in text(made)


@pytest.mark.parametrize(
    ("how", "problem", "remedy"),
    [
        ({"show": "wrose"}, 'show cannot be "wrose"', '"worse"'),
        ({"show": "x"}, 'show cannot be "x"', "Known: all, better, worse, different, same, cut."),
        ({"sort": "up"}, 'sort cannot be "up"', "Known: change, lowest, highest."),
        ({"column": "mime"}, 'no column "mime"', '"mine"'),
        ({"text": 3}, "text must be text, got 3", "Such as"),
        ({"against": "nobody", "show": "same"}, 'no column "nobody"', "base, mine"),
        ({"show": "same", "column": "base", "against": "base"}, "held against itself", "another column"),
        ({"show": "worse", "by": "tokenf1"}, 'no measure "tokenf1"', '"token-f1"'),
        ({"show": "worse", "by": "colour"}, 'no measure "colour"', "Choose Exact match, Token F1"),
        ({"show": "worse", "by": "length"}, "Neither way is better of Length", "Exact match"),
    ],
)
def test_a_mistake_is_one_line_with_the_choices(how: dict[str, Any], problem: str, remedy: str) -> None:
    with pytest.raises(LoraError, match=problem) as raised:
        measured(some()).where(**how)
    assert remedy in raised.value.remedy


def test_what_cannot_be_told_apart_is_said() -> None:
    alone = measured(some(names=("base",)), ("base",))
    with pytest.raises(LoraError, match="There is one column"):
        alone.where("better")
    assert len(alone.where(sort="lowest", by="token-f1").rows) == 32
    unmeasured = replace(measured(some()), measures=None)
    with pytest.raises(LoraError, match="no figures of base, mine to go by") as raised:
        unmeasured.where("better")
    assert "different" in raised.value.remedy
    assert numbers(unmeasured.where("same")) == numbers(measured(some()).where("same"))
    labels = [ComparisonRow("p", kind, {"base": "yes", "mine": kind}) for kind in ("yes", "no") * 8]
    with pytest.raises(LoraError, match="Macro-F1 is a figure of all rows together") as raised:
        measured(labels, wanted=["macro-f1", "label-accuracy"]).where("better", by="macro-f1")
    assert "Right label" in raised.value.remedy
    assert len(measured(labels, wanted=["macro-f1", "label-accuracy"]).where("better").rows) == 8


def test_the_measure_that_is_left_out_is_the_first_that_tells_rows_apart() -> None:
    rows = [ComparisonRow("p", "one two three", {"base": "one", "mine": "one two"}) for _ in range(4)]
    made = measured(rows, wanted=["exact-match", "token-f1", "length"])
    assert "4 of 4 rows: mine better than base by Token F1" in text(made.where("better"))


def test_answers_that_took_long_are_kept_when_they_cannot_be_sorted() -> None:
    made = as_asked(measured(some()), Wanted("worse", by="rouge-2"))
    assert made.selection is None and len(made.rows) == 32
    assert made.notes[-1].startswith('all rows are shown, in their own order: There is no measure "rouge-2" here.')


def test_a_blind_vote_under_way_is_not_spoilt_and_one_that_is_over_can_be_read(tmp_path: Path) -> None:
    rows = [ComparisonRow(f"q{n}", None, {"base": f"one {n}", "mine": f"two {n}"}) for n in range(2)]
    poll = Poll(Comparison("demo", ("base", "mine"), tuple(rows), "rows"), tmp_path / "votes.jsonl")
    voted = replace(Comparison("demo", ("base", "mine"), tuple(rows), "rows"), votes=poll.votes)
    with pytest.raises(LoraError, match="A blind vote on it is under way"):
        voted.where(text="one")
    poll.cast("a")
    poll.cast("b")
    assert "prompt 2 of 2" in bundle(voted.where(text="one 1"))["text/html"]
    assert json.loads(voted.where(text="one 1").to_json(format="llm-comparator"))["examples"][0]["score"] is not None


def test_the_json_holds_a_figure_a_row_and_says_what_was_selected() -> None:
    made = measured(some(), wanted=["token-f1"])
    found = json.loads(made.to_json())
    figures = found["measures"]["measures"][0]["by_row"]
    assert found["selection"] is None and len(figures["mine"]) == 32 and figures["mine"][5] is None
    rows = made.rows
    assert figures["mine"][0] == pytest.approx(share_of_words(rows[0].outputs["mine"], rows[0].reference or ""))
    worse = made.where("worse")
    found = json.loads(worse.to_json())
    assert found["selection"] == {
        "said": f"{len(worse.rows)} of 32 rows: mine worse than base by Token F1", "numbers": numbers(worse)
    }  # fmt: skip
    assert [row["prompt"] for row in found["rows"]] == [row.prompt for row in worse.rows]


def test_rows_that_some_column_did_not_answer_leave_the_figures_at_their_places() -> None:
    rows = [Scored("p", "x", {"base": "x", "mine": "x" if n % 2 else "y"}) for n in range(6)]
    rows[2] = Scored("p", "x", {"base": "x"})
    (one,) = measure(rows, ("base", "mine"), baseline="base", wanted=["exact-match"]).measures
    assert one.by_row == {"base": (1, 1, None, 1, 1, 1), "mine": (0, 1, None, 1, 0, 1)}


@pytest.mark.parametrize(
    ("by", "wanted", "problem"),
    [
        ("token-f", None, 'no measure "token-f"'),
        ("Macro-F1", None, "figure of all rows"),
        ("rouge-1", ["length"], "rouge-1 is not among the measures"),
    ],
)
def test_a_measure_to_sort_by_is_checked_before_there_are_answers(
    by: str, wanted: list[str] | None, problem: str
) -> None:
    with pytest.raises(LoraError, match=problem):
        check_by(by, wanted)
    for name in set(MEASURES) - {"macro-f1", "auc"}:
        check_by(name, None)
    check_by("json-field:colour", None)
    check_by("Field colour", ["json-fields"])


def test_selecting_nothing_of_a_selection_gives_it_back() -> None:
    worse = measured(some()).where("worse")
    assert selected(worse, Wanted()) is worse
