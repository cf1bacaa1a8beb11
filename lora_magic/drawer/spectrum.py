"""How many directions an adapter's update really uses, a layer at a time."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")


def effective_ranks(weights: Path) -> dict[int, float]:
    """Mean effective rank of the updates in each block.

    The effective rank of a matrix is the exponential of the entropy of its singular values, each as a share of
    their sum (Roy and Vetterli, "The effective rank", 2007): 1 for a single direction, the rank for equal ones.

    Args:
        weights: peft's adapter_model.safetensors.

    Returns:
        By the block's number; nothing where the adapter has no low-rank factors.

    Raises:
        OSError, SafetensorError: the file cannot be read.
    """
    stat = weights.stat()
    return dict(_effective_ranks(weights, stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=64)
def _effective_ranks(weights: Path, _changed: int, _size: int) -> dict[int, float]:
    import numpy as np

    by_block: dict[int, list[float]] = {}
    for name, down, up in _factors(weights):
        block = BLOCK.search(name)
        if block is not None:
            by_block.setdefault(int(block[1]), []).append(effective_rank(down, up))
    return {block: float(np.mean(found)) for block, found in sorted(by_block.items())}


def effective_rank(down: NDArray[np.floating], up: NDArray[np.floating]) -> float:
    """Effective rank of the product of two factors, which is never made.

    Args:
        down: of shape (rank, inputs). up: of shape (outputs, rank).

    Returns:
        From 1 to the rank; 0 for an update of zeros.
    """
    import numpy as np

    left, right = (np.linalg.qr(factor.astype(np.float64))[1] for factor in (up, down.T))
    values = np.linalg.svd(left @ right.T, compute_uv=False)
    if not values.size or not values[0] > 0:
        return 0.0
    shares = values[values > values[0] * 1e-12]
    shares = shares / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _factors(weights: Path) -> Iterator[tuple[str, NDArray[np.floating], NDArray[np.floating]]]:
    """(module, lora_A, lora_B) of each adapted layer."""
    from safetensors import safe_open

    with safe_open(weights, framework="pt") as file:
        names = set(file.keys())
        for name in sorted(names):
            other = name.replace(".lora_A.", ".lora_B.")
            if ".lora_A." in name and other in names:
                yield name, file.get_tensor(name).float().numpy(), file.get_tensor(other).float().numpy()
