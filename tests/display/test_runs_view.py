"""The views of recorded runs: what the table says, what the picture shows, whatever the runs are called."""

from __future__ import annotations

import html
import io
import math
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from wcwidth import wcswidth

from lora_magic.display import bundle, text
from lora_magic.display.runs import ROWS, TEXT_ROWS, runs_text
from lora_magic.display.runs_picture import COLOURS, MOST, SYMBOLS, Curve, curves, frame, loss_ticks, runs_plot
from lora_magic.display.runs_settings import differences
from lora_magic.display.safe import unsafe
from lora_magic.results import Runs, RunSummary

FALLING = tuple((step, 0.6 + 2 * math.exp(-step / 20)) for step in range(1, 101))
HELD_OUT = tuple((step, 0.7 + 2 * math.exp(-step / 20)) for step in range(0, 101, 20))
NEVER = st.floats(allow_nan=True, allow_infinity=True)


def run(name: str = "support", **fields: Any) -> RunSummary:
    given: dict[str, Any] = {
        "began": datetime(2026, 11, 22, 7, 48, tzinfo=UTC), "model": "demo", "data": "tickets.jsonl",
        "config": {"rank": 8, "alpha": 16.0, "lr": 2e-4}, "losses": FALLING, "eval_losses": HELD_OUT, "step": 100,
        "planned_steps": 100, "seconds": 61.0, "reason": "completed", "adapter_path": Path("a"),
    }  # fmt: skip
    return RunSummary(name, Path("lora_runs") / name, **{**given, **fields})


def runs(*listed: RunSummary, notes: tuple[str, ...] = ()) -> Runs:
    return Runs(listed, Path("/home/me/lora_runs"), notes)


def with_settings(*configs: dict[str, Any]) -> list[RunSummary]:
    return [run(str(number), config=config) for number, config in enumerate(configs)]


