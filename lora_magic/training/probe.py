"""The rows that are computed before a run's first step, to see whether the plan holds: the run's own largest pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lora_magic.dataset.order import epoch_order
from lora_magic.planning.passes import passes
from lora_magic.planning.run_plan import Way

LOOKED_AT = 200
"""Steps, the largest first, that are cut into passes to find the largest pass."""
FULL = 0.98
"""A pass that fills this share of the plan's budget is as good as the largest."""


def largest_pass(lengths: Sequence[int], way: Way, batch: int, *, seed: int, steps: int) -> list[int]:
    """Numbers of the rows of the largest pass that the run will make.

    Where steps are cut into passes and none of the first so many is full, the longest rows of the run that fit are
    taken if they make a larger one.

    Args:
        lengths: tokens of every row of the run.
        way: how its steps are cut.
        batch: rows in an optimiser step.
        seed: of the run, which the order of the rows depends on.
        steps: of the run.
    """
    import numpy

    made = numpy.asarray(lengths)
    by_size = sorted(_steps(made, way, batch, seed, steps), key=lambda step: -step[0])
    budget = way.tokens if way.tokens is not None else by_size[0][0]
    best: list[int] = []
    for size, step in by_size[:LOOKED_AT]:
        if best and min(size, budget) <= _tokens(made[best].tolist(), way):
            return best
        cut = passes(made[step].tolist(), tokens=way.tokens, rows=way.rows, padded=way.padded)
        parts = [[step[i] for i in part] for part in cut]
        best = max([best, *parts] if best else parts, key=lambda part: _tokens(made[part].tolist(), way))
        if _tokens(made[best].tolist(), way) >= FULL * budget:
            return best
    if len(by_size) <= LOOKED_AT:
        return best
    return max(best, longest_rows(lengths, way, batch), key=lambda part: _tokens(made[part].tolist(), way))


def longest_rows(lengths: Sequence[int], way: Way, batch: int) -> list[int]:
    """Numbers of the run's longest rows, as many as fit a pass.

    Args:
        lengths: tokens of every row of the run.
        way: how its steps are cut.
        batch: rows in an optimiser step.
    """
    import numpy

    longest = numpy.argsort(numpy.asarray(lengths), kind="stable")[::-1][: min(batch, way.rows or batch)]
    chosen: list[int] = []
    for i in longest.tolist():
        made = [*chosen, i]
        if chosen and way.tokens is not None and _tokens([lengths[k] for k in made], way) > way.tokens:
            break
        chosen = made
    return chosen


def _tokens(lengths: Sequence[int], way: Way) -> int:
    """Of a pass over rows of these lengths, padding included."""
    return max(lengths) * len(lengths) if way.padded else sum(lengths)


def _steps(lengths: Any, way: Way, batch: int, seed: int, steps: int) -> Iterator[tuple[int, list[int]]]:
    """Tokens, and row numbers, of each step of the run, as if it were one pass."""
    import numpy

    starts = numpy.arange(0, len(lengths), batch)
    left = steps
    for epoch in range(-(-steps // len(starts))):
        order = epoch_order(len(lengths), seed=seed, epoch=epoch)
        ordered = lengths[order]
        counts = numpy.diff([*starts, len(order)])
        sizes = numpy.add.reduceat(ordered, starts)
        if way.padded:
            sizes = numpy.maximum.reduceat(ordered, starts) * counts
        for start, count, size in zip(starts[:left], counts, sizes, strict=False):
            yield int(size), order[start : start + count]
        left -= len(starts)
