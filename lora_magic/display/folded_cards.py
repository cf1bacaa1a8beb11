"""Many rows as cards: the first ones open, the rest folded, and all of it no larger than a notebook opens quickly."""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic.display import theme
from lora_magic.display.answer_cards import WHOLE, Depth, card, cards
from lora_magic.results import ComparisonRow

OPEN_ROWS = 8
# A notebook's output beyond this is slow to open; what is folded gives way first.
MOST_BYTES = 1_400_000
_DEPTHS = (WHOLE, Depth(marks=False), *(Depth(False, most) for most in (2400, 1600, 1200, 800, 400, 120)))


def folded_cards(
    labels: Sequence[str], rows: Sequence[ComparisonRow], names: tuple[str, ...], selected: int | None = None
) -> str:
    """The first eight rows open and the rest folded; "" without rows.

    Args:
        labels: above each row's prompt, such as "prompt 1 of 60".
        rows: as many as labels.
        names: the columns to draw, in order.
        selected: how many of them, the first, are what was asked for; the others are folded apart. All unless given.
    """
    wanted = len(rows) if selected is None else selected
    is_open = min(OPEN_ROWS, wanted)
    made = _fitting(labels, rows, names, is_open)
    more, others = made[is_open:wanted], made[wanted:]
    folded = _folded(f"show all: {more_rows(len(more))}", more)
    said = f"the other {len(others)} rows" if len(others) > 1 else "the other row"
    folded += _folded(said, others)
    return cards("".join(made[:is_open]) + folded) if made else ""


def _folded(said: str, made: Sequence[str]) -> str:
    """Cards below a line that opens them; "" without cards."""
    if not made:
        return ""
    summary = f'<summary style="{theme.SUMMARY}">{said}</summary>'
    return f'<details style="margin:8px 0">{summary}{"".join(made)}</details>'


def more_rows(number: int) -> str:
    """Such as "52 more rows"."""
    return f"{number} more row{'' if number == 1 else 's'}"


def _fitting(labels: Sequence[str], rows: Sequence[ComparisonRow], names: tuple[str, ...], is_open: int) -> list[str]:
    """Every row's card; those that are folded lose marks and then length where the whole is too large."""
    made: list[str] = []
    for depth in _DEPTHS:
        kept = made[:is_open] if depth.most is None else []
        pairs = list(zip(labels, rows, strict=True))[len(kept) :]
        made = [*kept, *(card(label, row, names, depth) for label, row in pairs)]
        if sum(len(one.encode()) for one in made) <= MOST_BYTES:
            break
    return made
