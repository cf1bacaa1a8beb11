"""The numbers beside the answers: a table with intervals and verdicts, how each is counted folded below."""

from __future__ import annotations

import math

from lora_magic.display import theme
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import terminal_width, text_table, wrap
from lora_magic.results.measures import Difference, Measure, Measures, Value

BEST, WORSE = "▲", "▼"
_SMALL = "font-size:11px;opacity:0.75"
_CELL = f"padding:3px 12px 3px 0;text-align:left;vertical-align:top;border:none;border-top:{theme.LINE}"
_HEAD = "padding:2px 12px 2px 0;text-align:left;vertical-align:top;border:none;font-weight:normal;opacity:0.75"
_TABLE = "border-collapse:collapse;margin:0;font-size:12px;border:none"
_BETTER = {"higher": "higher is better", "lower": "lower is better"}


def measures_html(result: Measures) -> str:
    """A row a measure: each column's figure with its interval, then what may be said; scrolls on a narrow page."""
    parts = [f'<div style="{_SMALL};margin:6px 0 0 0">{inline(_chosen(result))}</div>']
    if result.measures:
        parts += [_table(result), f'<div style="{_SMALL}">{inline(_legend(result))}</div>']
    counted = "".join(f"<div>{inline(said)}</div>" for said in _counted(result))
    if counted:
        summary = f'<summary style="{theme.SUMMARY}">how each is counted</summary>'
        parts.append(f'<details>{summary}<div style="{theme.SMALL}">{counted}</div></details>')
    parts += [f'<div style="{_SMALL}">{inline(note)}</div>' for note in result.notes]
    return f'<div style="margin:6px 0">{"".join(parts)}</div>'


def measures_text(result: Measures, width: int | None = None) -> list[str]:
    """The same for a terminal, line by line."""
    limit = width or terminal_width()
    lines = wrap(line(_chosen(result)), limit)
    if result.measures:
        names = _columns(result)
        header = ["", *map(line, names), *_verdict_column(result, "verdict")]
        rows = [
            [
                _titled(one),
                *(_told(one, name) for name in names),
                *_verdict_column(result, "\n".join(_verdicts(result, one))),
            ]
            for one in result.measures
        ]
        lines += text_table(header, rows, width=limit).split("\n")
        lines += wrap(line(_legend(result)), limit)
    return [*lines, *(part for note in result.notes for part in wrap(line(note), limit))]


def _chosen(result: Measures) -> str:
    """Why these measures."""
    said = {"labels": "labels", "json": "JSON", "short": "short answers", "long": "long answers"}.get(result.kind)
    return f"References are {said}: {result.why}" if said else result.why


def _columns(result: Measures) -> list[str]:
    """Every column that has a figure, the most complete measure's order first."""
    longest = max(result.measures, key=lambda one: len(one.values))
    return list(dict.fromkeys([*longest.values, *(name for one in result.measures for name in one.values)]))


def _legend(result: Measures) -> str:
    compared = bool(_verdict_column(result, ""))
    verdicts = f" Verdicts are of the differences, row by row, from {result.baseline}." if compared else ""
    if not any(_interval(value, one.unit) for one in result.measures for value in one.values.values()):
        return f"There are too few rows for intervals.{verdicts}"
    marks = f" {BEST} the best that differs, {WORSE} worse." if compared else ""
    return f"Figures have 95% intervals of their own.{verdicts}{marks}"


def _verdict_column(result: Measures, cell: str) -> list[str]:
    """The cell under "verdict"; none where one column stands alone."""
    return [cell] if any(one.differences for one in result.measures) else []


def _counted(result: Measures) -> list[str]:
    return [f"{one.title}: {one.note}" for one in result.measures if one.note]


def _table(result: Measures) -> str:
    names = _columns(result)
    head = "".join(
        f'<th style="{_HEAD}">{inline(name)}</th>' for name in ("", *names, *_verdict_column(result, "verdict"))
    )
    rows = "".join(_row(result, one, names) for one in result.measures)
    table = f'<table style="{_TABLE}"><thead>{_plain_row(head)}</thead><tbody>{rows}</tbody></table>'
    return f'<div style="overflow-x:auto;margin:4px 0">{table}</div>'


def _plain_row(cells: str) -> str:
    return f'<tr style="background-color:transparent">{cells}</tr>'


