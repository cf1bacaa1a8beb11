"""Base and adapters side by side: facts, numbers, what was forgotten, and a card a row."""

from __future__ import annotations

from lora_magic.display import theme, units
from lora_magic.display.answer_cards import BASE, card, cards
from lora_magic.display.folded_cards import OPEN_ROWS, folded_cards, more_rows
from lora_magic.display.forgetting import forgetting_html, forgetting_text
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import html_pairs, text_pairs, text_table
from lora_magic.results import Comparison, ComparisonRow

_LINES_IN_TEXT = 12


def columns(result: Comparison) -> tuple[str, ...]:
    """The answers' columns in order; the base comes first where the adapters do not name it."""
    has_base = any(BASE in row.outputs for row in result.rows)
    return (BASE, *result.adapters) if has_base and BASE not in result.adapters else tuple(result.adapters)


def comparison_html(result: Comparison) -> str:
    """Header, numbers and cards, the first eight open and the rest folded."""
    names = columns(result)
    total = max(len(result.rows), result.asked)
    labels = [f"prompt {number} of {total}" for number in range(1, len(result.rows) + 1)]
    rows = folded_cards(labels, result.rows, names)
    title = f"<div><b>{inline(' · '.join(names))}</b> on {inline(result.model)}</div>"
    marks = _legend() if "<mark" in rows else ""
    head = title + html_pairs(_facts(result)) + "".join(_said(note) for note in result.notes)
    return f'<div style="{theme.BOX}">{head}{_numbers(result)}{marks}{rows}</div>'


def newest_html(result: Comparison) -> str:
    """The newest rows of a comparison under way, the newest first."""
    names = columns(result)
    made = "".join(card("", row, names) for row in reversed(result.rows))
    return f'<div style="{theme.BOX}">{cards(made)}</div>' if made else ""


def _numbers(result: Comparison) -> str:
    """The measures' table and what was forgotten."""
    made = ""
    if result.measures is not None:
        from lora_magic.display.measures import measures_html

        made = measures_html(result.measures)
    return made + (forgetting_html(result.forgetting) if result.forgetting is not None else "")


def _facts(result: Comparison) -> list[tuple[str, str]]:
    facts = [("prompts", result.source), *result.decoding, *result.about.items()]
    seconds = [f"{name} {units.duration(taken)}" for name, taken in result.seconds.items()]
    return [*facts, ("time", ", ".join(seconds))] if seconds else facts


def _said(note: str) -> str:
    return f'<div style="{theme.SMALL}">{inline(note)}</div>'


def _legend() -> str:
    mark = f'<mark style="{theme.MARK}">marked</mark>'
    said = f'<span style="{theme.MUTED}">words are not in the base’s answer</span>'
    return f'<div style="font-size:12px">{mark} {said}</div>'


def comparison_text(result: Comparison, width: int | None = None) -> str:
    """Facts, numbers and a table of the first eight rows: prompt, reference where there is one, and each column."""
    names = columns(result)
    referenced = any(row.reference is not None for row in result.rows)
    header = ["prompt", *(["reference"] if referenced else []), *names]
    rows = [
        [row.prompt, *([row.reference or "–"] if referenced else []), *(_answer(row, name) for name in names)]
        for row in result.rows[:OPEN_ROWS]
    ]
    title = text_pairs([("", line(" · ".join(names)) + f" on {line(result.model)}"), *_facts(result)], width)
    notes = [text_pairs([("", note)], width) for note in result.notes]
    table = text_table(header, rows, width=width, most_lines=_LINES_IN_TEXT, ruled=True) if rows else "no rows"
    rest = len(result.rows) - OPEN_ROWS
    return "\n".join(
        [title, *notes, *_numbers_text(result, width), table, *([f"and {more_rows(rest)}"] if rest > 0 else [])]
    )


def _numbers_text(result: Comparison, width: int | None) -> list[str]:
    made: list[str] = []
    if result.measures is not None:
        from lora_magic.display.measures import measures_text

        made += measures_text(result.measures)
    return made + (forgetting_text(result.forgetting, width) if result.forgetting is not None else [])


def _answer(row: ComparisonRow, name: str) -> str:
    answer = row.outputs.get(name, "") or "(nothing)"
    return f"{answer} […]" if name in row.cut else answer
