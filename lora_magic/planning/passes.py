"""How the rows of an optimiser step are shared out over the passes that compute it."""

from __future__ import annotations

import math
from collections.abc import Sequence


def passes(
    lengths: Sequence[int], *, tokens: int | None = None, rows: int | None = None, padded: bool
) -> list[list[int]]:
    """Row numbers by pass: as few passes as a simple rule finds, rows of like length or even sums together.

    Args:
        lengths: tokens of each row, at least one row.
        tokens: the most in a pass, padding included; a longer row has a pass to itself. None is no limit.
        rows: the most in a pass, or None.
        padded: rows of a pass are filled up to its longest; otherwise they lie end to end.
    """
    most_tokens = max(max(lengths), tokens if tokens is not None else sum(lengths) * len(lengths))
    most_rows = rows or len(lengths)
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    if padded:
        return _rectangles(lengths, order, most_tokens, most_rows)
    number = max(math.ceil(sum(lengths) / most_tokens), math.ceil(len(lengths) / most_rows))
    while True:
        shared = _even(lengths, order, number, most_rows)
        if all(sum(lengths[i] for i in part) <= most_tokens for part in shared):
            return shared
        number += 1


def _rectangles(lengths: Sequence[int], order: list[int], most_tokens: int, most_rows: int) -> list[list[int]]:
    made: list[list[int]] = []
    for i in order:
        last = made[-1] if made else []
        if last and len(last) < most_rows and (len(last) + 1) * lengths[last[0]] <= most_tokens:
            last.append(i)
        else:
            made.append([i])
    return made


def _even(lengths: Sequence[int], order: list[int], number: int, most_rows: int) -> list[list[int]]:
    """Each row, the longest first, to the part that has the fewest tokens so far."""
    parts: list[list[int]] = [[] for _ in range(number)]
    sums = [0] * number
    for i in order:
        open_parts = [k for k in range(number) if len(parts[k]) < most_rows]
        least = min(open_parts, key=lambda k: sums[k])
        parts[least].append(i)
        sums[least] += lengths[i]
    return [sorted(part) for part in parts if part]
