"""What is wrong with some rows, a line each, with examples that open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from lora_magic.display import theme
from lora_magic.display.safe import html_text, inline, inline_html, line
from lora_magic.display.tables import html_table, wrap
from lora_magic.results import DataIssue, DataReport

_COLOURS = {"error": theme.RED, "warning": theme.ORANGE}
_OPTION = re.compile(r"--[a-z]+(?:-[a-z]+)*")
_LONGEST_EXCERPT, _LONGEST_ADVICE = 240, 1200
_EXAMPLES_IN_TEXT, _EXCERPT_IN_TEXT = 2, 120


def short(text: str, longest: int = 120) -> str:
    """`text` up to `longest` characters, with an ellipsis in place of the rest."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def rows_said(number: int) -> str:
    """A number of rows with its noun."""
    return "1 row" if number == 1 else f"{number:,} rows"


def looked_at(report: DataReport) -> str:
    """How many rows were looked at, and of how many where those are not all."""
    if report.looked_at < report.rows:
        return f"{report.looked_at:,} of {rows_said(report.rows)}"
    return rows_said(report.looked_at)


def issues_title(report: DataReport) -> str:
    """How many kinds of things were found, and in how many rows."""
    if not report.issues:
        return f"Nothing found in {looked_at(report)} looked at."
    number = len(report.issues)
    return f"{'1 thing' if number == 1 else f'{number} things'} found in {looked_at(report)} looked at"


def issues_html(report: DataReport) -> str:
    """The title and each issue behind a coloured edge, its examples folded."""
    if not report.issues:
        return f'<div style="margin:8px 0">{issues_title(report)}</div>'
    title = f'<div style="font-weight:600;margin:10px 0 2px 0">{issues_title(report)}</div>'
    return title + "".join(_issue_html(issue) for issue in report.issues)


def _issue_html(issue: DataIssue) -> str:
    severity = f'<span style="{theme.SMALL}">{inline(short(issue.severity))}</span>'
    advice = _OPTION.sub(_unbroken, html_text(_advice(issue)))
    said = f'<span style="opacity:0.85">{inline_html(advice)}</span>'
    text = f"<b>{inline(short(issue.kind))}</b> · {rows_said(issue.count)} · {severity} · {said}"
    folded = html_table(("row", "excerpt"), [*_examples(issue)], right={0}) if issue.examples else ""
    style = f"border-left:3px solid {theme.css(_COLOURS.get(issue.severity, theme.GREY))}"
    body = f'<details><summary style="{theme.FOLDED}">{text}</summary>{folded}</details>' if folded else text
    return f'<div style="{style};padding:1px 0 1px 10px;margin:5px 0">{body}</div>'


def _unbroken(option: re.Match[str]) -> str:
    return f'<span style="white-space:nowrap">{option.group()}</span>'


def _advice(issue: DataIssue) -> str:
    fix = f"--fix: {issue.fixed_by.rstrip('.')}." if issue.fixed_by else ""
    return short(" ".join(part for part in (issue.effect, issue.remedy, fix) if part), _LONGEST_ADVICE)


def _examples(issue: DataIssue, longest: int = _LONGEST_EXCERPT) -> Iterator[tuple[str, str]]:
    for row, text in issue.examples:
        yield f"{row:,}", line(short(text, longest))


def issues_text(report: DataReport, width: int) -> str:
    """The same for a terminal, the first two examples of each."""
    parts = wrap(issues_title(report), width)
    for issue in report.issues:
        head = f"{short(issue.severity)}: {short(issue.kind)} · {rows_said(issue.count)} · {_advice(issue)}"
        first, *rest = wrap(line(head), width - 2)
        parts += [f"! {first}" if issue.severity == "error" else f"- {first}", *(f"  {text}" for text in rest)]
        for row, text in islice(_examples(issue, _EXCERPT_IN_TEXT), _EXAMPLES_IN_TEXT):
            parts += [f"    {part}" for part in wrap(f"row {row}: {text}", width - 4)]
    return "\n".join(parts)