def _row(result: Measures, one: Measure, names: list[str]) -> str:
    way = f'<div style="{_SMALL};white-space:nowrap">{_BETTER[one.better]}</div>' if one.better else ""
    cells = [f"<div>{inline(one.title)}</div>{way}", *(_figure(one, name) for name in names)]
    room = 120 if len(names) < 3 else 240
    verdicts = "".join(f'<div style="min-width:{room}px">{inline(said)}</div>' for said in _verdicts(result, one))
    cells += _verdict_column(result, verdicts)
    return _plain_row("".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells))


def _figure(one: Measure, name: str) -> str:
    value = one.values.get(name)
    if value is None:
        return "–"
    mark = _mark(one, name)
    said = f"{number(value.mean, one.unit)} {mark}".rstrip()
    weight = ";font-weight:bold" if mark == BEST else ""
    between = _interval(value, one.unit)
    below = f'<div style="{_SMALL};white-space:nowrap">{between}</div>' if between else ""
    return f'<div style="white-space:nowrap{weight}">{said}</div>{below}'


def _told(one: Measure, name: str) -> str:
    value = one.values.get(name)
    if value is None:
        return "–"
    between = _interval(value, one.unit)
    parts = [number(value.mean, one.unit), _mark(one, name), f"({between})" if between else ""]
    return " ".join(part for part in parts if part)


def _titled(one: Measure) -> str:
    return f"{line(one.title)} {({'higher': '↑', 'lower': '↓'}).get(one.better, '')}".rstrip()


def _mark(one: Measure, name: str) -> str:
    """The best of the columns that surely differ from the baseline, and those that are surely worse than it."""
    if not one.better:
        return ""
    sign = 1 if one.better == "higher" else -1
    sure = {column: _sure(difference) * sign for column, difference in one.differences.items()}
    ahead = [column for column, way in sure.items() if way > 0]
    if ahead:
        best = max(sign * one.values[column].mean for column in ahead)
        if name in ahead and sign * one.values[name].mean == best:
            return BEST
    elif name not in sure and sure and all(way < 0 for way in sure.values()):
        return BEST
    return WORSE if sure.get(name, 0) < 0 else ""


def _sure(difference: Difference) -> int:
    """1 or -1 where the whole interval is above or below 0; else 0."""
    return (difference.low > 0) - (difference.high < 0)


def _verdicts(result: Measures, one: Measure) -> list[str]:
    """What may be said, a line for the columns of which the same may be; without names where there is one column."""
    said: dict[str, list[str]] = {}
    for name, difference in one.differences.items():
        said.setdefault(f"{difference.verdict}{_by(difference, one.unit)}", []).append(line(name))
    several = len(_columns(result)) > 2
    return [f"{', '.join(names)}: {text}" if several else text for text, names in said.items()]


def _by(difference: Difference, unit: str) -> str:
    """The size of a difference that is sure."""
    sure = _sure(difference)
    return f" ({'+' if sure > 0 else '−'}{_amount(abs(difference.mean), unit)})" if sure else ""


def _amount(size: float, unit: str) -> str:
    if unit == "share":
        points = 100 * size
        return f"{points:.0f} points" if points >= 1.95 else f"{points:.1f} points"
    named = f" {unit}" if unit in ("words", "nats") else ""
    return f"{number(size, unit)}{named}"


def number(value: float, unit: str) -> str:
    """A figure as it is shown; a share as percent.

    Args:
        value: the figure.
        unit: as in `Measure`.
    """
    if not math.isfinite(value):
        return "–"
    return f"{_percent(value)}%" if unit == "share" else f"{value:,.{_decimals(value, unit)}f}"


def _decimals(value: float, unit: str) -> int:
    """Digits after the point: three digits in all (0.083, 1.83, 19.8, 1,234), of words one after the point."""
    size = abs(value)
    three = 3 if size < 0.9995 else 2 if size < 9.995 else 1 if size < 99.95 else 0
    return min(three, 1) if unit == "words" else three


def _percent(share: float) -> str:
    """A whole percent, unless that would say none or all of what is neither."""
    whole = f"{100 * share:.0f}"
    if (whole == "0" and share > 0) or (whole == "100" and share < 1):
        return f"{min(max(100 * share, 0.1), 99.9):.1f}"
    return whole


def _interval(value: Value, unit: str) -> str:
    """Such as 52–71%; empty where there is none."""
    if not (math.isfinite(value.low) and math.isfinite(value.high)):
        return ""
    if unit == "share":
        return f"{_percent(value.low)}–{_percent(value.high)}%"
    decimals = _decimals(value.mean, unit)
    return f"{value.low:,.{decimals}f}–{value.high:,.{decimals}f}"
