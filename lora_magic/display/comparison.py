"""Base and adapters side by side: facts, numbers, what was forgotten, and a card a row."""

from __future__ import annotations

from lora_magic.display import theme, units
from lora_magic.display.answer_cards import card, cards
from lora_magic.display.folded_cards import OPEN_ROWS, folded_cards, more_rows
from lora_magic.display.forgetting import forgetting_html, forgetting_text
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import html_pairs, text_pairs, text_table
from lora_magic.results import Comparison, ComparisonRow
from lora_magic.results.selected import Selection

_LINES_IN_TEXT = 12


def comparison_html(result: Comparison) -> str:
    """Header, numbers and cards, the first eight open and the rest folded; a selection says which rows it is of."""
    names, chosen = result.columns, result.selection
    whole = result if chosen is None else chosen.whole
    numbers = range(1, len(whole.rows) + 1) if chosen is None else chosen.numbers
    rest = [] if chosen is None or not chosen.folds_rest else sorted(set(range(1, len(whole.rows) + 1)) - set(numbers))
    shown = [*numbers, *rest]
    labels = [_label(result, number) for number in shown]
    rows = folded_cards(labels, [whole.rows[number - 1] for number in shown], names, len(numbers))
    title = f"<div><b>{inline(' · '.join(names))}</b> on {inline(result.model)}</div>"
    marks = _legend() if "<mark" in rows else ""
    head = title + html_pairs(_facts(result)) + "".join(_said(note) for note in result.notes)
    said = "" if chosen is None else f'<div style="font-weight:600;margin:6px 0 0 0">{inline(chosen.line)}</div>'
    return f'<div style="{theme.BOX}">{head}{_numbers(result)}{said}{marks}{rows}</div>'


def compact_bundle(result: Comparison) -> dict[str, str]:
    """One line, where the comparison stands above."""
    said = f"comparison of {line(', '.join(result.columns))}: it stands above, and its rows are in .rows"
    return {"text/plain": said, "text/html": f'<div style="{theme.BOX};{theme.MUTED}">{inline(said)}</div>'}


def _label(result: Comparison, number: int) -> str:
    """Which prompt of how many this is, with the figures that it was selected by."""
    chosen = result.selection
    whole = result if chosen is None else chosen.whole
    figures = [] if chosen is None else [f"{name} {said}" for name, said in _figures(chosen, number)]
    titled = f"{chosen.measure.title}: {', '.join(figures)}" if figures and chosen and chosen.measure else ""
    return " · ".join(filter(None, [f"prompt {number} of {max(len(whole.rows), result.asked)}", titled]))


def _figures(chosen: Selection, number: int) -> list[tuple[str, str]]:
    """Each column's own figure of a row that is measured, by column."""
    if chosen.measure is None:
        return []
    from lora_magic.display.measures import number as said

    figures = [(name, chosen.measure.by_row[name][number - 1]) for name in chosen.columns]
    return [(name, said(figure, chosen.measure.unit)) for name, figure in figures if figure is not None]


def newest_html(result: Comparison) -> str:
    """The newest rows of a comparison under way, the newest first."""
    names = result.columns
    made = "".join(card("", row, names) for row in reversed(result.rows))
    return f'<div style="{theme.BOX}">{cards(made)}</div>' if made else ""


def _numbers(result: Comparison) -> str:
    """The measures' table and what was forgotten; folded above a selection of rows, of which they are not."""
    made = ""
    if result.measures is not None:
        from lora_magic.display.measures import measures_html

        made = measures_html(result.measures)
    made += forgetting_html(result.forgetting) if result.forgetting is not None else ""
    if result.selection is None or not made:
        return made
    return f'<details><summary style="{theme.SUMMARY}">{inline(_of_all(result.selection))}</summary>{made}</details>'


def _of_all(chosen: Selection) -> str:
    """What is said of numbers beside selected rows."""
    return f"numbers of all {len(chosen.whole.rows):,} rows"


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
    """Facts, numbers and a table of the first eight rows: prompt, reference where there is one, and each column.

    A selection says above its rows which they are, and each row has its number and figures.
    """
    names, chosen = result.columns, result.selection
    referenced = any(row.reference is not None for row in result.rows)
    header = [*(["row"] if chosen else []), "prompt", *(["reference"] if referenced else []), *names]
    rows = [
        [
            *([_numbered(chosen, chosen.numbers[place])] if chosen else []),
            row.prompt,
            *([row.reference or "–"] if referenced else []),
            *(_answer(row, name) for name in names),
        ]
        for place, row in enumerate(result.rows[:OPEN_ROWS])
    ]
    title = text_pairs([("", line(" · ".join(names)) + f" on {line(result.model)}"), *_facts(result)], width)
    notes = [text_pairs([("", note)], width) for note in result.notes]
    table = text_table(header, rows, width=width, most_lines=_LINES_IN_TEXT, ruled=True) if rows else "no rows"
    rest = len(result.rows) - OPEN_ROWS
    said = [] if chosen is None else [text_pairs([("", chosen.line)], width)]
    more = [f"and {more_rows(rest)}"] if rest > 0 else []
    return "\n".join([title, *notes, *_numbers_text(result, width), *said, table, *more])


def _numbered(chosen: Selection, number: int) -> str:
    """A row's number, and below it the figures that it was selected by."""
    figures = [said for _, said in _figures(chosen, number)]
    return "\n".join([str(number), *([" → ".join(figures)] if figures else [])])


def _numbers_text(result: Comparison, width: int | None) -> list[str]:
    made: list[str] = []
    if result.measures is not None:
        from lora_magic.display.measures import measures_text

        made += measures_text(result.measures)
    made += forgetting_text(result.forgetting, width) if result.forgetting is not None else []
    return [f"{_of_all(result.selection)}:", *made] if made and result.selection is not None else made


def _answer(row: ComparisonRow, name: str) -> str:
    answer = row.outputs.get(name, "") or "(nothing)"
    return f"{answer} […]" if name in row.cut else answer