def text_of(fragment: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", fragment)).replace("\u00a0", " ")


def test_a_row_says_what_was_tried_and_how_it_went() -> None:
    stopped = run("second", config={"rank": 16, "alpha": 32.0, "lr": 2e-4}, reason="interrupted", planned_steps=140)
    for shown in (text_of(bundle(runs(run(), stopped))["text/html"]), runs_text(runs(run(), stopped), 130)):
        words = " ".join(shown.split())
        assert "2 runs in /home/me/lora_runs model demo" in words
        assert re.search(r"● +support +22 Nov 07:48 +rank 8 +100 +0.6135 +0.7135 at 100 +completed in 1 min", words)
        assert re.search(r"■ +second +22 Nov 07:48 +rank 16 +100 of 140 .* interrupted in 1 min", words)
        assert "lr" not in words and "alpha" not in words


def test_models_and_data_get_columns_where_they_differ() -> None:
    shown = runs_text(runs(run(), run("other", model="llama", data="rows.csv")), 140)
    assert "model" in shown.split("\n")[2]
    assert "llama" in shown and "rows.csv" in shown


def test_why_a_run_failed_stands_under_the_table() -> None:
    failed = run("hot", reason="failed", message="The loss is not a number any more.", adapter_path=None)
    for shown in bundle(runs(failed))["text/plain"], text_of(bundle(runs(failed))["text/html"]):
        assert "hot failed: The loss is not a number any more." in shown


def test_years_are_said_where_there_are_several() -> None:
    older = run("older", began=datetime(2025, 1, 2, 3, 4, tzinfo=UTC))
    assert "2 Jan 2025 03:04" in runs_text(runs(run(), older), 140)
    assert "2 Jan 03:04" in runs_text(runs(older), 140)


@pytest.mark.parametrize(
    ("configs", "own", "usual"),
    [
        ([{"rank": 8}, {"rank": 8}], ("", ""), ()),
        ([{"rank": 8, "alpha": 16.0}, {"rank": 16, "alpha": 32.0}], ("rank 8", "rank 16"), ()),
        ([{"rank": 8, "alpha": 16.0}, {"rank": 8, "alpha": 8.0}], ("alpha 16", "alpha 8"), ()),
        ([{"lr": 2e-4}, {"lr": 0.0015}, {"lr": 1e-05}], ("lr 2e-4", "lr 0.0015", "lr 1e-5"), ()),
        ([{"max_steps": None}, {"max_steps": 40}], ("", "max-steps 40"), ()),
        ([{"a": True, "b": [1, 2]}, {"a": False, "b": [3]}], ("a yes · b 1,2", "a no · b 3"), ()),
        ([{"rank": 8}, {}, {"rank": 4}], ("rank 8", "", "rank 4"), ()),
        ([{"name": "x", "data": "y"}, {"name": "z", "data": "w"}], ("", ""), ()),
        (
            [{"data": "x", "content_hash": "a" * 64}, {"data": "x", "content_hash": "b" * 64, "given": ["lr"]}],
            ("content-hash aaaaaaaa", "content-hash bbbbbbbb"),
            (),
        ),
        ([{"data": "x", "content_hash": "a"}, {"data": "y", "content_hash": "b"}], ("", ""), ()),
        (
            [*[{"a": 1, "b": 1, "c": 1, "d": 1}] * 3, {"a": 2, "b": 1, "c": 1, "d": 1}, {"a": 1, "b": 2, "c": 3}],
            ("", "", "", "a 2", "b 2 · c 3 · d none"),
            ("a 1", "b 1", "c 1", "d 1"),
        ),
    ],
)
def test_only_what_differs_is_said(configs: list[dict[str, Any]], own: tuple[str, ...], usual: tuple[str, ...]) -> None:
    assert differences(with_settings(*configs)) == (own, usual)


def test_what_most_runs_have_stands_above_the_table() -> None:
    usual = {"rank": 8, "lr": 0.01, "method": "lora", "dropout": 0.0}
    listed = with_settings(usual, usual, usual, {"rank": 4, "lr": 0.02, "method": "dora", "dropout": 0.5})
    assert "unless said rank 8, lr 0.01, method lora, dropout 0" in runs_text(runs(*listed), 140)


@pytest.mark.parametrize("width", [48, 80, 110, 140])
def test_the_text_fits_the_terminal_and_holds_no_control_characters(width: int, hostile: str) -> None:
    for words in (hostile, "support", "日本語のとても長い名前" * 6, "unbroken" * 30):
        listed = [
            run(words, model=words, data=words, config={"system": words, words: 1}),
            run("other", reason="failed", message=words, notes=(words,)),
            run(words, losses=(), eval_losses=(), began=None, config={}),
        ]
        shown = runs_text(runs(*listed, notes=(words,)), width)
        lengths = [wcswidth(part) for part in shown.split("\n")]
        assert min(lengths) >= 0 and max(lengths) <= width
        assert not [mark for mark in shown if mark != "\n" and unicodedata.category(mark) in ("Cc", "Cs")]


def test_hostile_names_models_data_and_settings_are_shown_as_text(hostile: str) -> None:
    listed = [run(hostile, model=hostile, data=hostile, config={hostile: hostile}, notes=(hostile,)), run()]
    shown = bundle(runs(*listed, notes=(hostile,)))["text/html"]
    assert unsafe(shown) == []
    assert text_of(shown).count("<script>alert(1)</script>") >= 4
    assert "⟨U+202E⟩ltr" in text_of(shown)
    assert unsafe(bundle(runs(notes=(hostile,)))["text/html"]) == []


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec=None, exclude_categories=()), min_size=1, max_size=40))
def test_any_name_can_be_shown(name: str) -> None:
    shown = bundle(runs(run(name)))
    assert unsafe(shown["text/html"]) == []
    assert shown["image/png"].startswith(b"\x89PNG")


def test_no_runs_yet_says_how_to_make_one() -> None:
    shown = bundle(runs())
    assert "image/png" not in shown and "<img" not in shown["text/html"]
    for said in shown["text/plain"], text_of(shown["text/html"]):
        assert "no runs in /home/me/lora_runs yet. %lora_train" in said


def test_many_runs_fold() -> None:
    many = runs(*(run(f"run-{number}") for number in range(50)))
    shown = bundle(many)["text/html"]
    assert f"{50 - ROWS} more runs" in shown
    assert shown.index(f"run-{ROWS - 1}<") < shown.index("<img") < shown.index("<details>") < shown.index("run-49<")
    assert f"… and {50 - TEXT_ROWS} more runs" in text(many)
    assert "run-29" in text(many) and "run-30" not in text(many)


