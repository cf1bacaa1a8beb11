"""Measured coefficients and the cards' data, read from the JSON files that lie beside this one."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@functools.cache
def data(name: str) -> Mapping[str, Any]:
    """The content of `name`.json in this folder, read once."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return content


def coefficient(*path: str) -> float:
    """One number of calibration.json, by its path of keys."""
    value: Any = data("calibration")
    for key in path:
        value = value[key]
    return float(value)


def tokens_per_row(dataset: str | None = None) -> float:
    """Tokens that a row of a data set costs on average, padding in micro-batches of two included.

    Args:
        dataset: a Hub id among the calibrated ones; another or None gives the stated fallback.
    """
    lengths = data("calibration")["tokens_per_row"]
    return float(lengths.get(dataset, lengths["fallback"]))
