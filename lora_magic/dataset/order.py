"""The order in which an epoch visits the rows."""

from __future__ import annotations

from random import Random


def epoch_order(n: int, *, seed: int, epoch: int) -> list[int]:
    """Shuffles the row numbers; the same on every machine, and without touching any global random state.

    Args:
        n: how many rows.
        seed: the run's seed.
        epoch: counted from 0; each has an order of its own.

    Returns:
        A permutation of 0 … n-1.
    """
    order = list(range(n))
    Random(f"{seed}:{epoch}").shuffle(order)
    return order
