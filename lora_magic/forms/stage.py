"""Where a form's run shows what it does: one output that was made beforehand, since a button's output has no cell.

What the run displays and prints comes together in that output as plain HTML, which the saved notebook keeps. A form
that the run opens itself, such as a vote, stands in a second output below.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from lora_magic.display import theme
from lora_magic.display.safe import block, inline, line
from lora_magic.display.surface import Bundle, CellOutput, Surface, outputs_from
from lora_magic.forms.place import EMPTY, LEAST_SECONDS, WIDGET_VIEW

_LINE = f"{theme.BOX};border-left:3px solid {theme.css(theme.BLUE)};margin:4px 0"
_BEFORE = f"{theme.SMALL};padding:0 6px"
_FOLDED = "margin:4px 0;padding:0 6px"
_MOST_PRINTED = 20_000


class Part:
    """One display of a run; it can change for as long as its run is the one that is shown."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self.bundle, self._is_widget = stage, EMPTY, False

    def __call__(self, bundle: Bundle) -> None:
        """Show `bundle` in place of what was there."""
        self._is_widget = self._is_widget or WIDGET_VIEW in bundle
        if not self._is_widget:
            self.bundle = bundle
        self._stage.take(self, bundle, self._is_widget)


class Stage:
    """What a form's runs leave: the last one whole, those before it as their lines.

    Args:
        plain: takes the plain output's bundles.
        guest: takes those of a form that the run opens.
        clock: seconds from any origin.
        keeps: the runs before stay whole, folded under their lines.
    """

    def __init__(
        self,
        plain: Surface | None = None,
        guest: Surface | None = None,
        clock: Callable[[], float] = time.monotonic,
        keeps: bool = False,
    ) -> None:
        self._plain: Surface = plain or CellOutput()
        self._guest: Surface = guest or CellOutput()
        self._clock, self._drawn, self._keeps = clock, float("-inf"), keeps
        self._line, self._state, self._printed = "", "", ""
        self._parts: list[Part] = []
        self._before: list[tuple[str, str]] = []

    def open(self) -> None:
        """Make both outputs, in the cell that runs now."""
        self._plain(EMPTY)
        self._guest(EMPTY)

    @contextlib.contextmanager
    def run(self, written: str) -> Iterator[None]:
        """Inside, displays and prints come here.

        Args:
            written: the line that runs.
        """
        if self._line:
            self._before.append(self._past())
        self._line, self._state, self._printed, self._parts = written, "running", "", []
        self._guest(EMPTY)
        self.draw()
        with outputs_from(self._part), contextlib.redirect_stdout(_Printed(self.printed)):
            yield

    def _part(self) -> Surface:
        self._parts.append(Part(self))
        return self._parts[-1]

    def take(self, part: Part, bundle: Bundle, is_widget: bool) -> None:
        """A part has changed."""
        if not any(part is one for one in self._parts):
            return
        if is_widget:
            self._guest(bundle)
        else:
            self.draw()

    def show(self, bundle: Bundle) -> None:
        """Add one more display."""
        self._part()(bundle)

    def printed(self, text: str) -> None:
        """Add text that the run prints."""
        self._printed = (self._printed + text)[-_MOST_PRINTED:]
        if self._clock() - self._drawn >= LEAST_SECONDS:
            self.draw()

    def end(self, state: str) -> None:
        """Say how the run ended."""
        self._state = state
        self.draw()

    def draw(self) -> None:
        """Show everything as it is now."""
        self._drawn = self._clock()
        self._plain({"text/html": self._html(), "text/plain": self._text()})

    def _html(self) -> str:
        before = "".join(html for html, _ in self._before)
        now = f'<div style="{_LINE}">{inline(line(self._line))}<div>{inline(self._state)}</div></div>'
        return before + now + self._shown()

    def _shown(self) -> str:
        """What the run has shown, as HTML."""
        said = f'<div style="{theme.BOX}">{block(self._printed.rstrip())}</div>' if self._printed.strip() else ""
        return said + "".join(_html_of(part.bundle) for part in self._parts)

    def _text(self) -> str:
        parts = [str(part.bundle.get("text/plain", "")) for part in self._parts]
        head = [*(text for _, text in self._before), line(self._line), self._state]
        return "\n".join([*head, *filter(None, [self._printed.rstrip(), *parts])])

    def _past(self) -> tuple[str, str]:
        """The run so far as one that others follow: HTML and text."""
        told = line(f"{self._line} · {self._state}")
        if not self._keeps:
            return f'<div style="{_BEFORE}">{inline(f"before: {told}")}</div>', f"before: {told}"
        summary = f'<summary style="{theme.SUMMARY}">{inline(told)}</summary>'
        return f'<details style="{_FOLDED}">{summary}{self._shown()}</details>', f"before: {told}"


def _html_of(bundle: Bundle) -> str:
    if "text/html" in bundle:
        return str(bundle["text/html"])
    return f'<div style="{theme.BOX}">{block(bundle.get("text/plain", ""))}</div>'


class _Printed:
    """A stream for print()."""

    encoding = "utf-8"

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def write(self, text: str) -> int:
        """Take text."""
        self._write(text)
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def isatty(self) -> bool:
        """It is no terminal."""
        return False


def bundle_of(result: Any) -> Bundle:
    """What Jupyter would show of a cell's result."""
    draw = getattr(result, "_repr_mimebundle_", None)
    return draw() if draw is not None else {"text/plain": repr(result)}