def test_the_picture_is_small_transparent_and_has_every_runs_colour() -> None:
    listed = [
        run(str(n), losses=tuple((step, loss + n / 5) for step, loss in FALLING), eval_losses=HELD_OUT[: n % 3])
        for n in range(MOST)
    ]
    png = bundle(runs(*listed))["image/png"]
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    assert image.width == 1120
    assert len(png) < 60_000
    assert image.getpixel((2, 2)) == (0, 0, 0, 0) or image.getpixel((2, 2))[3] == 0  # type: ignore[index]
    drawn = {pixel[:3] for _, pixel in image.getcolors(1 << 20) or [] if pixel[3] > 230}  # type: ignore[index]
    for colour in COLOURS:
        assert any(max(abs(a - b) for a, b in zip(colour, seen, strict=True)) < 12 for seen in drawn), colour


def luminance(colour: tuple[int, int, int]) -> float:
    parts = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(part * weight for part, weight in zip(parts, (0.2126, 0.7152, 0.0722), strict=True))


def test_every_colour_reads_on_white_and_on_near_black() -> None:
    for colour in COLOURS:
        assert 1.05 / (luminance(colour) + 0.05) >= 3
        assert (luminance(colour) + 0.05) / (luminance((17, 17, 17)) + 0.05) >= 3
    assert len(set(SYMBOLS)) == len(set(COLOURS)) == MOST == 6


def test_the_first_six_runs_that_have_a_curve_are_drawn() -> None:
    listed = [run("empty", losses=(), eval_losses=()), run("nan", losses=((1, math.nan),), eval_losses=())]
    listed += [run(str(number)) for number in range(8)]
    assert list(curves(listed)) == [2, 3, 4, 5, 6, 7]
    plain = runs_text(runs(*listed), 80)
    assert all(f"{symbol}   {number} " in plain for number, symbol in enumerate(SYMBOLS))
    assert "image/png" not in bundle(runs(*listed[:2]))


def test_a_run_that_explodes_does_not_flatten_the_others() -> None:
    exploded = run("hot", losses=tuple((step, 2.0**step) for step in range(1, 60)), eval_losses=())
    listed = list(curves([run(), exploded, run("third")]).values())
    assert frame(listed).high < 6
    assert "■" in runs_plot(listed, 80).split("\n")[0]


def test_losses_over_orders_of_magnitude_get_a_logarithmic_scale() -> None:
    deep = tuple((step, 10 * math.exp(-step / 8)) for step in range(1, 101))
    within = frame(list(curves([run(losses=deep)]).values()))
    assert within.log and not frame(list(curves([run()]).values())).log
    ticks = loss_ticks(within)
    assert len(ticks) >= 3 and ticks == sorted(ticks)
    assert bundle(runs(run(losses=deep)))["image/png"]


def test_runs_without_held_out_losses_carry_their_symbol_on_the_training_curve() -> None:
    plot = runs_plot(list(curves([run(), run("b", eval_losses=())]).values()), 80)
    assert sum(row.count("■") for row in plot.split("\n")[:-1]) >= 4


def test_a_lower_curve_is_drawn_lower() -> None:
    low, high = Curve("low", [(0, 1.0), (100, 1.0)], [(100, 1.0)]), Curve("high", [(0, 2.0), (100, 2.0)], [(100, 2.0)])
    rows = runs_plot([low, high], 60).split("\n")
    assert next(i for i, row in enumerate(rows) if "■" in row) < next(i for i, row in enumerate(rows) if "●" in row)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.lists(NEVER, max_size=12), st.lists(NEVER, max_size=4)), min_size=1, max_size=7),
    st.sampled_from([1, 2**53 // 100]),
)
def test_any_losses_can_be_shown(losses: list[tuple[list[float], list[float]]], stride: int) -> None:
    listed = [
        run(
            str(number),
            losses=tuple((stride * (place + 1), loss) for place, loss in enumerate(training)),
            eval_losses=tuple((stride * place, loss) for place, loss in enumerate(held_out)),
            step=stride * 12,
        )
        for number, (training, held_out) in enumerate(losses)
    ]
    lengths = [wcswidth(part) for part in runs_text(runs(*listed), 80).split("\n")]
    assert min(lengths) >= 0 and max(lengths) <= 80


@pytest.mark.parametrize(
    "losses", [[1e30, -1e30], [5e-324, 1.0], [0.0], [-1.0, -1.0], [1e-12, 1e-11], [1e29, 1e-12], [0.0, 1e29]]
)
def test_extreme_losses_can_be_drawn(losses: list[float]) -> None:
    shown = bundle(runs(run(losses=tuple(enumerate(losses, 1)), eval_losses=()), run("usual")))
    assert unsafe(shown["text/html"]) == [] and shown["image/png"]
