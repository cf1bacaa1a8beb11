"""A run as HTML and as text, while it goes and frozen at its end."""

from __future__ import annotations

import base64

from lora_magic.display import theme, units
from lora_magic.display.run_state import RUNNING, RunState
from lora_magic.display.safe import html_text, inline, line
from lora_magic.display.tables import html_pairs, html_table, terminal_width, text_pairs, text_table, wrap
from lora_magic.display.text_curve import text_curve

_HEADER = ("step", "loss", "held-out loss", "learning rate", "gradient norm", "tokens/s")
_RIGHT = range(len(_HEADER))
_ENDS = {"completed": "done", "early stop": "stopped early", "interrupted": "interrupted", "failed": "failed"}


def run_html(run: RunState, png: bytes | None) -> str:
    """The picture: head line, progress, curve, last rows, notes and what to do next."""
    parts = [_title(run), html_pairs(facts(run)), _bar(run), _image(run, png)]
    if rows := _rows(run):
        parts.append(html_table(_HEADER, rows, _RIGHT))
    parts += [f"<div>{inline(note)}</div>" for note in run.notes]
    if run.saved:
        label, place = run.saved
        parts.append(f'<div><span style="{theme.MUTED}">{label}</span> {inline(place)}</div>')
    if run.message:
        parts.append(_message(run))
    return f'<div style="{theme.BOX}">{"".join(parts)}</div>'


def _title(run: RunState) -> str:
    name = f"<b>{inline(run.started.name)}</b> on {inline(run.started.model)}"
    return f"<div>{name} · {html_text(progress_line(run))}</div>"


def progress_line(run: RunState) -> str:
    """Where the run is, in a line: its state, steps, seconds and seconds left."""
    planned = run.started.planned_steps
    if run.state != RUNNING:
        state = _ENDS.get(run.state, line(run.state))
        steps = f"{run.step:,}" if run.step == planned else f"{run.step:,} of {planned:,}"
        return f"{state} · {steps} steps in {units.duration(run.seconds)}"
    if not run.losses:
        return f"starting · {planned:,} steps planned"
    left = run.seconds_left
    ahead = "" if left is None else f" · {units.duration(left)} left"
    return f"step {run.step:,} of {planned:,} · {units.duration(run.seconds)}{ahead}"


def facts(run: RunState) -> list[tuple[str, str]]:
    """Label and value pairs under the head line."""
    start = run.started
    pairs = list(start.header)
    if start.training_rows:
        pairs.append(("rows", f"{start.training_rows:,} to train, {start.held_out_rows:,} held out"))
    if start.epochs:
        pairs.append(("epochs", f"{start.epochs:.3g}"))
    if start.total_parameters:
        trained, total = start.trainable_parameters, start.total_parameters
        parts = f"{units.count(trained)} of {units.count(total)} parameters ({units.share(trained / total)})"
        pairs.append(("trained", parts))
    if memory := run.memory_gib:
        now, most = (units.gib(amount) for amount in memory)
        pairs.append(("memory", now if now == most else f"{now}, at most {most}"))
    if held_out := held_out_line(run):
        pairs.append(("held-out loss", held_out))
    return pairs


def held_out_line(run: RunState) -> str:
    """The first and the last held-out loss; where there is one alone, whether it is that of the base."""
    values = [units.loss(loss) for _, loss in run.held_out]
    if len(values) == 1:
        return values[0] if run.held_out[0][0] else f"{values[0]} before training"
    return f"{values[0]} → {values[-1]}" if values else ""


def _bar(run: RunState) -> str:
    if run.state == "completed":
        return ""
    colour = theme.RED if run.state == "failed" else theme.BLUE
    return bar(run.fraction, theme.css(colour))


def bar(fraction: float, colour: str = theme.css(theme.BLUE)) -> str:
    """A thin progress bar, `fraction` of it filled."""
    percent = 100 * min(1.0, max(0.0, fraction))
    shape = "height:4px;border-radius:2px"
    return (
        f'<div style="{shape};background-color:rgba(127,127,127,0.25);margin:5px 0 7px 0;max-width:560px">'
        f'<div style="{shape};width:{percent:.1f}%;background-color:{colour}"></div></div>'
    )


def _image(run: RunState, png: bytes | None) -> str:
    if not png:
        return ""
    alt = f"Loss curve: {len(run.losses):,} steps"
    if run.losses:
        first, last = (units.loss(run.losses[index][1]) for index in (0, -1))
        alt += f", training loss {first} at first and {last} at last"
    if run.held_out:
        alt += f", held-out loss {held_out_line(run)}"
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    style = "display:block;max-width:100%;margin:0"
    return f'<img style="{style}" width="{theme.CURVE_WIDTH}" alt="{html_text(alt)}" src="{source}">'


def _rows(run: RunState) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for step, event, held_out in run.last_rows():
        measured = ("–", units.loss(held_out), "–", "–", "–")
        if event is not None:
            measured = (
                units.loss(event.loss),
                units.loss(held_out),
                units.scientific(event.learning_rate),
                units.loss(event.gradient_norm),
                units.rate(event.tokens_per_second),
            )
        rows.append((f"{step:,}", *measured))
    return rows


def _message(run: RunState) -> str:
    colour = theme.RED if run.state == "failed" else theme.BLUE
    style = f"border-left:3px solid {theme.css(colour)};padding:1px 0 1px 10px;margin:6px 0"
    return f'<div style="{style}">{inline(run.message)}</div>'


def run_text(run: RunState, width: int | None = None) -> str:
    """The frozen picture for a terminal, no line wider than `width` columns."""
    limit = width or terminal_width()
    title = f"{line(run.started.name)} on {line(run.started.model)} · {progress_line(run)}"
    parts = [*wrap(title, limit), text_pairs(facts(run), limit), text_curve(run.series, min(limit, 80))]
    if rows := _rows(run):
        parts.append(text_table(_HEADER, rows, _RIGHT, limit))
    lines = [*run.notes, *([" ".join(run.saved)] if run.saved else []), run.message]
    parts += [wrapped for text in lines for wrapped in wrap(line(text), limit)]
    return "\n".join(part for part in parts if part)
