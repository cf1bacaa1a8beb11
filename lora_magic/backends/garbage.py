"""Python's garbage collector, kept from looking through all of a notebook again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def old_objects_set_aside() -> Iterator[None]:
    """Inside, collecting looks at new objects alone: with the stack imported a full one takes about half a second."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
