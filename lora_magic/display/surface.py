"""Where pictures go: an output of a notebook cell that changes in place, or lines in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TextIO

Bundle = dict[str, Any]


class Surface(Protocol):
    """Takes one picture after another; each replaces the one before."""

    def __call__(self, bundle: Bundle) -> None:
        """Show a mime bundle."""


def shell() -> Any:
    """The running IPython shell, or None; IPython is not imported for the question."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def in_notebook() -> bool:
    """Whether the shell belongs to a Jupyter kernel, which can change an output in place."""
    return getattr(shell(), "kernel", None) is not None


def cell_number() -> int | None:
    """The number of the cell that runs now, or None outside IPython."""
    running = shell()
    return None if running is None else int(running.execution_count)


_elsewhere: ContextVar[Callable[[], Surface] | None] = ContextVar("lora_magic_outputs", default=None)


@contextmanager
def outputs_from(make: Callable[[], Surface]) -> Iterator[None]:
    """Inside, what would be a new output of the running cell is a surface that `make` gives, and stays it."""
    token = _elsewhere.set(make)
    try:
        yield
    finally:
        _elsewhere.reset(token)


class CellOutput:
    """One output of the running cell, updated in place; the saved notebook keeps its last state."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._surface: Surface | None = None

    def __call__(self, bundle: Bundle) -> None:
        """Show `bundle`, at first as a new output."""
        from IPython.display import display

        make = _elsewhere.get()
        if self._surface is None and self._handle is None and make is not None:
            self._surface = make()
        if self._surface is not None:
            self._surface(bundle)
        elif self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)


def write_line(text: str, stream: TextIO | None = None) -> None:
    """Print `text` at once, on the standard error of the moment unless `stream` is given."""
    print(text, file=stream or sys.stderr, flush=True)
