"""Whose turn it is: a button's work on the kernel's main thread, where it can be interrupted."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lora_magic.display.surface import shell


def on_main_thread(act: Callable[[], None]) -> None:
    """Call `act` on the main thread: now, or after the cell that runs.

    Newer kernels hear of buttons on another thread, which no interrupt reaches.
    """
    loop = getattr(getattr(shell(), "kernel", None), "io_loop", None)
    if threading.current_thread() is threading.main_thread() or loop is None:
        act()
    else:
        loop.add_callback(act)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the kernel's stop button raises KeyboardInterrupt; a kernel ignores it while no cell runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


SETTLING = 0.25
"""Seconds from a change to what it moves on the page, and from a press to what it starts.

A button that is pressed while the page moves stays below the pointer, and what was typed before the press has come.
"""


def when_pressed(button: Any, act: Callable[[], None]) -> None:
    """Call `act` after a button's press, with all that was typed before.

    Kernels with subshells hear of some widgets on one thread and of others on another, so that a press can be heard
    before the text that it is about.

    Args:
        button: an ipywidgets Button.
        act: what the press means; on whichever thread hears of it.
    """
    later = Later(act, SETTLING, at=lambda acts: acts())
    button.on_click(lambda _: later() if _has_subshells() else act())


def _has_subshells() -> bool:
    kernel = getattr(shell(), "kernel", None)
    return "kernel subshells" in getattr(kernel, "kernel_info", {}).get("supported_features", ())


class Later:
    """Something to do once things have been quiet for a while.

    Args:
        act: what.
        seconds: how long; at once where no event loop runs.
        at: calls it, on the main thread unless given.
    """

    def __init__(
        self, act: Callable[[], None], seconds: float = 0.7, at: Callable[[Callable[[], None]], None] = on_main_thread
    ) -> None:
        self._act, self._seconds, self._at = act, seconds, at
        self._waiting: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        """Begin to wait, anew where it waits already."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._act()
            return
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = loop.call_later(self._seconds, self._at, self._act)

    def cancel(self) -> None:
        """Do nothing after all."""
        if self._waiting is not None:
            self._waiting.cancel()
