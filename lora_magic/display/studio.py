"""The studio's plain record: how its steps stand, and the cell that repeats what was done."""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic.display import theme
from lora_magic.display.safe import block, inline, plain
from lora_magic.display.tables import html_table, text_table

TITLE = "The cell that repeats this session"
_CODE = "background-color:rgba(127,127,127,0.14);border-radius:3px;padding:6px 8px;margin:4px 0;overflow-x:auto"


def studio_html(steps: Sequence[tuple[str, str, str]], cell: str, note: str = "") -> str:
    """Both, folded under how many steps are done.

    Args:
        steps: title, state and what is said of it, in order.
        cell: the lines; "" for none so far.
        note: what to know before they run again.
    """
    head = f'<summary style="{theme.SUMMARY}">{inline(_summary(steps))}</summary>'
    code = f'<div>{inline(TITLE)}</div><div style="{_CODE}">{block(cell)}</div>{_small(note)}' if cell else ""
    return f'<div style="{theme.BOX}"><details>{head}{html_table((), steps)}{code}</details></div>'


def studio_text(steps: Sequence[tuple[str, str, str]], cell: str, width: int | None = None) -> str:
    """The same for a terminal, without the note; the cell's lines are whole, to be copied."""
    parts = [_summary(steps), text_table(("", "", ""), steps, width=width)]
    return "\n".join([*parts, *([f"{TITLE}:", plain(cell)] if cell else [])])


def _summary(steps: Sequence[tuple[str, str, str]]) -> str:
    done = sum(state == "done" for _, state, _ in steps)
    return f"Studio: {done} of {len(steps)} steps done"


def _small(text: str) -> str:
    return f'<div style="{theme.SMALL}">{inline(text)}</div>' if text else ""
