"""The held-out part: chosen by content, so the same tomorrow and in any row order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

from lora_magic.dataset.turns import Example
from lora_magic.errors import LoraError

AT_LEAST, AT_MOST, LARGEST_SHARE, FEWEST_ROWS = 16, 256, 0.2, 10


def split(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Takes the held-out part out of the examples.

    Examples of the same content stay on one side. The part has `share` of the rows, but at least 16 and at
    most 256, and never more than a fifth; of fewer than 10 rows nothing is held out.

    Args:
        examples: all of them, in the file's order.
        share: 0 (nothing) up to, but not including, 1.

    Returns:
        The training rows and the held-out rows, both in the file's order.

    Raises:
        LoraError: `share` is outside its range.
    """
    if not 0 <= share < 1:
        raise LoraError(f"A held-out share of {share} makes no sense.", "Give 0 (none) to 0.2, such as 0.05.")
    keys = [_key(example) for example in examples]
    chosen = _chosen(keys, _size(len(keys), share))
    train = [example for example, key in zip(examples, keys, strict=True) if key not in chosen]
    return train, [example for example, key in zip(examples, keys, strict=True) if key in chosen]


def _size(rows: int, share: float) -> int:
    if share == 0 or rows < FEWEST_ROWS:
        return 0
    return min(max(round(share * rows), AT_LEAST), AT_MOST, int(rows * LARGEST_SHARE))


def _chosen(keys: Sequence[bytes], size: int) -> set[bytes]:
    """The contents with the smallest hashes whose rows together stay within `size`."""
    counts = Counter(keys)
    chosen: set[bytes] = set()
    for key in sorted(counts):
        if size == 0:
            break
        if counts[key] <= size:
            chosen.add(key)
            size -= counts[key]
    return chosen


def _key(example: Example) -> bytes:
    content = json.dumps([[turn.role, turn.content] for turn in example.turns])
    return blake2b(content.encode(), digest_size=16).digest()
