"""A row of a comparison as a card: the prompt, and the answers beside each other where the page is wide.

All cards lie in one <pre>, which keeps MathJax off them and carries their style once: two hundred rows are a large
page, and a style on every answer would be most of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.display import theme, words
from lora_magic.display.safe import html_text
from lora_magic.results import ComparisonRow

BASE = "base"
_LONG = 420
_LONG_LINES = 10
_AROUND = f"{theme.BLOCK_CODE};white-space:normal"
_TEXT = "white-space:pre-wrap"
_MOST_IN_LINE = 5


@dataclass(frozen=True)
class Depth:
    """How much of a card is drawn.

    Attributes:
        marks: whether words that differ from the base's are marked.
        most: characters of an answer that are drawn at all; None for all.
        folds: whether long answers are folded.
    """

    marks: bool = True
    most: int | None = None
    folds: bool = True


WHOLE = Depth()


def cards(made: str) -> str:
    """Cards, and what folds some of them, in what they lie in."""
    return f'<pre style="{_AROUND}">{made}</pre>'


def card(label: str, row: ComparisonRow, names: tuple[str, ...], depth: Depth = WHOLE) -> str:
    """One row, to be put inside `cards`.

    Args:
        label: above the prompt, such as "prompt 1 of 60"; "" for none.
        row: the prompt and its answers.
        names: the columns to draw, in order; one that has no answer yet is left out.
        depth: how much of it.
    """
    base, panes = row.outputs.get(BASE), []
    if row.reference is not None:
        panes.append(("reference", _plain(row.reference, depth), _shortened(row.reference, depth)))
    for name in (name for name in names if name in row.outputs):
        text = row.outputs[name]
        same = name != BASE and text == base
        pieces = _pieces(text, None if name == BASE or same else base, depth)
        cut = "cut at the token limit" if name in row.cut else ""
        notes = ["same as base" if same else "", cut, _shortened(text, depth)]
        panes.append((name, pieces, " · ".join(filter(None, notes))))
    width = 100 // _in_line(len(panes)) - 1
    over = f'<div style="{theme.SMALL}">{html_text(label)}</div>' if label else ""
    prompt = _folded(_plain(row.prompt, depth), depth)
    return (
        f'<div style="border-top:{theme.LINE};padding:8px 0 4px 0;margin:8px 0 0 0">{over}'
        f'<div style="font-weight:600;padding:0 0 6px 0">{prompt}</div>'
        f'<div style="display:flex;flex-wrap:wrap">'
        f"{''.join(_pane(*pane, width=width, depth=depth) for pane in panes)}</div></div>"
    )


def _in_line(panes: int) -> int:
    """How many panes stand beside each other on a wide page: all, or else half of them."""
    return max(panes if panes <= _MOST_IN_LINE else -(-panes // 2), 1)


def _shortened(text: str, depth: Depth) -> str:
    """What is said of a text that is not drawn whole."""
    if depth.most is None or len(text) <= depth.most:
        return ""
    return f"{depth.most} of {len(text):,} characters"


def _plain(text: str, depth: Depth) -> list[words.Piece]:
    return [words.Piece(text[: depth.most], False)]


def _pieces(answer: str, base: str | None, depth: Depth) -> list[words.Piece]:
    if base is None or not depth.marks:
        return _plain(answer, depth)
    return words.compare(base, answer)


def _pane(name: str, pieces: list[words.Piece], note: str, width: int, depth: Depth) -> str:
    least = 170 if width < 40 else 240
    style = f"flex:1 1 {width}%;box-sizing:border-box;min-width:{least}px;max-width:100%;padding:0 14px 8px 0"
    aside = f" · {note}" if note else ""
    label = f'<div style="{theme.SMALL}">{html_text(name)}{aside}</div>'
    empty = "".join(piece.text for piece in pieces).strip() == ""
    body = f'<div style="{theme.MUTED}">(nothing)</div>' if empty else _folded(pieces, depth)
    return f'<div style="{style}">{label}{body}</div>'


def _folded(pieces: list[words.Piece], depth: Depth) -> str:
    """An answer, whole when it is short; else its beginning, which opens to the rest."""
    text = "".join(piece.text for piece in pieces)
    cut = _cut(text)
    if cut >= len(text) or not depth.folds:
        return f'<div dir="auto" style="{_TEXT}">{words.html(pieces)}</div>'
    head, tail = words.split(pieces, cut)
    more = f'<span style="{theme.SMALL}"> … {len(text) - cut:,} more characters</span>'
    return (
        f'<details><summary dir="auto" style="{theme.FOLDED};{_TEXT}">{words.html(head)}{more}</summary>'
        f'<div dir="auto" style="{_TEXT}">{words.html(tail)}</div></details>'
    )


def _cut(text: str) -> int:
    """Where a long answer is folded: after ten lines or 420 characters, at a space; its length when short."""
    lines = text.split("\n")
    end = len("\n".join(lines[:_LONG_LINES]))
    if len(text) <= _LONG * 1.25 and len(lines) <= _LONG_LINES + 2:
        return len(text)
    if end > _LONG:
        space = text.rfind(" ", _LONG // 2, _LONG)
        end = space if space > 0 else _LONG
    return end
