"""The bar above a comparison: what each list and the box do, what stays in the notebook, and what it says in code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.display import bundle
from lora_magic.display.safe import unsafe
from lora_magic.errors import LoraError
from lora_magic.evaluation.measures import Scored, measure
from lora_magic.evaluation.votes import Poll
from lora_magic.forms import browsing
from lora_magic.forms.browsing import Bar, browsed
from lora_magic.forms.place import WIDGET_VIEW
from lora_magic.results import Comparison, ComparisonRow
from lora_magic.results.selected import Wanted
from tests.display.conftest import HOSTILE
from tests.forms.conftest import Shown
from tests.forms.test_chat import Page
from tests.kernel.kernels import Kernel

RIGHT = "one two three four"
CELL = """
from lora_magic.evaluation.measures import Scored, measure
from lora_magic.results import Comparison, ComparisonRow
rows = tuple(ComparisonRow(f"question {n}?", "yes", {"base": "yes", "mine": "yes" if n % 2 else "no"})
             for n in range(4))
scored = [Scored(row.prompt, row.reference, row.outputs) for row in rows]
numbers = measure(scored, ("base", "mine"), baseline="base", wanted=["exact-match"])
c = Comparison("demo", ("base", "mine"), rows, "4 rows", measures=numbers)
c.browse()
"""
PARTS = ("one", "one two", "one two three", RIGHT)


def compared(
    names: tuple[str, ...] = ("base", "mine"), count: int = 12, measures: tuple[str, ...] = ("token-f1", "length")
) -> Comparison:
    """Rows whose answers hold more of the reference or less, each column in another order."""
    rows = tuple(
        ComparisonRow(f"question {n}?", RIGHT, {name: PARTS[(n * (at + 1)) % 4] for at, name in enumerate(names)})
        for n in range(count)
    )
    scored = [Scored(row.prompt, row.reference, row.outputs) for row in rows]
    found = measure(scored, names, baseline=names[0], wanted=measures) if measures else None
    return Comparison("demo", names, rows, f"{count} rows", measures=found)


def opened(made: Comparison, shown: Shown, first: Wanted | None = None) -> Bar:
    bar = Bar(made, shown.place)
    bar.open(first or Wanted())
    return bar


def inputs(bar: Bar) -> list[Any]:
    return list(bar.widget.children[0].children)


def labels(bar: Bar) -> list[str]:
    return [one.description for one in inputs(bar)]


def test_the_bar_stands_above_the_whole_view(shown: Shown) -> None:
    made = compared()
    opened(made, shown)
    assert shown.is_open and shown.plain == [bundle(made)]


def test_every_list_changes_the_view_in_place(shown: Shown) -> None:
    made = compared()
    bar = opened(made, shown)
    for name, value, expected in (
        ("show", "worse", made.where("worse")),
        ("sort", "change", made.where("worse", sort="change")),
        ("by", "length", None),
        ("show", "all", made.where(by="length", sort="change")),
        ("column", "base", made.where(by="length", sort="change", column="base")),
        ("sort", "highest", made.where(by="length", sort="highest", column="base")),
        ("text", "Question 3", made.where(by="length", sort="highest", column="base", text="Question 3")),
    ):
        getattr(bar, name).value = value
        if expected is None:
            assert "Neither way is better of Length" in bar.message.value
            continue
        assert expected.selection is not None
        assert expected.selection.line in shown.plain[-1]["text/plain"] and unsafe(shown.html) == []
        assert expected.selection.count in bar.message.value
    assert ".where(by=&#x27;length&#x27;, column=&#x27;base&#x27;" in bar.message.value.replace("&#39;", "&#x27;")
    bar.back.click()
    assert shown.plain[-1] == bundle(made) and bar.message.value == ""
    assert (bar.show.value, bar.sort.value, bar.text.value, bar.column.value) == ("all", "", "", "mine")


def test_what_is_saved_holds_every_row_whatever_is_shown(shown: Shown) -> None:
    bar = opened(compared(), shown)
    for show in ("better", "worse", "different", "same", "cut"):
        bar.show.value = show
        assert all(shown.html.count(f">prompt {number} of 12") == 1 for number in range(1, 13))
        assert WIDGET_VIEW not in shown.plain[-1]
    bar.text.value = "no such words"
    assert "0 of 12 rows" in shown.html and "the other 12 rows" in shown.html


@settings(deadline=None, max_examples=40)
@given(
    show=st.sampled_from(["all", "better", "worse", "different", "same", "cut"]),
    sort=st.sampled_from(["", "change", "lowest", "highest"]), text=st.sampled_from(["", "two three", "question 1"]),
    column=st.sampled_from(["base", "mine", "other"]), against=st.sampled_from(["base", "mine", "other"]),
)  # fmt: skip
def test_the_code_that_the_bar_says_gives_the_rows_that_it_shows(
    show: str, sort: str, text: str, column: str, against: str
) -> None:
    made, shown = compared(("base", "mine", "other")), Shown()
    bar = opened(made, shown)
    for name, value in (("show", show), ("sort", sort), ("text", text), ("column", column), ("against", against)):
        getattr(bar, name).value = value
    if column == against and bar.wanted.of_two:
        assert f"{column} cannot be held against itself" in bar.message.value
        return
    wanted = bar.wanted
    asked = made.where(wanted.show, by=wanted.by, column=wanted.column, against=wanted.against, text=wanted.text,
                       sort=wanted.sort)  # fmt: skip
    assert (asked.selection is None) == (bar.message.value == "")
    if asked.selection is not None:
        assert asked.selection.line in shown.plain[-1]["text/plain"].replace("\n", " ")


def test_lists_that_have_nothing_to_choose_are_left_out(shown: Shown) -> None:
    assert labels(opened(compared(), shown)) == ["Rows", "Measure", "Order", "Column", "Containing"]
    assert labels(opened(compared(("base", "a", "b")), shown))[-2:] == ["Against", "Containing"]
    alone = opened(compared(("base",)), shown)
    assert labels(alone) == ["Rows", "Measure", "Order", "Containing"]
    assert [value for _, value in alone.show.options] == ["all", "cut"]
    assert [value for _, value in alone.sort.options] == ["", "lowest", "highest"]
    alone.sort.value = "highest"
    assert "the highest Token F1 of base first" in shown.plain[-1]["text/plain"]
    bare = opened(compared(measures=()), shown)
    assert labels(bare) == ["Rows", "Column", "Containing"]
    assert [value for _, value in bare.show.options] == ["all", "different", "same", "cut"]


def test_the_box_waits_for_the_whole_word_and_every_input_has_a_label(shown: Shown) -> None:
    bar = opened(compared(("base", "a", "b")), shown)
    assert bar.text.continuous_update is False
    assert all(one.description and one.value is not None for one in inputs(bar))


def test_a_line_s_wish_stands_in_the_bar(shown: Shown) -> None:
    bar = opened(compared(), shown, Wanted("worse", by="Token F1", sort="change"))
    assert (bar.show.value, bar.by.value, bar.sort.value) == ("worse", "token-f1", "change")
    assert "mine worse than base by Token F1, the largest change first" in shown.html
    bar = opened(compared(("base",)), shown, Wanted(text="question 7"))
    assert "1 of 12 rows" in shown.html


def test_a_wish_that_the_bar_has_no_choice_for_is_said_and_all_rows_are_shown(shown: Shown) -> None:
    made = compared(measures=())
    bar = opened(made, shown, Wanted("worse", by="rouge-l"))
    assert "There are no figures of base, mine" in bar.message.value
    assert shown.plain[-1] == bundle(made) and bar.show.value == "all"


def test_a_column_without_figures_is_said_and_the_others_can_be_sorted_by(shown: Shown) -> None:
    made = compared()
    assert made.measures is not None
    found = made.measures.measures[0]
    part = replace(made.measures, measures=(replace(found, by_row={"base": found.by_row["base"]}),))
    bar = opened(replace(made, measures=part), shown)
    bar.sort.value = "lowest"
    assert "There are no figures of mine to go by" in bar.message.value
    bar.column.value = "base"
    assert "the lowest Token F1 of base first" in shown.html


def test_hostile_names_stay_text(shown: Shown) -> None:
    made = compared(("base", HOSTILE))
    bar = opened(made, shown)
    bar.show.value = "different"
    bar.text.value = HOSTILE
    assert unsafe(bar.message.value) == [] and unsafe(shown.html) == []


def test_elsewhere_than_in_a_notebook_the_rows_show_themselves() -> None:
    made = compared()
    assert made.browse() is made
    assert "mine worse than base by Token F1" in str(browsed(made, Wanted("worse")))


def test_a_vote_under_way_is_not_spoilt(tmp_path: Path) -> None:
    made = compared()
    poll = Poll(made, tmp_path / "votes.jsonl")
    with pytest.raises(LoraError, match="A blind vote on it is under way"):
        replace(made, votes=poll.votes).browse()


def test_a_vote_that_is_over_does_not_stand_before_the_rows(
    tmp_path: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "in_notebook", lambda: True)
    monkeypatch.setattr(browsing, "Place", lambda: shown.place)
    made = compared()
    poll = Poll(made, tmp_path / "votes.jsonl")
    poll.reveal()
    voted = replace(made, votes=poll.votes)
    assert voted.browse() is voted
    assert "prompt 1 of 12" in shown.html and shown.is_open
    assert bundle(voted)["text/plain"].startswith("comparison of base, mine: it stands above")
    assert "0 of 9 votes" in bundle(voted)["text/html"], "afterwards the vote is shown again"


def test_the_bar_in_a_kernel_leaves_the_rows_and_no_widget_to_read_them_by(tmp_path: Path) -> None:
    with Kernel(tmp_path) as kernel:
        made = kernel.run(CELL)
        assert made.status == "ok", made.everything
        kinds = [sorted(one) for one in made.displays.values()]
        assert kinds == [sorted([WIDGET_VIEW, "text/plain"]), ["text/html", "text/plain"]], "the bar, then the rows"
        assert made.text == "comparison of base, mine: it stands above, and its rows are in .rows"
        page, seen = Page(kernel, made.messages), []
        show = page.find(description="Rows")
        page.send(show, {"method": "update", "state": {"index": 2}}, seen.append)
        [changed] = seen
        assert "2 of 4 rows: mine worse than base by Exact match" in changed["data"]["text/html"]
        box = page.find(description="Containing")
        page.send(box, {"method": "update", "state": {"value": "question 2"}}, seen.append)
        assert "1 of 4 rows" in seen[-1]["data"]["text/html"] and "the other 3 rows" in seen[-1]["data"]["text/html"]
        again = kernel.run("c")
        assert "prompt 4 of 4" in again.html[-1] and "of 4 rows" not in again.html[-1]
