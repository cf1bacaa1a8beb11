"""Base and adapters side by side: cards in HTML that reflow on a narrow page, a ruled table as text."""

from __future__ import annotations

from lora_magic.display import theme, units, words
from lora_magic.display.safe import block_html, inline, inline_html, line
from lora_magic.display.tables import html_pairs, text_pairs, text_table
from lora_magic.results import Comparison, ComparisonRow

BASE = "base"
OPEN_ROWS = 8
_LONG = 420
_LONG_LINES = 10
_LINES_IN_TEXT = 12


def columns(result: Comparison) -> tuple[str, ...]:
    """The answers' columns in order; the base comes first where the adapters do not name it."""
    has_base = any(BASE in row.outputs for row in result.rows)
    return (BASE, *result.adapters) if has_base and BASE not in result.adapters else tuple(result.adapters)


def comparison_html(result: Comparison) -> str:
    """Header and cards, the first eight open and the rest folded."""
    names = columns(result)
    total = len(result.rows)
    cards = [_card(f"{number} of {total}", row, names) for number, row in enumerate(result.rows, 1)]
    rest = cards[OPEN_ROWS:]
    folded = ""
    if rest:
        folded = (
            f'<details style="margin:8px 0"><summary style="{theme.SUMMARY}">{_more(len(rest))}</summary>'
            f"{''.join(rest)}</details>"
        )
    title = f"<div><b>{inline(' · '.join(names))}</b> on {inline(result.model)}</div>"
    marks = _legend() if any("<mark" in card for card in cards) else ""
    head = title + html_pairs(_facts(result)) + marks
    return f'<div style="{theme.BOX}">{head}{"".join(cards[:OPEN_ROWS])}{folded}</div>'


def _facts(result: Comparison) -> list[tuple[str, str]]:
    seconds = [f"{name} {units.duration(taken)}" for name, taken in result.seconds.items()]
    facts = [("prompts", result.source), *result.decoding]
    return [*facts, ("time", ", ".join(seconds))] if seconds else facts


def _more(number: int) -> str:
    return f"{number} more row{'' if number == 1 else 's'}"


def _legend() -> str:
    mark = f'<mark style="{theme.MARK}">marked</mark>'
    said = f'<span style="{theme.MUTED}">words are not in the base’s answer</span>'
    return f'<div style="font-size:12px">{mark} {said}</div>'


def _card(place: str, row: ComparisonRow, names: tuple[str, ...]) -> str:
    panes = [("reference", [words.Piece(row.reference, False)], "")] if row.reference is not None else []
    base = row.outputs.get(BASE)
    for name in names:
        answer = row.outputs.get(name, "")
        pieces = [words.Piece(answer, False)] if base is None or name == BASE else words.compare(base, answer)
        panes.append((name, pieces, "cut at the token limit" if name in row.cut else ""))
    width = max(22, 100 // len(panes) - 1)
    prompt = _folded([words.Piece(row.prompt, False)])
    return (
        f'<div style="border-top:{theme.LINE};padding:8px 0 4px 0;margin:8px 0 0 0">'
        f'<div style="{theme.SMALL}">prompt {place}</div>'
        f'<div style="font-weight:600;margin:0 0 6px 0">{prompt}</div>'
        f"{''.join(_pane(*pane, width=width) for pane in panes)}</div>"
    )


def _pane(name: str, pieces: list[words.Piece], note: str, width: int) -> str:
    least = 170 if width < 40 else 240
    style = (
        f"display:inline-block;box-sizing:border-box;vertical-align:top;width:{width}%;min-width:{least}px;"
        "max-width:100%;padding:0 14px 8px 0"
    )
    aside = f" · {note}" if note else ""
    label = f'<div style="{theme.SMALL}">{inline(name)}{aside}</div>'
    empty = "".join(piece.text for piece in pieces).strip() == ""
    body = f'<div style="{theme.MUTED}">(nothing)</div>' if empty else _folded(pieces)
    return f'<div style="{style}">{label}{body}</div>'


def _folded(pieces: list[words.Piece]) -> str:
    """An answer, whole when it is short; else its beginning, which opens to the rest."""
    text = "".join(piece.text for piece in pieces)
    cut = _cut(text)
    if cut >= len(text):
        return block_html(words.html(pieces))
    head, tail = words.split(pieces, cut)
    more = f'<span style="{theme.SMALL}"> … {len(text) - cut:,} more characters</span>'
    return (
        f'<details><summary style="cursor:pointer">{inline_html(words.html(head))}{more}</summary>'
        f"{block_html(words.html(tail))}</details>"
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


def comparison_text(result: Comparison, width: int | None = None) -> str:
    """Facts and a table of the first eight rows: prompt, reference where there is one, and each column."""
    names = columns(result)
    referenced = any(row.reference is not None for row in result.rows)
    header = ["prompt", *(["reference"] if referenced else []), *names]
    rows = [
        [row.prompt, *([row.reference or "–"] if referenced else []), *(_answer(row, name) for name in names)]
        for row in result.rows[:OPEN_ROWS]
    ]
    title = text_pairs([("", line(" · ".join(names)) + f" on {line(result.model)}"), *_facts(result)], width)
    table = text_table(header, rows, width=width, most_lines=_LINES_IN_TEXT, ruled=True) if rows else "no rows"
    rest = len(result.rows) - OPEN_ROWS
    return "\n".join([title, table, *([f"and {_more(rest)}"] if rest > 0 else [])])


def _answer(row: ComparisonRow, name: str) -> str:
    answer = row.outputs.get(name, "") or "(nothing)"
    return f"{answer} […]" if name in row.cut else answer
