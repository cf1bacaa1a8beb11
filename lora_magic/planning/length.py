"""How many optimiser steps a run has."""

from __future__ import annotations

import math

_SPREAD = 9
"""Digits that a product is rounded to before it is rounded up, so that 1.1 x 50 is 55 and no step more."""


def whole(number: float) -> int:
    """`number` rounded up, unless it lies above a whole one by no more than floating point's error."""
    return math.ceil(round(number, _SPREAD))


def epoch_steps(rows: int, batch: int) -> int:
    """Optimiser steps of one pass over the rows, of which the last may have fewer examples."""
    return math.ceil(rows / batch)


def run_steps(rows: int, batch: int, epochs: float) -> int:
    """Optimiser steps of `epochs` passes over the rows, at least one."""
    return max(1, whole(epochs * epoch_steps(rows, batch)))
