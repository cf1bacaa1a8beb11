"""The comparison while it is made: one output, changed in place, with the rows that have answers so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from lora_magic.display.comparison import newest_html
from lora_magic.display.progress import Progress
from lora_magic.display.surface import Bundle, Surface
from lora_magic.results import Comparison


class LiveComparison(Progress):
    """Progress with the newest rows below; it freezes into one line, since the result shows all of them.

    Args:
        title: what is being done.
        surface: what shows a mime bundle; by default the running cell's output, or lines in a terminal.
        clock: seconds from any origin.
    """

    def __init__(self, title: str, surface: Surface | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(title, surface, clock)
        self._so_far: Comparison | None = None
        self._below, self._surface = self._surface, self._with_rows

    def __enter__(self) -> LiveComparison:
        return self

    def show(self, so_far: Comparison) -> None:
        """Take what there is so far, and draw it when it is time.

        Args:
            so_far: rows with the answers that have ended, the newest last.
        """
        self._so_far = so_far
        self.tick()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Freeze into one line, without rows."""
        self._so_far = None
        super().__exit__(kind, error, trace)

    def _with_rows(self, bundle: Bundle) -> None:
        rows = "" if self._so_far is None else newest_html(self._so_far)
        self._below({**bundle, "text/html": bundle["text/html"] + rows})
