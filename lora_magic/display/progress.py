"""Progress of the phases before training: one output changed in place, which freezes into a short line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from lora_magic.display import theme, units
from lora_magic.display.run_view import bar
from lora_magic.display.safe import inline, line
from lora_magic.display.surface import CellOutput, Surface, in_notebook, write_line

_LEAST_SECONDS = 0.5
_TERMINAL_SECONDS = 5.0


class Progress:
    """Shows the phases of something slow, such as download, imports and weights.

    `update` may come from any thread; only the thread that made the object publishes.

    Args:
        title: what is being done.
        surface: what shows a mime bundle; by default the running cell's output, or lines in a terminal.
        clock: seconds from any origin.
    """

    def __init__(self, title: str, surface: Surface | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        notebook = surface is not None or in_notebook()
        self._surface: Surface = surface or (CellOutput() if notebook else _TerminalLines())
        self._least_seconds = _LEAST_SECONDS if notebook else _TERMINAL_SECONDS
        self._title, self._clock, self._thread = title, clock, threading.get_ident()
        self._seconds: list[tuple[str, float]] = []
        self._phase = ""
        self._value: tuple[float | None, str] = (None, "")
        self._published = float("-inf")

    @property
    def seconds(self) -> tuple[tuple[str, float], ...]:
        """The finished phases and what each took, in seconds."""
        return tuple(self._seconds)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Freeze into one line with the seconds of each phase."""
        parts = ", ".join(f"{name} {units.duration(taken)}" for name, taken in self._seconds)
        state = "" if kind is None else " · interrupted" if kind is KeyboardInterrupt else " · failed"
        pieces = [self._title + state, *([parts] if parts else [])]
        self._surface(_bundle(" · ".join(pieces), None))

    @contextmanager
    def phase(self, name: str) -> Iterator[Progress]:
        """Count the `with` block as the phase `name`."""
        self._phase, self._value = name, (None, "")
        began = self._clock()
        if self._is_own_thread():
            self._publish()
        try:
            yield self
        finally:
            self._seconds.append((name, self._clock() - began))
            self._phase, self._value = "", (None, "")

    def update(self, fraction: float | None = None, note: str = "") -> None:
        """Say how far the phase is.

        Args:
            fraction: 0 to 1, or None where that is not known.
            note: such as "1.2 of 6.0 GB"; the per cent by default.
        """
        self._value = (fraction, note)
        self.tick()

    def tick(self) -> None:
        """Show what is new, such as another thread's update, when it is time and this is the right thread."""
        if self._is_own_thread() and self._clock() - self._published >= self._least_seconds:
            self._publish()

    def _is_own_thread(self) -> bool:
        return threading.get_ident() == self._thread

    def _publish(self) -> None:
        self._published = self._clock()
        fraction, note = self._value
        said = note or ("" if fraction is None else units.share(fraction))
        phase = f"{self._phase} {said}".strip()
        self._surface(_bundle(f"{self._title} · {phase}", 0.0 if fraction is None else fraction))


def _bundle(said: str, fraction: float | None) -> dict[str, str]:
    """The line as HTML, with a bar while it goes, and as text."""
    drawn = "" if fraction is None else bar(fraction)
    style = theme.BOX if fraction is not None else f"{theme.BOX};{theme.MUTED}"
    return {"text/html": f'<div style="{style}">{inline(said)}{drawn}</div>', "text/plain": line(said)}


class _TerminalLines:
    """Writes each new line once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, bundle: dict[str, str]) -> None:
        if bundle["text/plain"] != self._last:
            self._last = bundle["text/plain"]
            write_line(self._last)
