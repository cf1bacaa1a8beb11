"""Stopping a run where its weights are whole: between steps, never inside an update."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stopped(Exception):
    """Leaves the training loop at a point where the adapter is as of the last finished step."""


class Interrupt:
    """While open, the first interrupt asks the run to stop at the next safe point and a second one stops it now.

    Neither ever lands between `hold` and `release`, which the run calls around the optimiser's update and the
    step's record. Outside the main thread Python delivers no signals and this does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._held = 0
        self._again = False
        self._before: Any = None
        self._installed = False

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
            self._installed = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked and not self._held:
            raise Stopped
        self._again = self.asked
        self.asked = True

    def safe_point(self) -> None:
        """Leave the loop here if a stop was asked for.

        Raises:
            Stopped: it was.
        """
        if self.asked:
            raise Stopped

    def hold(self) -> None:
        """From here on no interrupt lands."""
        self._held += 1

    def release(self) -> None:
        """Interrupts may land again; one that came twice meanwhile lands now.

        Raises:
            Stopped: a second interrupt came while held.
        """
        self._held -= 1
        if self._again and not self._held:
            raise Stopped
