"""The kernel's stop button outside a training run: what was kept is said, and no import is left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lora_magic.errors import Interrupted


@contextmanager
def held_back() -> Iterator[None]:
    """Keep an interrupt back until the block is done, then let it land.

    An import that is interrupted half-way leaves modules that cannot be imported again in this process.
    Outside the main thread Python delivers no signals and this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before: Any = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


@contextmanager
def said(doing: str, kept: Callable[[], str]) -> Iterator[None]:
    """Turn an interrupt inside the block into one line.

    Args:
        doing: what was interrupted, such as "Loading demo".
        kept: asked afterwards for what is there now.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"{doing} was interrupted.", kept()) from None
