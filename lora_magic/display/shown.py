"""Which results are on screen already: a run's picture stands above the result that the same cell returns."""

from __future__ import annotations

import weakref

from lora_magic.display.surface import cell_number

_shown: dict[int, tuple[weakref.ref[object], int | None]] = {}


def mark_shown(result: object) -> None:
    """Say that the running cell shows `result` already, so that its next repr there is a short one."""
    key = id(result)
    _shown[key] = (weakref.ref(result, lambda _: _shown.pop(key, None)), cell_number())


def take_shown(result: object) -> bool:
    """Whether `result` was marked in the cell that runs now; true once for each mark."""
    reference, number = _shown.pop(id(result), (None, None))
    return reference is not None and reference() is result and number == cell_number()
