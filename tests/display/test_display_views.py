"""What the views say: comparison, curve, tables, progress, numbers."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from wcwidth import wcswidth

from lora_magic.display import bundle, shown, text, units
from lora_magic.display.comparison import comparison_text
from lora_magic.display.curve import curve_png
from lora_magic.display.live_curve import live_curve_png
from lora_magic.display.loaded import load_text, status_text
from lora_magic.display.merged import merge_text
from lora_magic.display.progress import Progress
from lora_magic.display.series import Series, smooth, thin, ticks
from lora_magic.display.tables import text_table, wrap
from lora_magic.display.text_curve import text_curve
from lora_magic.display.trained import train_text
from lora_magic.display.words import compare
from lora_magic.results import Comparison, ComparisonRow

TWINS = {
    "load": load_text,
    "train": train_text,
    "comparison": comparison_text,
    "merge": merge_text,
    "status": status_text,
    "nothing": status_text,
}
LOSSES = [(step, 2.0 - step / 100) for step in range(1, 101)]


def widths(shown: str) -> list[int]:
    return [wcswidth(part) for part in shown.split("\n")]


@pytest.mark.parametrize("width", [48, 80, 130])
@pytest.mark.parametrize("name", TWINS)
def test_text_twins_fit_the_terminal(name: str, width: int, results: Any, hostile: str) -> None:
    for words in (hostile, "support", "日本語のとても長いテキスト" * 6, "unbroken" * 30):
        lines = widths(TWINS[name](results(words)[name], width))
        assert min(lines) >= 0
        assert max(lines) <= width


def test_a_result_prints_as_its_text(results: Any) -> None:
    train = results("support")["train"]
    assert str(train) == text(train) == bundle(train)["text/plain"]


def test_columns_of_wide_characters_line_up() -> None:
    table = text_table(("a", "b"), [("日本", "x"), ("abcd", "y")], ruled=True, width=40)
    assert len(set(widths(table))) == 1


@given(st.text(max_size=200), st.integers(2, 30))
def test_wrapping_loses_no_word(words: str, width: int) -> None:
    joined = "".join("".join(part.split()) for part in wrap(words, width))
    assert joined == "".join(words.split())


def test_a_comparison_shows_eight_rows_and_folds_the_rest(results: Any) -> None:
    comparison = results("support")["comparison"]
    shown_html = bundle(comparison)["text/html"]
    assert "52 more rows" in shown_html
    assert shown_html.index("7 support") < shown_html.index("52 more rows") < shown_html.index("8 support")
    as_text = text(comparison)
    assert "and 52 more rows" in as_text
    assert "│ prompt" in as_text
    assert "│ reference" in as_text
    assert "│ base" in as_text


def compared(base: str, adapter: str, **more: Any) -> str:
    row = ComparisonRow("q", None, {"base": base, "a": adapter}, **more)
    return str(bundle(Comparison("m", ("base", "a"), (row,), "one prompt"))["text/html"])


def test_words_that_differ_from_the_base_are_marked() -> None:
    assert ">over a thousand</mark> years" in compared("Paris for many years.", "Paris for over a thousand years.")


def test_nothing_is_marked_where_nearly_everything_differs() -> None:
    assert "<mark" not in compared("the quick brown fox", "eine ganz andere Antwort")
    assert "<mark" not in compared("same words", "same words")


@given(st.text(max_size=80), st.text(max_size=80))
def test_marking_keeps_the_answer(base: str, answer: str) -> None:
    assert "".join(piece.text for piece in compare(base, answer)) == answer


def test_long_answers_fold_and_cut_ones_say_so() -> None:
    shown_html = compared("short", "word " * 400, cut=("a",))
    assert "<details>" in shown_html
    assert "more characters" in shown_html
    assert "cut at the token limit" in shown_html
    assert shown_html.count("word ") >= 399


@pytest.mark.parametrize("draw", [curve_png, live_curve_png])
def test_curves_are_small_transparent_pictures(draw: Any) -> None:
    many = [(step, 2.0 + (step % 7) / 10) for step in range(1, 10_001)]
    png = draw(Series(many, [(0, 2.6), (10_000, 2.1)], 10_000))
    image = Image.open(io.BytesIO(png))
    assert image.size == (1120, 460)
    assert len(png) < 60_000
    assert image.convert("RGBA").getpixel((2, 2))[3] == 0


@pytest.mark.parametrize("draw", [curve_png, live_curve_png])
def test_curves_show_the_losses_and_where_the_run_stopped(draw: Any) -> None:
    whole = draw(Series(LOSSES, (), 200))
    assert draw(Series(LOSSES, (), 200)) == whole
    assert draw(Series([(step, loss**2) for step, loss in LOSSES], (), 200)) != whole
    assert draw(Series(LOSSES, [(0, 2.2), (100, 1.2)], 200)) != whole
    assert draw(Series(LOSSES, (), 200, stopped_at=100)) != whole


@pytest.mark.parametrize("draw", [curve_png, live_curve_png])
def test_the_number_of_the_last_step_is_whole(draw: Any) -> None:
    image = Image.open(io.BytesIO(draw(Series([(1, 2.0), (2, 1.0)], [], 100_000)))).convert("RGBA")
    edge = image.getchannel("A").crop((image.width - 1, 0, image.width, image.height))
    assert edge.getextrema() == (0, 0), "no letter is cut at the edge"


@pytest.mark.parametrize("losses", [[], [(1, 1.5)], [(1, 1.5), (2, 1.5)], [(1, float("nan"))]])
@pytest.mark.parametrize("draw", [curve_png, live_curve_png, text_curve])
def test_curves_of_hardly_anything(losses: Any, draw: Any) -> None:
    draw(Series(losses, (), 10))


def test_the_text_curve_falls_with_the_loss() -> None:
    rows = text_curve(Series(LOSSES, [(0, 2.2), (100, 1.1)], 100), 60, 8).split("\n")
    assert max(map(len, rows)) <= 60
    assert "○" in rows[0]
    assert "○" in rows[7]
    assert rows[-1].endswith("step 100")


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=300))
def test_smoothing_stays_within_and_thinning_keeps_the_extremes(values: list[float]) -> None:
    points = list(enumerate(values))
    assert all(min(values) * 0.999 <= loss <= max(values) * 1.001 for _, loss in smooth(points))
    kept = [loss for _, loss in thin(points, 40)]
    assert (min(kept), max(kept)) == (min(values), max(values))
    assert len(kept) <= 44


@given(st.floats(-100, 100), st.floats(0.001, 1000))
def test_ticks_are_a_handful_inside_the_axis(low: float, span: float) -> None:
    found = ticks(low, low + span, 5)
    assert 1 <= len(found) <= 7
    assert all(low - span * 0.01 <= value <= low + span * 1.01 for value in found)


def test_the_first_repr_below_the_picture_is_short(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = SimpleNamespace(execution_count=7)
    monkeypatch.setattr("lora_magic.display.surface.shell", lambda: cell)
    train = results("support")["train"]
    shown.mark_shown(train)
    short, whole = bundle(train), bundle(train)
    assert "<img" not in short["text/html"]
    assert "2.613 → 0.7348" in short["text/plain"]
    assert "runs" in short["text/plain"]
    assert "<img" in whole["text/html"]
    assert whole["image/png"].startswith(b"\x89PNG")


def test_a_later_cell_gets_the_whole_picture(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = SimpleNamespace(execution_count=7)
    monkeypatch.setattr("lora_magic.display.surface.shell", lambda: cell)
    train = results("support")["train"]
    shown.mark_shown(train)
    assert "image/png" in bundle(replace(train))
    cell.execution_count = 8
    assert "image/png" in bundle(train)


def test_marking_keeps_no_result_alive(results: Any) -> None:
    made = results("support")["train"]
    shown.mark_shown(made)
    del made
    gc.collect()
    assert not shown._shown


def test_progress_shows_phases_and_freezes_into_a_line(screen: Any, clock: Any) -> None:
    with Progress("loading demo", screen, clock) as progress:
        with progress.phase("download"):
            for part in range(100):
                clock.now += 0.1
                progress.update(part / 100, f"{part / 10:.1f} of 10.0 GB")
        with progress.phase("imports"):
            assert "imports" in screen.last["text/plain"]
            clock.now += 6
    assert screen.last["text/plain"] == "loading demo · download 10 s, imports 6.0 s"
    assert len(screen.pictures) <= 2 * 10 + 3
    assert sum(" of 10.0 GB" in picture["text/plain"] for picture in screen.pictures) >= 15
    assert progress.seconds == (("download", pytest.approx(10.0)), ("imports", pytest.approx(6.0)))


def test_progress_of_a_failed_load_says_so(screen: Any, clock: Any) -> None:
    def load() -> None:
        with Progress("loading m", screen, clock) as progress, progress.phase("download"):
            clock.now += 2
            raise OSError("offline")

    with pytest.raises(OSError, match="offline"):
        load()
    assert screen.last["text/plain"] == "loading m · failed · download 2.0 s"


def test_other_threads_never_publish(screen: Any, clock: Any) -> None:
    with Progress("loading", screen, clock) as progress, progress.phase("download"):
        before = len(screen.pictures)
        worker = threading.Thread(target=progress.update, args=(0.5, "half"))
        clock.now += 10
        worker.start()
        worker.join()
        assert len(screen.pictures) == before
        progress.tick()
        assert "half" in screen.last["text/plain"]


def test_progress_in_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str], clock: Any) -> None:
    with Progress("loading", clock=clock) as progress, progress.phase("weights"):
        for part in range(10):
            clock.now += 1
            progress.update(part / 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "loading · weights"
    assert lines[-1] == "loading · weights 10 s"
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("shown_as", "expected"),
    [
        (units.count(3_700_000), "3.7 M"),
        (units.count(1_235_814_400), "1.2 B"),
        (units.count(950), "950"),
        (units.count(999_999), "1.0 M"),
        (units.size(2_411_725), "2.3 MiB"),
        (units.size(312), "312 B"),
        (units.size(1023 * 1024), "1.0 MiB"),
        (units.duration(72), "1 min 12 s"),
        (units.duration(0.42), "0.4 s"),
        (units.duration(7500), "2 h 05 min"),
        (units.duration(59.7), "1 min 00 s"),
        (units.loss(1.23456), "1.235"),
        (units.loss(0.012345), "0.01235"),
        (units.loss(float("nan")), "nan"),
        (units.loss(None), "–"),
        (units.scientific(2e-4), "2.0e-4"),
        (units.scientific(0.81), "0.81"),
        (units.scientific(0.0), "0"),
        (units.share(0.999), "99.9%"),
        (units.share(0.00377), "0.38%"),
        (units.share(1.0), "100%"),
    ],
)
def test_numbers_read_well(shown_as: str, expected: str) -> None:
    assert shown_as == expected


def test_importing_the_display_imports_nothing_heavy() -> None:
    names = "live, live_curve, curve, comparison, progress, trained, merged, loaded, shown"
    heavy = "'matplotlib', 'PIL', 'IPython', 'numpy', 'torch', 'tabulate', 'wcwidth'"
    code = f"import sys; from lora_magic.display import {names}; print([m for m in ({heavy}) if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
