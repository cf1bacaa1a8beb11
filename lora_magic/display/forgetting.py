"""General prompts before and after: a line an adapter, and the prompts that were lost."""

from __future__ import annotations

import math

from lora_magic.display import theme
from lora_magic.display.answer_cards import card, cards
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import wrap
from lora_magic.results import Forgetting
from lora_magic.results.measures import Difference

MOST_LOST = 40
_LOST_IN_TEXT = 5


def forgetting_html(result: Forgetting) -> str:
    """The section of a comparison that says what was forgotten."""
    lines = "".join(f"<div>{inline(said)}</div>" for said in _lines(result))
    names = ("base", *result.kept)
    made = "".join(card("", row, names) for row in result.lost[:MOST_LOST])
    lost = ""
    if made:
        summary = f'<summary style="{theme.SUMMARY}">{_lost(result)}</summary>'
        lost = f'<details style="margin:4px 0">{summary}{cards(made)}</details>'
    return f'<div style="border-top:{theme.LINE};margin:8px 0 0 0;padding:6px 0">{lines}{lost}</div>'


def forgetting_text(result: Forgetting, width: int | None = None) -> list[str]:
    """The same as lines."""
    lines = [part for said in _lines(result) for part in wrap(line(said), width or 100)]
    lost = [f"  lost: {line(row.prompt)}" for row in result.lost[:_LOST_IN_TEXT]]
    rest = len(result.lost) - len(lost)
    return [*lines, *lost, *([f"  and {rest} more"] if rest > 0 else [])]


def _lines(result: Forgetting) -> list[str]:
    base = f"{result.source}: base right on {result.right} of {result.prompts}"
    if not result.right or not result.kept:
        return [base if result.right else f"{base}, so nothing can be told of what was forgotten"]
    return [base, *(_line(result, name, kept) for name, kept in result.kept.items())]


def _line(result: Forgetting, name: str, kept: int) -> str:
    lost = result.right - kept
    change = f"−{lost}" if lost else "none lost"
    return f"{name} still right on {kept} of those ({change}){_interval(result.differences.get(name))}"


def _interval(difference: Difference | None) -> str:
    """The verdict with the ends of the interval in points of a hundred, in place of its half-width."""
    if difference is None:
        return ""
    if not (math.isfinite(difference.low) and math.isfinite(difference.high)):
        return f": {difference.verdict}"
    low, high = (f"{100 * end:+.0f}".replace("-", "−") for end in (difference.low, difference.high))
    return f": {difference.verdict.partition(' (±')[0]} ({low} to {high} points)"


def _lost(result: Forgetting) -> str:
    shown = min(len(result.lost), MOST_LOST)
    of = f"{shown} of {len(result.lost)}" if shown < len(result.lost) else str(shown)
    return f"show what was lost: {of} prompt{'' if len(result.lost) == 1 else 's'}"
