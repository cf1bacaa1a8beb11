"""Small tables and label-value lines, in HTML with inline styles and as text that fits the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence

from lora_magic.display import theme
from lora_magic.display.safe import inline, line, plain

# Room to the right is part of it, so that a word as long as the page still breaks.
_PAIR = "display:inline-block;max-width:100%;box-sizing:border-box;padding:0 16px 0 0"


def terminal_width() -> int:
    """Columns to write into: the terminal's, at least 40 and at most 160."""
    return max(40, min(160, shutil.get_terminal_size((100, 24)).columns))


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> str:
    """A table of user text.

    Args:
        header: column titles.
        rows: cells as plain text; they are escaped here.
        right: indexes of the columns that align right.
    """
    head = "".join(_cell("th", text, index in right, top=False) for index, text in enumerate(header))
    body = "".join(
        '<tr style="background-color:transparent">'
        + "".join(_cell("td", text, index in right) for index, text in enumerate(row))
        + "</tr>"
        for row in rows
    )
    table = f'<table style="border-collapse:collapse;margin:0;font-size:12px;border:none">{_head(head)}'
    return f'<div style="overflow-x:auto;margin:6px 0">{table}<tbody>{body}</tbody></table></div>'


def _head(cells: str) -> str:
    return f'<thead><tr style="background-color:transparent">{cells}</tr></thead>' if cells else ""


def _cell(tag: str, text: str, right: bool, top: bool = True) -> str:
    style = f"padding:2px 14px 2px 0;text-align:{'right' if right else 'left'};vertical-align:top;border:none"
    if tag == "th":
        style += ";font-weight:normal;opacity:0.7;white-space:nowrap"
    elif top:
        style += f";border-top:{theme.LINE}"
    return f'<{tag} style="{style}">{inline(text)}</{tag}>'


def html_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """Label and value pairs that flow in a line and wrap where the page is narrow."""
    spans = (
        f'<span style="{_PAIR}"><span style="{theme.MUTED}">{inline(label)}</span> {inline(value)}</span>'
        for label, value in pairs
    )
    return f"<div>{' '.join(spans)}</div>"


def text_pairs(pairs: Iterable[tuple[str, str]], width: int | None = None) -> str:
    """Label and value pairs joined by middle dots, broken between pairs to fit `width` columns."""
    limit = width or terminal_width()
    lines = [""]
    for piece in (f"{line(label)} {line(value)}".strip() for label, value in pairs):
        joined = f"{lines[-1]} · {piece}" if lines[-1] else piece
        if cells(joined) <= limit:
            lines[-1] = joined
        else:
            lines.append(piece)
    return "\n".join(wrapped for text in lines if text for wrapped in wrap(text, limit))


def text_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Collection[int] = (),
    width: int | None = None,
    most_lines: int | None = None,
    ruled: bool = False,
) -> str:
    """A table for a terminal, its cells wrapped so that no line passes `width` columns.

    Args:
        header: column titles; empty strings for none.
        rows: cells as plain text; invisible characters are shown here.
        right: indexes of the columns that align right.
        width: columns to fit into, the terminal's when None.
        most_lines: lines a cell may take before it ends in an ellipsis.
        ruled: draw a frame with a rule between rows, for cells of many lines.
    """
    contents = [[plain(cell) for cell in row] for row in (header, *rows)]
    overhead = 3 * len(header) + 1 if ruled else 2 * (len(header) - 1)
    widths = _column_widths(contents, (width or terminal_width()) - overhead)
    fitted = [[_fit(cell, room, most_lines) for cell, room in zip(row, widths, strict=True)] for row in contents]
    drawn = [_lines(row, widths, right, " │ " if ruled else "  ") for row in fitted]
    return _framed(drawn, widths) if ruled else _underlined(drawn, widths)


def _fit(cell: str, width: int, most_lines: int | None) -> list[str]:
    if not most_lines:
        return wrap(cell, width)
    lines = wrap(cell[: width * most_lines], width)
    if len(lines) > most_lines or len(cell) > width * most_lines:
        lines = [*lines[: most_lines - 1], "…"]
    return lines


def _column_widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """A width for each column: its longest line, the widest ones cut evenly until all fit `room`."""
    columns = zip(*rows, strict=True)
    natural = [max(2, *(cells(part) for cell in column for part in cell.split("\n"))) for column in columns]
    level = max(natural)
    while level > 2 and sum(min(width, level) for width in natural) > room:
        level -= 1
    return [min(width, level) for width in natural]


def _lines(row: Sequence[list[str]], widths: Sequence[int], right: Collection[int], gap: str) -> list[str]:
    """The terminal lines of one row, its cells padded to `widths`."""
    height = max(len(cell) for cell in row)
    padded = [
        [_pad(text, width, index in right) for text in [*cell, *[""] * (height - len(cell))]]
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return [gap.join(parts) for parts in zip(*padded, strict=True)]


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - cells(text))
    return space + text if right else text + space


def _underlined(drawn: Sequence[list[str]], widths: Sequence[int]) -> str:
    rule = "  ".join("─" * width for width in widths)
    head = [*drawn[0], rule] if any(text.strip() for text in drawn[0]) else []
    return "\n".join(text.rstrip() for text in [*head, *(text for row in drawn[1:] for text in row)])


def _framed(drawn: Sequence[list[str]], widths: Sequence[int]) -> str:
    bars = ["─" * (width + 2) for width in widths]
    rule = f"├{'┼'.join(bars)}┤"
    rows = [[f"│ {text} │" for text in row] for row in drawn]
    ruled = [text for row in rows for text in (rule, *row)][1:]
    return "\n".join([f"┌{'┬'.join(bars)}┐", *ruled, f"└{'┴'.join(bars)}┘"])


def cells(text: str) -> int:
    """Terminal columns that `text` takes; wide characters take two."""
    from wcwidth import wcswidth

    width = wcswidth(text)
    return len(text) if width < 0 else width


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces where it can be."""
    return [part for source in text.split("\n") for part in _wrap_line(source, width)]


def _wrap_line(text: str, width: int) -> list[str]:
    lines: list[str] = []
    while (end := _fitting(text, width)) < len(text):
        space = text.rfind(" ", 0, end + 1)
        cut = space if space > 0 and text[:space].strip() else end
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip(" ")
    return [*lines, text]


def _fitting(text: str, width: int) -> int:
    """How many characters of `text` fit `width` columns, at least one where there is one."""
    end = min(len(text), width)
    while end > 1 and cells(text[:end]) > width:
        end -= 1
    return end
