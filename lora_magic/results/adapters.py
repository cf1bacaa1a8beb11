"""The adapters of a base and of this folder, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lora_magic.results.shown import Shown


@dataclass(frozen=True, eq=False)
class AdapterEntry:
    """One adapter.

    Attributes:
        name: in memory, or of its run's folder.
        place: "in use", "in memory" or "on disk".
        base: the model that it was made for, as its own record says.
        kind: such as "lora, rank 8".
        rank: the largest of its layers; 0 where its kind has none.
        bytes: of its weights on disk; 0 where they are not there.
        run: the run that made it, or "".
        held_out: the lowest held-out loss of that run, in nats a trained token, or None.
        path: its folder, or None.
        effective_ranks: mean effective rank of the updates of each block, by the block's number: the exponential of
            the entropy of an update's singular values (Roy and Vetterli, 2007), at most the rank.
        note: why it is not whole, or "".
    """

    name: str
    place: str
    base: str
    kind: str
    rank: int
    bytes: int
    run: str = ""
    held_out: float | None = None
    path: Path | None = None
    effective_ranks: Mapping[int, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, eq=False)
class Adapters(Shown):
    """What is on the base and what lies in the runs' folder.

    Attributes:
        base: the loaded model, or None.
        active: the adapter in use, or "base".
        adapters: those in memory first.
        done: what was just done, a line, or "".
        notes: lines worth reading.
    """

    base: str | None
    active: str
    adapters: tuple[AdapterEntry, ...]
    done: str = ""
    notes: tuple[str, ...] = ()
