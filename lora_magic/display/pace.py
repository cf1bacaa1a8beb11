"""How often to redraw, so that drawing stays a small share of the time it accompanies."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

SHARE = 0.007
LEAST_SECONDS = 0.5


class Pace:
    """Weighs what redraws have cost against the time that has passed.

    A redraw is due when, were it as dear as the dearest of late, all of them together would still be under
    `share` of the time since the pace began, and `least_seconds` have passed since the last.

    Args:
        clock: seconds from any origin.
        share: of the elapsed time that drawing may take.
        least_seconds: between the end of one redraw and the next.
    """

    def __init__(self, clock: Callable[[], float], share: float = SHARE, least_seconds: float = LEAST_SECONDS) -> None:
        self._clock, self._share, self._least_seconds = clock, share, least_seconds
        self._began = self._last = clock()
        self._start = 0.0
        self._expected = 0.0
        self.spent = 0.0

    def due(self) -> bool:
        """Whether another redraw can be afforded now."""
        now = self._clock()
        affordable = self.spent + self._expected <= self._share * (now - self._began)
        return affordable and now - self._last >= self._least_seconds

    def __enter__(self) -> Pace:
        self._start = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Add what the redraw inside the `with` block cost."""
        self._last = self._clock()
        cost = self._last - self._start
        self.spent += cost
        self._expected = max(cost, 0.7 * self._expected)
