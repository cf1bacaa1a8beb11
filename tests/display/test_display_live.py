"""The picture of a run while it goes and frozen at its end."""

from __future__ import annotations

import base64
import io
import re
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_magic.display.live import NotebookPicture, TerminalPicture, picture
from lora_magic.display.pace import Pace
from lora_magic.events import Started, Stepped


class Ticking:
    """A clock for `Pace` that redraws of a given cost move on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def play(listen: Any, events: Any, clock: Any, step_seconds: float = 1.0) -> None:
    for event in events:
        listen(event)
        if isinstance(event, Stepped):
            clock.now += step_seconds


@settings(max_examples=60, deadline=None)
@given(
    cost=st.floats(0.001, 0.8),
    step=st.floats(0.005, 5.0),
    steps=st.integers(50, 1500),
)
def test_redraws_cost_less_than_one_per_cent(cost: float, step: float, steps: int) -> None:
    clock = Ticking()
    pace = Pace(clock)
    drawn, last = 0, float("-inf")
    for _ in range(steps):
        clock.now += step
        if pace.due():
            assert clock.now - last >= 0.5
            with pace:
                clock.now += cost
            last = clock.now
            drawn += 1
    assert pace.spent == pytest.approx(drawn * cost)
    assert pace.spent <= 0.01 * clock.now or drawn <= 1


def test_the_first_redraws_teach_the_pace(events: Any, clock: Any, screen: Any) -> None:
    screen.cost = 0.02
    listen = NotebookPicture(screen, clock)
    began = clock.now
    play(listen, events(600), clock, 0.25)
    elapsed, before_the_end = clock.now - began, len(screen.pictures) - 1
    assert before_the_end * 0.02 < 0.01 * elapsed
    assert before_the_end > 40
    assert before_the_end <= 2 * elapsed


def test_dear_redraws_become_rare(events: Any, clock: Any, screen: Any) -> None:
    screen.cost = 1.5
    listen = NotebookPicture(screen, clock)
    play(listen, events(600), clock, 1.0)
    assert 2 <= len(screen.pictures) - 1 <= 5


def test_it_shows_at_once_and_at_the_end(events: Any, clock: Any, screen: Any) -> None:
    listen = NotebookPicture(screen, clock)
    every = list(events(12))
    listen(every[0])
    assert "12 steps planned" in screen.last["text/plain"]
    for event in every[1:]:
        listen(event)
    assert len(screen.pictures) == 2
    assert "done · 12 steps" in screen.last["text/html"]


def test_while_it_runs_it_tells_what_a_user_asks(events: Any, clock: Any, screen: Any) -> None:
    listen = NotebookPicture(screen, clock)
    play(listen, list(events(100))[:60], clock, 30.0)
    shown = screen.last["text/html"]
    for said in (
        "float16 (T4: no bfloat16)",
        "of 100",
        " left",
        "3.4 GiB",
        "1,935",
        "held-out loss",
        "2.613",
    ):
        assert said in shown
    assert "data:image/png;base64," in shown


@pytest.mark.parametrize(("reason", "said"), [("interrupted", "interrupted"), ("failed", "failed")])
def test_a_run_cut_short_freezes_with_its_curve_and_what_to_do(
    reason: str, said: str, events: Any, clock: Any, screen: Any
) -> None:
    listen = NotebookPicture(screen, clock)
    play(listen, events(60, steps=23, reason=reason, text="go on with --resume"), clock)
    shown = screen.last["text/html"]
    assert f"{said} · 23 of 60 steps" in shown
    assert "next: go on with --resume" in shown
    assert "2.613 → " in shown
    png = base64.b64decode(re.findall(r'base64,([^"]+)"', shown)[0])
    assert Image.open(io.BytesIO(png)).size == (1120, 460)
    assert f"{said} · 23 of 60 steps" in screen.last["text/plain"]


def test_a_run_that_fails_before_its_first_step_still_says_why(events: Any, screen: Any, clock: Any) -> None:
    every = list(events(5, reason="failed"))
    listen = NotebookPicture(screen, clock)
    listen(every[0])
    listen(every[-1])
    assert "failed · 0 of 5 steps" in screen.last["text/html"]
    assert "<img" not in screen.last["text/html"]


def test_losses_that_are_not_numbers_do_not_stop_the_picture(screen: Any, clock: Any) -> None:
    listen = NotebookPicture(screen, clock)
    listen(Started("a", "m", (), 10, 1.0, 8, 2, 10, 100))
    for step, loss in enumerate([1.0, float("nan"), float("inf"), 0.5], 1):
        clock.now += 60
        listen(Stepped(step, loss, 1e-4, None, 5.0, 1.0, float(step), 0.1))
    assert "nan" in screen.last["text/html"]


def test_without_matplotlib_the_end_is_drawn_all_the_same(
    events: Any, clock: Any, screen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    play(NotebookPicture(screen, clock), events(12), clock)
    assert "data:image/png;base64," in screen.last["text/html"]


def test_a_terminal_gets_a_few_lines_and_the_curve(events: Any, clock: Any) -> None:
    stream = io.StringIO()
    play(TerminalPicture(stream, clock, width=70), events(600), clock, 1.0)
    lines = stream.getvalue().splitlines()
    assert 30 <= len(lines) <= 140
    assert "step 300 of 600" in stream.getvalue()
    assert "held-out" in stream.getvalue()
    assert "tokens/s" in stream.getvalue()
    assert "next: support" in lines[-1]
    assert "\x1b" not in stream.getvalue()


def test_outside_a_notebook_the_picture_is_text() -> None:
    assert isinstance(picture(), TerminalPicture)
