"""What a training run would make of some rows, as HTML and as text."""

from __future__ import annotations

import base64

from lora_magic.display import theme, units
from lora_magic.display.data_issues import issues_html, issues_text, looked_at, rows_said, short
from lora_magic.display.data_lengths import Lengths, lengths_png, lengths_text, percentile_cells
from lora_magic.display.data_tokens import LEGEND_TEXT, row_text, rows_html
from lora_magic.display.safe import html_text, inline, line
from lora_magic.display.tables import html_pairs, html_table, terminal_width, text_pairs, text_table, wrap
from lora_magic.results import DataExample, DataReport, FixedCopy

_HEADING = "font-weight:600;margin:12px 0 2px 0"
_MOST_NAMES, _MOST_NOTES = 16, 12
_LONGEST_NOTE = 600
_TASKS = ("task", "rows", "share", "mean tokens")
_CHANGES = ("change", "rows")


def data_html(report: DataReport) -> str:
    """Head, issues, tokens a row, the first rows token by token, tasks and the cleaned copy."""
    parts = [_head_html(report), issues_html(report), _lengths_html(report)]
    if examples := _examples(report):
        parts.append(f'<div style="{_HEADING}">{_rows_title(examples)}</div>{rows_html(examples)}')
    if report.tasks:
        parts.append(f'<div style="{_HEADING}">Tasks</div>{html_table(_TASKS, _tasks(report), {1, 2, 3})}')
    if report.fixed:
        parts.append(_fixed_html(report.fixed))
    return f'<div style="{theme.BOX}">{"".join(parts)}</div>'


def data_text(report: DataReport, width: int | None = None) -> str:
    """The same for a terminal, no line wider than `width` columns."""
    limit = width or terminal_width()
    parts = [_head_text(report, limit), issues_text(report, limit), _lengths_text(report, limit)]
    if examples := _examples(report):
        parts.append("\n".join(wrap(f"{_rows_title(examples)} ({LEGEND_TEXT})", limit)))
        parts += [row_text(example, limit) for example in examples]
    if report.tasks:
        parts.append("Tasks\n" + text_table(_TASKS, _tasks(report), {1, 2, 3}, limit))
    if report.fixed:
        parts.append(_fixed_text(report.fixed, limit))
    return "\n\n".join(part for part in parts if part)


def _examples(report: DataReport) -> list[DataExample]:
    return [report.examples[place] for place in range(min(report.shown, len(report.examples)))]


def _rows_title(examples: list[DataExample]) -> str:
    number = len(examples)
    return (
        f"The first {'row' if number == 1 else f'{number} rows'} as the model reads {'it' if number == 1 else 'them'}"
    )


def _head_html(report: DataReport) -> str:
    why = f'<div style="{theme.MUTED}">{inline(short(report.why, _LONGEST_NOTE))}</div>' if report.why else ""
    notes = "".join(f'<div style="{theme.SMALL}">{inline(note)}</div>' for note in _notes(report))
    name = inline(short(report.name, _LONGEST_NOTE))
    title = f"<div><b>{name}</b> · {rows_said(report.rows)} · {inline(short(report.format))}</div>"
    return f"{title}{why}{html_pairs(_facts(report))}{notes}"


def _head_text(report: DataReport, width: int) -> str:
    title = wrap(
        f"{line(short(report.name, _LONGEST_NOTE))} · {rows_said(report.rows)} · {line(short(report.format))}", width
    )
    why = wrap(line(short(report.why, _LONGEST_NOTE)), width) if report.why else []
    notes = [text for note in _notes(report) for text in wrap(line(note), width)]
    return "\n".join([*title, *why, text_pairs(_facts(report), width), *notes])


def _notes(report: DataReport) -> list[str]:
    notes = [short(note, _LONGEST_NOTE) for note in report.notes[:_MOST_NOTES]]
    left = len(report.notes) - len(notes)
    return [*notes, f"… and {left:,} more notes"] if left else notes


