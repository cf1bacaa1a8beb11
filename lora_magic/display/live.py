"""Listeners that show a run while it goes: one output changed in place in a notebook, lines in a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from lora_magic.display.live_curve import live_curve_png
from lora_magic.display.pace import Pace
from lora_magic.display.run_state import RunState
from lora_magic.display.run_view import held_out_line, progress_line, run_html, run_text
from lora_magic.display.safe import line
from lora_magic.display.series import Series
from lora_magic.display.surface import CellOutput, Surface, in_notebook, write_line
from lora_magic.display.units import loss, rate
from lora_magic.events import Evaluated, Event, Finished, Listener, Recovered, Started, Stepped


def picture() -> Listener:
    """The listener that suits where this runs."""
    return NotebookPicture() if in_notebook() else TerminalPicture()


class NotebookPicture:
    """The live picture, an output of the cell that is redrawn in place and freezes at the run's end.

    Args:
        surface: what shows a mime bundle; the running cell's output by default.
        clock: seconds from any origin.
    """

    def __init__(self, surface: Surface | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self._surface = surface or CellOutput()
        self._clock = clock
        self._run: RunState | None = None
        self._pace = Pace(clock)
        live_curve_png(Series([(0, 1.0), (1, 0.5)], [(1, 0.7)], 2))

    def __call__(self, event: Event) -> None:
        """Take one event and redraw when it is time."""
        if isinstance(event, Started):
            self._run, self._pace = RunState(event), Pace(self._clock)
            self._draw(self._run)
            return
        if self._run is None:
            return
        self._run.take(event)
        if isinstance(event, Finished):
            self._freeze(self._run)
        elif self._pace.due():
            self._draw(self._run)

    def _draw(self, run: RunState) -> None:
        with self._pace:
            png = live_curve_png(run.series) if run.losses or run.held_out else None
            self._surface({"text/html": run_html(run, png), "text/plain": progress_line(run)})

    def _freeze(self, run: RunState) -> None:
        self._surface({"text/html": run_html(run, final_curve(run.series)), "text/plain": run_text(run)})


def final_curve(data: Series) -> bytes | None:
    """The final curve, from Pillow where matplotlib cannot be imported; None without any loss."""
    if not data.losses and not data.held_out:
        return None
    try:
        from lora_magic.display.curve import curve_png

        return curve_png(data)
    except ImportError:
        return live_curve_png(data)


class TerminalPicture:
    """A line now and then, and the curve with the last rows as text at the end.

    Args:
        stream: where to write; the standard error of the moment by default.
        clock: seconds from any origin.
        width: columns to fit into; the terminal's by default.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
        width: int | None = None,
    ) -> None:
        self._stream, self._clock, self._width = stream, clock, width
        self._run: RunState | None = None
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        """Take one event; write a line when there is news or it was quiet for long enough."""
        if isinstance(event, Started):
            self._run = RunState(event)
            self._write(f"{line(event.name)} on {line(event.model)} · {progress_line(self._run)}")
            return
        run = self._run
        if run is None:
            return
        run.take(event)
        if isinstance(event, Finished):
            write_line(run_text(run, self._width), self._stream)
        elif isinstance(event, Recovered):
            self._write(line(run.notes[-1]))
        elif isinstance(event, Evaluated):
            self._write(f"{progress_line(run)} · held-out loss {held_out_line(run)}")
        elif isinstance(event, Stepped) and self._quiet(run):
            self._write(f"{progress_line(run)} · loss {loss(event.loss)} · {rate(event.tokens_per_second)} tokens/s")

    def _quiet(self, run: RunState) -> bool:
        """Whether the last line is old: about thirty lines a run, two seconds apart at least."""
        expected = run.seconds + (run.seconds_left or 0.0)
        return self._clock() - self._last >= max(2.0, expected / 30)

    def _write(self, text: str) -> None:
        self._last = self._clock()
        write_line(text, self._stream)
