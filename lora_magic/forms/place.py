"""Where a form stands: widgets as an output of the cell that can be taken away, above or below a plain one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lora_magic.display import theme
from lora_magic.display.safe import inline, line
from lora_magic.display.surface import Bundle, CellOutput, Surface
from lora_magic.errors import LoraError

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
EMPTY: Bundle = {"text/plain": "", "text/html": ""}
# Pictures follow each other at most so often, in seconds.
LEAST_SECONDS = 0.5


def widget_bundle(widget: Any, instead: str) -> Bundle:
    """What shows a widget; the same on ipywidgets 7 and 8, which make it in different ways.

    Args:
        widget: the outermost one.
        instead: for pages that show no widgets.
    """
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {WIDGET_VIEW: view, "text/plain": instead}


class Place:
    """A plain output, which the saved notebook keeps, and a form below it.

    The plain output is made first: what a callback shows later goes into it, since what a callback prints goes to
    the front end's log.

    Args:
        plain: takes the plain output's bundles.
        form: takes the form's.
        clock: seconds from any origin.
    """

    def __init__(
        self, plain: Surface | None = None, form: Surface | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plain: Surface = plain or CellOutput()
        self._form: Surface = form or CellOutput()
        self._clock, self._drawn = clock, float("-inf")

    def draw(self, bundle: Callable[[], Bundle], at_once: bool = True) -> None:
        """Show another plain bundle.

        Args:
            bundle: makes it.
            at_once: whether it may not be left out though the last one is new.
        """
        now = self._clock()
        if at_once or now - self._drawn >= LEAST_SECONDS:
            self._drawn = now
            self._plain(bundle())

    def open(self, widget: Any, instead: str) -> None:
        """Show the form; see `widget_bundle`."""
        self._form(widget_bundle(widget, instead))

    def close(self) -> None:
        """Take the form away."""
        self._form(EMPTY)


def complaint(error: BaseException) -> str:
    """An error in a form, as HTML of one line and its remedy."""
    problem, remedy = (
        (error.problem, error.remedy) if isinstance(error, LoraError) else (f"{type(error).__name__}: {error}.", "")
    )
    return f'<div style="{theme.BOX}"><b>{inline(line(problem))}</b> {inline(line(remedy))}</div>'


def said(text: str) -> str:
    """A line of a form's own, as HTML."""
    return f'<div style="{theme.BOX};{theme.MUTED}">{inline(text)}</div>'
