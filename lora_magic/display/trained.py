"""The views of a finished run: the frozen picture, and one line where that picture stands above."""

from __future__ import annotations

from lora_magic.display import theme, units
from lora_magic.display.live import final_curve
from lora_magic.display.run_state import state_of
from lora_magic.display.run_view import held_out_line, run_html, run_text
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import terminal_width, wrap
from lora_magic.results import TrainResult


def train_bundle(result: TrainResult) -> dict[str, object]:
    """The frozen picture as HTML, text and PNG."""
    run = state_of(result)
    png = final_curve(run.series)
    bundle: dict[str, object] = {"text/plain": run_text(run), "text/html": run_html(run, png)}
    return {**bundle, "image/png": png} if png else bundle


def train_text(result: TrainResult, width: int | None = None) -> str:
    """The frozen picture for a terminal."""
    return run_text(state_of(result), width)


def compact_bundle(result: TrainResult) -> dict[str, object]:
    """One line: name, held-out loss, seconds and the adapter's folder."""
    said = _summary(result)
    path = f'<span style="{theme.MUTED}">adapter in</span> {inline(result.adapter_path)}'
    html = f'<div style="{theme.BOX}"><b>{inline(result.name)}</b> {inline(said)} · {path}</div>'
    text = wrap(f"{line(result.name)} {said} · adapter in {line(result.adapter_path)}", terminal_width())
    return {"text/plain": "\n".join(text), "text/html": html}


def _summary(result: TrainResult) -> str:
    held_out = held_out_line(state_of(result))
    loss = f"held-out loss {held_out} · " if held_out else ""
    state = "" if result.reason == "completed" else f"{line(result.reason)} · "
    return f"{state}{loss}{units.duration(result.seconds)}"
