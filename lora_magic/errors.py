"""The one exception that a user sees: a line that names the value and a line that says what to do."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable


class LoraError(Exception):
    """A problem the user can act on, shown as one line and its remedy instead of a traceback.

    Args:
        problem: what is wrong, with the offending value.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.with_traceback_shown = False

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what to print in place of a traceback."""
        if self.with_traceback_shown:
            return traceback.format_exception(self)
        return [f"LoraError: {self.problem}", f"  → {self.remedy}"]


class Interrupted(KeyboardInterrupt):
    """The user's own interrupt, shown as one line and what was kept; it still stops Run All.

    Args:
        problem: what was interrupted.
        kept: what is there now.
    """

    def __init__(self, problem: str, kept: str) -> None:
        super().__init__(f"{problem} {kept}")
        self.problem, self.kept = problem, kept

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what to print in place of a traceback."""
        return [f"Interrupted: {self.problem}", f"  → {self.kept}"]


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean "x"?` for the known word closest to `word`, or an empty string when none is close."""
    found = difflib.get_close_matches(word, [k for k in known if k != word], n=1, cutoff=0.6)
    return f'Did you mean "{found[0]}"?' if found else ""
