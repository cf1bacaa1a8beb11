"""What a comparison looks like: complete when saved, small enough to open, and with its numbers above the rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from lora_magic.display import bundle, text
from lora_magic.display.comparison import comparison_html, newest_html
from lora_magic.display.comparison_live import LiveComparison
from lora_magic.display.safe import unsafe
from lora_magic.errors import LoraError
from lora_magic.evaluation.intervals import Bootstrap
from lora_magic.evaluation.measures import Scored, measure
from lora_magic.results import Comparison, ComparisonRow, Forgetting
from tests.display.conftest import HOSTILE, Clock, Screen
from tests.evaluation.made import comparison


def seen(html: str) -> str:
    return " ".join(BeautifulSoup(html, "html.parser").get_text(" ").split())


def test_two_hundred_rows_of_three_columns_are_whole_and_open_fast() -> None:
    made = comparison(200, 200, ("base", "base+system", "mine"))
    html = comparison_html(made)
    assert len(html.encode()) < 1_500_000
    assert unsafe(html) == []
    shown = seen(html)
    for number in (0, 7, 8, 150, 199):
        for answer in made.rows[number].outputs.values():
            assert answer[:60] in shown and answer[-60:] in shown
    assert "show all: 192 more rows" in shown


def test_answers_that_no_page_holds_are_shortened_and_say_so() -> None:
    made = comparison(200, 2000, ("base", "one", "two"))
    html = comparison_html(made)
    assert len(html.encode()) < 1_500_000
    assert unsafe(html) == []
    lengths = {f"of {len(answer):,} characters" for row in made.rows for answer in row.outputs.values()}
    shown = seen(html)
    assert all(length in shown for length in lengths)
    assert all(row.prompt in shown for row in made.rows)


def test_an_answer_that_is_the_base_s_is_not_told_twice_by_marks() -> None:
    row = ComparisonRow("q", None, {"base": "the same fox", "a": "the same fox", "b": "the same hen"}, ("a",))
    html = comparison_html(Comparison("m", ("base", "a", "b"), (row,), "one"))
    assert "a · same as base · cut at the token limit" in seen(html)
    assert "b · same" not in seen(html)
    assert ">hen</mark>" in html


def test_what_columns_were_asked_with_and_what_went_wrong_stand_in_the_header() -> None:
    made = comparison(about={"base+2-shot": "after training rows 4, 7 as examples"}, notes=("interrupted: 12 of 60",))
    for shown in (seen(comparison_html(made)), text(made)):
        assert "base+2-shot after training rows 4, 7 as examples" in shown
        assert "interrupted: 12 of 60" in shown


def test_an_interrupted_comparison_counts_its_rows_among_all() -> None:
    made = comparison(3, asked=60)
    assert made.interrupted and not comparison(3).interrupted
    assert "prompt 3 of 60" in seen(comparison_html(made))


def test_numbers_stand_above_the_rows() -> None:
    made = comparison(12)
    scored = [Scored(row.prompt, row.reference, row.outputs) for row in made.rows]
    measures = measure(scored, made.adapters, baseline="base")
    with_numbers = Comparison(made.model, made.adapters, made.rows, made.source, measures=measures)
    for shown in (seen(comparison_html(with_numbers)), text(with_numbers)):
        title = measures.measures[0].title
        assert shown.index(title) < shown.index("Prompt 0?")
    assert unsafe(comparison_html(with_numbers)) == []


def forgotten(kept: int, right: int = 31, lost: int | None = None) -> Forgetting:
    shares = [1.0] * kept + [0.0] * (right - kept)
    rows = tuple(
        ComparisonRow(f"Lost {i}?", "yes", {"base": "yes", "mine": HOSTILE})
        for i in range(right - kept if lost is None else lost)
    )
    difference = Bootstrap().difference([1.0] * right, shares, top=1.0)
    return Forgetting("40 general prompts", 40, right, {"mine": kept}, {"mine": difference}, rows)


def test_what_was_forgotten_is_a_line_an_adapter_with_an_interval() -> None:
    made = comparison(2, forgetting=forgotten(19))
    for shown in (seen(comparison_html(made)), text(made)):
        assert "40 general prompts: base right on 31 of 40" in shown
        assert "mine still right on 19 of those (−12): worse on 31 rows, 95% (−" in shown
        assert "Lost 0?" in shown
    assert unsafe(comparison_html(made)) == []


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (forgotten(31), "mine still right on 31 of those (none lost)"),
        (forgotten(4, 5), "mine still right on 4 of those (−1): 5 rows cannot tell"),
        (forgotten(30), "mine still right on 30 of those (−1): no difference to be seen on 31 rows (−"),
        (forgotten(0, 0), "base right on 0 of 40, so nothing can be told"),
    ],
)
def test_what_cannot_be_told_of_forgetting_is_not_told(result: Forgetting, said: str) -> None:
    made = comparison(2, forgetting=result)
    assert said in seen(comparison_html(made)) and said in text(made)


def test_hostile_text_is_text_in_every_part() -> None:
    rows = (ComparisonRow(HOSTILE, HOSTILE, {"base": HOSTILE * 9, HOSTILE: f"a b {HOSTILE}"}, (HOSTILE,)),) * 12
    made = Comparison(
        HOSTILE, ("base", HOSTILE), rows, HOSTILE, ((HOSTILE, HOSTILE),), {HOSTILE: 1.0}, {HOSTILE: HOSTILE},
        forgetting=forgotten(3), notes=(HOSTILE,), asked=90,
    )  # fmt: skip
    html = bundle(made)["text/html"]
    assert unsafe(html) == [] and unsafe(newest_html(made)) == []
    assert "\x1b" not in html + text(made) and "\u202e" not in html + text(made)


def test_rows_appear_as_they_are_answered_at_most_twice_a_second() -> None:
    clock = Clock()
    screen = Screen(clock)
    with LiveComparison("Comparing", screen, clock) as live, live.phase("answers"):
        for number in range(40):
            clock.now += 0.1
            live.update(number / 40, f"base: {number} of 40")
            row = ComparisonRow(f"Prompt {number}?", None, {"base": f"answer {number}"})
            live.show(Comparison("demo", ("base", "mine"), (row,), "40 rows"))
    pictures = [picture["text/html"] for picture in screen.pictures]
    assert len(pictures) <= 2 + 4.0 / 0.5
    live_ones = [html for html in pictures if "answer" in html and "Prompt" in html]
    assert len(live_ones) >= 6
    assert all(unsafe(html) == [] for html in pictures)
    assert "Prompt" not in pictures[-1] and "answers 4.0 s" in seen(pictures[-1])


def test_a_row_under_way_shows_the_columns_that_have_answered() -> None:
    row = ComparisonRow("Why?", None, {"base": "because"})
    shown = seen(newest_html(Comparison("demo", ("base", "mine"), (row,), "1 row")))
    assert "because" in shown and "mine" not in shown
    assert newest_html(Comparison("demo", ("base",), (), "no row")) == ""


def test_the_json_is_the_whole_comparison() -> None:
    scored = [Scored(row.prompt, row.reference, row.outputs) for row in comparison(4).rows]
    measures = measure(scored, ("base", "mine"), baseline="base")
    made = comparison(4, forgetting=forgotten(4, 5), measures=measures, about={"mine": "as it is"})
    found = json.loads(made.to_json())
    assert (found["format"], found["version"]) == ("lora-magic", 1)
    assert [row["outputs"] for row in found["rows"]] == [dict(row.outputs) for row in made.rows]
    assert found["measures"]["measures"][0]["values"]["base"]["rows"] == 4
    assert found["measures"]["measures"][0]["values"]["base"]["low"] is None, "four rows have no interval"
    assert found["forgetting"]["kept"] == {"mine": 4}


def test_llm_comparator_opens_the_file(tmp_path: Path) -> None:
    made = comparison(3, names=("base", "base+system", "mine"))
    written = made.to_json(tmp_path / "to" / "compared.json", format="llm-comparator")
    found = json.loads((tmp_path / "to" / "compared.json").read_text())
    assert found == json.loads(written)
    assert set(found) == {"metadata", "models", "examples"}
    assert set(found["metadata"]) == {"source_path", "custom_fields_schema"}
    assert found["models"] == [{"name": "mine"}, {"name": "base"}]
    one, names = found["examples"][0], {field["name"] for field in found["metadata"]["custom_fields_schema"]}
    assert (one["input_text"], one["output_text_b"]) == ("Prompt 0?", made.rows[0].outputs["base"])
    assert (one["tags"], one["score"], one["individual_rater_scores"]) == ([], None, [])
    assert set(one["custom_fields"]) == names
    chosen = json.loads(made.to_json(format="llm-comparator", columns=("base+system", "mine")))
    assert chosen["models"] == [{"name": "base+system"}, {"name": "mine"}]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"format": "csv"}, 'no format "csv"'),
        ({"format": "llm-comparator", "columns": ("base", "mime")}, 'no column "mime".*"mine"'),
        ({"format": "llm-comparator", "columns": ("base",)}, "shows two columns, not .*Such as"),
        ({"format": "llm-comparator", "columns": ("base", "base")}, "shows two columns, not .*Such as"),
        ({"format": "llm-comparator", "columns": "base"}, "shows two columns, not 'base'"),
    ],
)
def test_what_cannot_be_written_is_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(LoraError, match=words):
        comparison(2).to_json(**how)
    with pytest.raises(LoraError, match="shows two columns"):
        comparison(2, names=("base",)).to_json(format="llm-comparator")
