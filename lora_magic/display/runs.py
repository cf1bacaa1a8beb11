"""The views of recorded runs: a table of what was tried and how it went, and the curves over each other."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from lora_magic.display import theme, units
from lora_magic.display.runs_picture import SYMBOLS, Curve, curves, runs_plot, runs_png
from lora_magic.display.runs_settings import cut, differences
from lora_magic.display.safe import html_text, inline, line
from lora_magic.display.tables import html_pairs, html_table, terminal_width, text_pairs, text_table, wrap
from lora_magic.results import Runs, RunSummary

ROWS, TEXT_ROWS = 12, 30
_LONGEST_TEXT = 100
_WIDE = 110
_MOST_NOTES = 12
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def runs_bundle(result: Runs) -> dict[str, Any]:
    """Table and picture as HTML and text, and the picture by itself as PNG where there is a curve."""
    drawn = curves(result.runs)
    png = runs_png(list(drawn.values())) if drawn else None
    bundle = {"text/plain": runs_text(result, drawn=drawn), "text/html": _html(result, drawn, png)}
    return {**bundle, "image/png": png} if png else bundle


def _html(result: Runs, drawn: Mapping[int, Curve], png: bytes | None) -> str:
    """Head line, the first runs as a table, the picture, the other runs folded, and notes."""
    if not result.runs:
        return f'<div style="{theme.BOX}"><div>{inline(_nothing(result))}</div>{_notes_html(result)}</div>'
    header, rows, right = _table(result.runs, drawn, "\u00a0")
    parts = [_title_html(result), html_pairs(_shared(result.runs)), html_table(header, rows[:ROWS], right)]
    if png:
        parts.append(_image(list(drawn.values()), png))
    if len(rows) > ROWS:
        summary = f'<summary style="{theme.SUMMARY}">{len(rows) - ROWS:,} more runs</summary>'
        parts.append(f"<details>{summary}{html_table(header, rows[ROWS:], right)}</details>")
    return f'<div style="{theme.BOX}">{"".join(parts)}{_notes_html(result)}</div>'


def _title_html(result: Runs) -> str:
    return f"<div><b>{_counted(result)}</b> in {inline(result.folder)}</div>"


def _counted(result: Runs) -> str:
    return "1 run" if len(result.runs) == 1 else f"{len(result.runs):,} runs"


def _nothing(result: Runs) -> str:
    return f"There are no runs in {result.folder} yet. %lora_train NAME --data demo-json makes one."


def _image(drawn: Sequence[Curve], png: bytes) -> str:
    alt = f"Loss curves of {', '.join(curve.name for curve in drawn)}"
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    style = "display:block;max-width:100%;margin:8px 0 4px 0"
    return f'<img style="{style}" width="{theme.CURVE_WIDTH}" alt="{html_text(alt)}" src="{source}">'


def _notes_html(result: Runs) -> str:
    return "".join(f'<div style="{theme.SMALL}">{inline(note)}</div>' for note in _notes(result))


def _notes(result: Runs) -> list[str]:
    """Why runs failed, what could not be read, and what else lies there; the first lines of it."""
    notes = [f"{run.name} failed: {cut(run.message, 300)}" for run in result.runs if run.reason == "failed"]
    notes += [f"{run.name}: {note}" for run in result.runs for note in run.notes]
    notes += result.notes
    left = len(notes) - _MOST_NOTES
    return notes if left <= 0 else [*notes[:_MOST_NOTES], f"… and {left:,} more notes"]


def runs_text(result: Runs, width: int | None = None, drawn: Mapping[int, Curve] | None = None) -> str:
    """The same for a terminal.

    Args:
        result: what to show.
        width: columns that no line passes, the terminal's when None.
        drawn: its curves, where they are at hand.
    """
    limit = width or terminal_width()
    parts: list[str] = []
    if result.runs:
        drawn = curves(result.runs) if drawn is None else drawn
        header, rows, right = _table(result.runs, drawn, narrow=limit < _WIDE)
        parts += wrap(f"{_counted(result)} in {line(result.folder)}", limit)
        parts += [text_pairs(shared, limit)] if (shared := _shared(result.runs)) else []
        parts += ["", text_table(header, rows[:TEXT_ROWS], right, limit)]
        if len(rows) > TEXT_ROWS:
            parts += wrap(f"… and {len(rows) - TEXT_ROWS:,} more runs: the result's .runs holds all.", limit)
        if drawn:
            parts += ["", runs_plot(list(drawn.values()), min(limit, 80))]
    else:
        parts += wrap(line(_nothing(result)), limit)
    parts += [wrapped for note in _notes(result) for wrapped in wrap(line(note), limit)]
    return "\n".join(parts)


def _table(
    runs: Sequence[RunSummary], drawn: Mapping[int, Curve], space: str = " ", narrow: bool = False
) -> tuple[tuple[str, ...], list[tuple[str, ...]], tuple[int, ...]]:
    """Titles, rows and the columns that align right; columns that say nothing are left out.

    Args:
        runs: a row each.
        drawn: the curves that are shown, by their run's place.
        space: what stands between the parts of a date or a number, which a browser must not break.
        narrow: leave out what a terminal of 80 columns has no room for: when runs began,
            how long they took and whether they left an adapter.
    """
    symbols = {place: SYMBOLS[index] for index, place in enumerate(drawn)}
    columns: list[tuple[str, list[str]]] = [
        ("", [symbols.get(place, "") for place in range(len(runs))]),
        ("run", [run.name for run in runs]),
    ]
    if not narrow:
        columns.append(("began", [began.replace(" ", space) for began in _began(runs)]))
    for title, values in (("model", [run.model for run in runs]), ("data", [run.data for run in runs])):
        if len(set(values)) > 1:
            columns.append((title, [cut(value, _LONGEST_TEXT) or "–" for value in values]))
    if any(settings := differences(runs)[0]):
        columns.append(("settings", list(settings)))
    columns += [
        ("steps", [_steps(run).replace(" ", space) for run in runs]),
        ("last loss", [_loss(run.losses[-1][1]) if run.losses else "–" for run in runs]),
        ("held-out" if narrow else "lowest held-out", [_best(run).replace(" ", space) for run in runs]),
        ("ended", [run.reason if narrow else _ended(run) for run in runs]),
    ]
    if not narrow:
        columns.append(("adapter", ["yes" if run.adapter_path else "no" for run in runs]))
    titles = tuple(title for title, _ in columns)
    right = tuple(titles.index(title) for title in ("steps", "last loss"))
    return titles, list(zip(*(cells for _, cells in columns), strict=True)), right


def _shared(runs: Sequence[RunSummary]) -> list[tuple[str, str]]:
    """Model and data where all runs have the same, and what most have where many settings differ."""
    pairs = []
    for label, values in (("model", {run.model for run in runs}), ("data", {run.data for run in runs})):
        if len(values) == 1 and (value := next(iter(values))):
            pairs.append((label, cut(value, _LONGEST_TEXT)))
    usual = ", ".join(differences(runs)[1])
    return [*pairs, ("unless said", usual)] if usual else pairs


def _began(runs: Sequence[RunSummary]) -> list[str]:
    """Day and time of each, and the year where they are of several."""
    years = {run.began.year for run in runs if run.began}
    return [
        f"{began.day} {_MONTHS[began.month - 1]} {f'{began.year} ' if len(years) > 1 else ''}{began:%H:%M}"
        if (began := run.began)
        else "–"
        for run in runs
    ]


def _steps(run: RunSummary) -> str:
    if run.planned_steps in (None, run.step):
        return f"{run.step:,}"
    return f"{run.step:,} of {run.planned_steps:,}"


def _loss(loss: float) -> str:
    return units.loss(loss) if abs(loss) < 1e6 else f"{loss:.3g}"


def _best(run: RunSummary) -> str:
    """The lowest held-out loss and its step."""
    return f"{_loss(run.best[1])} at {run.best[0]:,}" if run.best else "–"


def _ended(run: RunSummary) -> str:
    if run.reason == "unfinished":
        return run.reason
    return f"{run.reason} {'after' if run.reason == 'failed' else 'in'} {units.duration(run.seconds)}"
