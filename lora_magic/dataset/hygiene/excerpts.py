"""A short piece of a row's text that shows where the trouble is."""

from __future__ import annotations

LONGEST = 120
_MARKS = {"\n": "↵", "\t": "→", "\x1b": "␛"}


def excerpt(text: str, start: int = 0, end: int | None = None) -> str:
    """The text around one place on one line of at most 120 characters, the place itself in « ».

    Args:
        text: a prompt or an answer.
        start: where the trouble begins.
        end: where it ends; None where the whole text is the trouble, which is then shown from its start unmarked.
    """
    if end is None:
        return _clipped(_readable(text[: LONGEST + 1]), len(text) > LONGEST)
    trouble = _readable(text[start : min(end, start + 60)])
    room = LONGEST - len(trouble) - 4
    before = _readable(text[max(0, start - room // 2) : start])
    after = _readable(text[end : end + room - len(before)]) if end - start <= 60 else ""
    head = "…" if start > room // 2 else ""
    tail = "…" if end + len(after) < len(text) or end - start > 60 else ""
    return f"{head}{before}«{trouble}»{after}{tail}"


def _readable(text: str) -> str:
    """Control characters as signs one character wide, so that an excerpt keeps to one line."""
    return "".join(_MARKS.get(c) or (c if c.isprintable() else "\N{REPLACEMENT CHARACTER}") for c in text)


def _clipped(text: str, more: bool) -> str:
    return f"{text[: LONGEST - 1]}…" if more else text
