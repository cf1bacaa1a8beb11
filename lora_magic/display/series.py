"""What both curves draw: the losses of a run, smoothed, with limits and ticks. Losses are in nats a token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

Points = Sequence[tuple[float, float]]
_loss = itemgetter(1)
# Characters for half of which the pictures have room beyond the last step.
_LONG_LABEL = 4


@dataclass(frozen=True)
class Series:
    """A run's losses over its planned steps.

    Attributes:
        losses: (step, training loss) pairs in order.
        held_out: (step, held-out loss) pairs in order.
        planned_steps: where the x axis ends.
        stopped_at: the step where a run ended before its plan, or None.
    """

    losses: Points
    held_out: Points = ()
    planned_steps: int = 1
    stopped_at: int | None = None

    @property
    def last_step(self) -> float:
        """The right end of the x axis."""
        return max([self.planned_steps, 1, *(points[-1][0] for points in (self.losses, self.held_out) if points)])


def finite(points: Points) -> list[tuple[float, float]]:
    """The points whose loss is a number."""
    return [(step, loss) for step, loss in points if math.isfinite(loss)]


def smooth(points: Points) -> list[tuple[float, float]]:
    """An exponential mean that starts unbiased; the longer the run, the longer its memory (3 to 50 steps)."""
    weight = 1 - 2 / (min(50.0, max(3.0, len(points) / 15)) + 1)
    total = norm = 0.0
    smoothed = []
    for step, loss in points:
        total = weight * total + (1 - weight) * loss
        norm = weight * norm + (1 - weight)
        smoothed.append((step, total / norm))
    return smoothed


def thin(points: Points, at_most: int) -> list[tuple[float, float]]:
    """About `at_most` points that keep the highest and the lowest of every stretch, and both ends."""
    if len(points) <= at_most:
        return list(points)
    stretch = math.ceil(2 * len(points) / at_most)
    kept = [points[0]]
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        low, high = min(part, key=_loss), max(part, key=_loss)
        kept += [low, high] if low[0] <= high[0] else [high, low]
    return [*kept, points[-1]]


def limits(raw: Points, smoothed: Points, held_out: Points) -> tuple[float, float]:
    """The lowest and highest loss to show: all smoothed and held-out values, raw ones but the rarest."""
    values = sorted(loss for _, loss in raw)
    spare = len(values) // 50
    core = values[spare : len(values) - spare]
    shown = [*core[:1], *core[-1:], *(loss for _, loss in (*smoothed, *held_out))]
    if not shown:
        return 0.0, 1.0
    low, high = min(shown), max(shown)
    pad = 0.06 * (high - low) or max(0.05, 0.05 * abs(high))
    return (0.0 if low >= 0 > low - pad else low - pad), high + pad


def ticks(low: float, high: float, about: int, whole: bool = False) -> list[float]:
    """Round values between `low` and `high`, about that many; `whole` for steps."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= about * 1.01)
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels with as many decimals as the distance between the ticks needs."""
    gap = values[1] - values[0] if len(values) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9)) if gap > 0 else 0
    return [f"{value:,.{decimals}f}" for value in values]


def mark_steps(axes: Any, last_step: float) -> None:
    """Ticks of steps on matplotlib's axes; a long label at the right end stays inside the picture."""
    steps = ticks(0, last_step, 8, whole=True)
    labels = tick_labels(steps)
    axes.set_xticks(steps, labels)
    if len(labels[-1]) > _LONG_LABEL:
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
