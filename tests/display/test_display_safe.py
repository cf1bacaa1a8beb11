"""Whatever text comes from users, data and models is shown as text, in HTML that survives the sanitiser."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lora_magic.display import bundle, text
from lora_magic.display.live import NotebookPicture
from lora_magic.display.progress import Progress
from lora_magic.display.safe import block, html_text, inline, plain, unsafe
from lora_magic.display.shown import mark_shown

NAMES = ["load", "train", "comparison", "merge", "status", "nothing"]
ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


def text_of(fragment: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", fragment))


@pytest.mark.parametrize("name", NAMES)
def test_every_view_of_hostile_text_stays_in_the_subset(name: str, results: Any, hostile: str) -> None:
    shown = bundle(results(hostile)[name])["text/html"]
    assert unsafe(shown) == []
    assert "<script>alert(1)</script>" in text_of(shown)
    assert "javascript:alert(1)" in text_of(shown)
    assert "$\\LaTeX$" in text_of(shown)
    assert "**bold**" in text_of(shown)
    assert "␛[31mred" in text_of(shown)
    assert "⟨U+202E⟩ltr" in text_of(shown)


@pytest.mark.parametrize("name", NAMES)
def test_text_twins_hold_no_control_characters(name: str, results: Any, hostile: str) -> None:
    shown = text(results(hostile)[name])
    assert not [mark for mark in shown if mark != "\n" and unicodedata.category(mark) in ("Cc", "Cs")]
    assert not set(shown) & set("\u202e\u2066\u200f")


def test_live_and_compact_and_progress_views_of_hostile_text(
    events: Any, results: Any, hostile: str, screen: Any, clock: Any
) -> None:
    listen = NotebookPicture(screen, clock)
    for event in events(text=hostile, reason="failed"):
        clock.now += 30
        listen(event)
    with Progress(hostile, screen, clock) as progress, progress.phase(hostile):
        clock.now += 1
        progress.update(0.4, hostile)
    train = results(hostile)["train"]
    mark_shown(train)
    screen(bundle(train))
    assert len(screen.pictures) > 20
    for picture in screen.pictures:
        assert unsafe(picture["text/html"]) == []
        assert "<script>alert(1)</script>" in text_of(picture["text/html"])


@given(ANYTHING)
@example("\nfirst line break stays")
@example("</pre></code><svg/onload=alert(1)>")
def test_any_text_is_shown_as_text(given_text: str) -> None:
    for shown in (inline(given_text), block(given_text)):
        assert unsafe(shown) == []
        shown.encode("utf-8")
    assert text_of(block("\n" + given_text)).startswith("\n\n")


@given(ANYTHING)
def test_plain_text_reaches_any_terminal(given_text: str) -> None:
    shown = plain(given_text)
    shown.encode("utf-8")
    assert all(mark == "\n" or mark >= " " for mark in shown)
    assert "\x7f" not in shown
    assert "\x9b" not in shown


def test_ordinary_text_is_left_alone() -> None:
    assert plain("naïve 日本語 👩‍🔬 a\nb") == "naïve 日本語 👩‍🔬 a\nb"
    assert html_text('a < b & "c"') == "a &lt; b &amp; &quot;c&quot;"


@pytest.mark.parametrize(
    "fragment",
    [
        "<script>x</script>",
        "<style>p{}</style>",
        "<svg></svg>",
        "<p>x</p>",
        '<a href="https://example.org">x</a>',
        '<div onclick="x()">x</div>',
        '<div class="x">x</div>',
        '<div style="color:var(--x)">x</div>',
        '<div style="position:fixed">x</div>',
        '<div style="gap:2px">x</div>',
        '<div style="background-color:url(x)">x</div>',
        '<img src="https://example.org/x.png" alt="x">',
        '<img src="data:image/svg+xml;base64,AAAA" alt="x">',
        "<div>costs $5 and $6</div>",
        "<div>\\(x\\)</div>",
        "<div>x",
        "<b>x</div>",
        "<!-- x -->",
        "<div>\u202ex</div>",
    ],
)
def test_the_check_finds_what_would_not_survive(fragment: str) -> None:
    assert unsafe(fragment)