def _facts(report: DataReport) -> list[tuple[str, str]]:
    pairs = [("training", f"{report.training_rows:,}"), ("held out", f"{report.held_out_rows:,}")]
    if report.columns:
        pairs.append(("columns", _listed([f"{short(column)} → {what}" for what, column in report.columns])))
    if report.unused:
        pairs.append(("unused", _listed(report.unused)))
    return [*pairs, ("tokenizer", short(report.tokenizer)), ("chat template", short(report.template))]


def _listed(names: list[str] | tuple[str, ...]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(short(name) for name in names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _lengths_html(report: DataReport) -> str:
    if not len(report.token_counts):
        return ""
    lengths = Lengths.of(report.token_counts, report.max_length)
    source = f"data:image/png;base64,{base64.b64encode(lengths_png(lengths)).decode('ascii')}"
    middle, most = lengths.percentile(50), lengths.longest
    alt = f"Tokens a row: half have at most {middle:,}, the longest {most:,}; max length {report.max_length:,}"
    style = "display:block;max-width:100%;margin:4px 0"
    image = f'<img style="{style}" width="{theme.CURVE_WIDTH}" alt="{html_text(alt)}" src="{source}">'
    titles, values = percentile_cells(lengths)
    table = html_table(titles, [values], set(range(1, len(titles))))
    heading = f'<div style="{_HEADING}">Tokens a row</div>'
    return f"{heading}{html_pairs(_token_facts(report, lengths))}{image}{table}"


def _lengths_text(report: DataReport, width: int) -> str:
    if not len(report.token_counts):
        return ""
    lengths = Lengths.of(report.token_counts, report.max_length)
    titles, values = percentile_cells(lengths)
    table = text_table(titles, [values], set(range(1, len(titles))), width)
    facts = text_pairs(_token_facts(report, lengths), width)
    return f"Tokens a row\n{facts}\n{lengths_text(lengths, width)}\n{table}"


def _token_facts(report: DataReport, lengths: Lengths) -> list[tuple[str, str]]:
    pairs = [("tokens", f"{units.count(lengths.total)} in {looked_at(report)}")]
    pairs += [
        ("trained on", f"{units.share(report.trained_fraction)} of them"),
        ("max length", f"{report.max_length:,}"),
    ]
    if report.cut_rows:
        lost = f"losing {report.lost_tokens:,} trained tokens" if report.lost_tokens else "losing no trained token"
        pairs.append(("cut", f"{rows_said(report.cut_rows)}, {lost}"))
    else:
        pairs.append(("cut", "no row"))
    if report.dropped_rows:
        pairs.append(("left out", f"{rows_said(report.dropped_rows)} with no trained token left"))
    return pairs


def _tasks(report: DataReport) -> list[tuple[str, str, str, str]]:
    total = sum(rows for _, rows, _ in report.tasks) or 1
    return [
        (short(value), f"{rows:,}", units.share(rows / total), f"{mean:,.0f}") for value, rows, mean in report.tasks
    ]


def _fixed_html(fixed: FixedCopy) -> str:
    table = html_table(_CHANGES, _changes(fixed), {1}) if fixed.changes else ""
    title = f'<div style="{_HEADING}">Cleaned copy</div>'
    return f"{title}<div>{rows_said(fixed.rows)} in {inline(fixed.path)}</div>{table}<div>{_record(fixed)}</div>"


def _record(fixed: FixedCopy) -> str:
    return f'<span style="{theme.MUTED}">every change is in</span> {inline(fixed.changes_path)}'


def _fixed_text(fixed: FixedCopy, width: int) -> str:
    parts = wrap(f"Cleaned copy: {rows_said(fixed.rows)} in {line(fixed.path)}", width)
    if fixed.changes:
        parts.append(text_table(_CHANGES, _changes(fixed), {1}, width))
    return "\n".join([*parts, *wrap(f"every change is in {line(fixed.changes_path)}", width)])


def _changes(fixed: FixedCopy) -> list[tuple[str, str]]:
    return [(short(kind), f"{rows:,}") for kind, rows in fixed.changes]
