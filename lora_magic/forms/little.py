"""As much of some rows as can be read while somebody types."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.dataset.hub import hub_id
from lora_magic.dataset.objects import could_be_data, is_a
from lora_magic.demo import DATASETS
from lora_magic.display.units import size

MOST_ROWS = 2_000
MOST_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Little:
    """Rows, or where they are.

    Attributes:
        data: as `--data` takes it; None where nothing can be read at once.
        rows: how many there are, where `data` is only the first of them.
        said: why there is nothing, or not all; "" for all of it.
    """

    data: Any
    rows: int | None = None
    said: str = ""


def little(data: Any, variables: Mapping[str, object]) -> Little:
    """The first rows of what is in memory, files that are small, and nothing that would be downloaded.

    Args:
        data: what `--data` was given.
        variables: the notebook's, by name.
    """
    if not isinstance(data, str):
        return _first(data)
    path = Path(data).expanduser()
    if could_be_data(variables.get(data)) and not path.exists() and data not in DATASETS:
        return _first(variables[data])
    files = [Path(name) for name in glob.glob(str(path))]  # noqa: PTH207  a pattern may be absolute
    if not files or data in DATASETS:
        from_hub = not files and data not in DATASETS and hub_id(data) is not None
        return Little(None, said=f"{data} is read from the Hub when this runs.") if from_hub else Little(data)
    taken = sum(one.stat().st_size for file in files for one in ([file] if file.is_file() else file.rglob("*")))
    if taken > MOST_BYTES:
        return Little(None, said=f"{data} has {size(taken)}, which is read when this runs.")
    return Little(data)


def _first(rows: Any) -> Little:
    """The first rows of an object."""
    if isinstance(rows, list | tuple):
        part = rows[:MOST_ROWS]
    elif is_a(rows, "pandas", "DataFrame"):
        part = rows.iloc[:MOST_ROWS]
    elif is_a(rows, "datasets", "Dataset"):
        part = rows.select(range(min(MOST_ROWS, len(rows))))
    elif could_be_data(rows):
        return Little(None, said=f"The rows of a {type(rows).__name__} are read when this runs.")
    else:
        return Little(rows)
    if len(rows) <= MOST_ROWS:
        return Little(rows)
    return Little(part, len(rows), f"Of the first {MOST_ROWS:,} of {len(rows):,} rows.")
