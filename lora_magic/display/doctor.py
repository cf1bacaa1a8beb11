"""The view of a diagnosis: what would make a run fail, what costs something, and what is fine."""

from __future__ import annotations

import shutil
import textwrap

from lora_magic.display import theme
from lora_magic.display.safe import block, html_text, inline, line
from lora_magic.display.tables import html_table
from lora_magic.results.doctor import Check, Diagnosis

_LABEL = 7
_COLOURS = {"fails": theme.RED, "note": theme.ORANGE}


def doctor_html(result: Diagnosis) -> str:
    """The verdict, each problem with what mends it, one command for all packages, and the rest folded."""
    parts = [
        f"<div><b>{inline(_verdict(result))}</b></div>",
        *(_problem_html(check) for check in (*result.failing, *result.notes)),
        _all_html(result),
        _fine_html(result),
    ]
    return f'<div style="{theme.BOX}">{"".join(parts)}</div>'


def doctor_text(result: Diagnosis, width: int | None = None) -> str:
    """The same for a terminal; commands stay whole, whatever the width. Needs nothing but Python."""
    limit = width or max(40, min(160, shutil.get_terminal_size((100, 24)).columns))
    lines = [_verdict(result), ""]
    for check in (*result.failing, *result.notes):
        lines += _wrapped(check.state, _said(check), limit)
        lines += [f"{' ' * _LABEL}→ {line(check.mends)}"] if check.mends else []
    lines += _wrapped(
        "fine", " · ".join(f"{line(check.what)} {line(check.found)}".strip() for check in result.fine), limit
    )
    if _several(result):
        lines += ["", "All packages at once:", result.command]
    return "\n".join(lines)


def _verdict(result: Diagnosis) -> str:
    if result.ok:
        return "A run has all it needs here."
    count = len(result.failing)
    return "One thing would make a run fail." if count == 1 else f"{count} things would make a run fail."


def _said(check: Check) -> str:
    found = line(f"{check.what} {check.found}")
    return f"{found}: {line(check.told)}" if check.told else found


def _several(result: Diagnosis) -> bool:
    """Whether one command stands for more than one."""
    return sum(bool(check.install) for check in result.failing) > 1


def _wrapped(label: str, said: str, width: int) -> list[str]:
    return textwrap.wrap(
        said, width, initial_indent=label.ljust(_LABEL), subsequent_indent=" " * _LABEL, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _problem_html(check: Check) -> str:
    edge = f"border-left:3px solid {theme.css(_COLOURS[check.state])};padding:1px 0 1px 8px;margin:6px 0"
    label = f'<span style="{theme.MUTED}">{html_text(check.state)}</span>'
    mends = f"<div>→ {inline(check.mends)}</div>" if check.mends else ""
    told = f"<div>{inline(check.told)}</div>" if check.told else ""
    return f'<div style="{edge}">{label} <b>{inline(check.what)}</b> {inline(check.found)}{told}{mends}</div>'


def _all_html(result: Diagnosis) -> str:
    return (
        f'<div style="margin:8px 0 2px 0">All packages at once:</div>{block(result.command)}'
        if _several(result)
        else ""
    )


def _fine_html(result: Diagnosis) -> str:
    rows = [(check.what, check.found, check.told) for check in result.fine]
    if not rows:
        return ""
    title = "1 thing is fine" if len(rows) == 1 else f"{len(rows)} things are fine"
    return f'<details><summary style="{theme.SUMMARY}">{title}</summary>{html_table((), rows)}</details>'
