"""The held-out part: chosen by content, so the same tomorrow and in any row order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import compress
from typing import TYPE_CHECKING, Protocol

from lora_magic.dataset.turns import Example, Turn
from lora_magic.errors import LoraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_LEAST, AT_MOST, LARGEST_SHARE, FEWEST_ROWS = 16, 256, 0.2, 10

_KEY_BYTES = 16


class Examples(Protocol):
    """Examples that can be gone through again and again, always in the same order."""

    def __iter__(self) -> Iterator[Example]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Part:
    """Some of the examples of a source too large to hold, made anew each time it is gone through.

    Attributes:
        whole: all of them.
        chosen: which are in this part, one flag each.
    """

    whole: Examples
    chosen: NDArray[np.bool_]

    def __iter__(self) -> Iterator[Example]:
        return compress(self.whole, self.chosen)

    def __len__(self) -> int:
        return int(self.chosen.sum())


def split(examples: Examples, share: float, keys: NDArray[np.void] | None = None) -> tuple[Examples, list[Example]]:
    """Takes the held-out part out of the examples.

    Examples of the same content stay on one side. The part has `share` of the rows, but at least 16 and at
    most 256, and never more than a fifth; of fewer than 10 rows nothing is held out.

    Args:
        examples: all of them, in the source's order; gone through twice.
        share: 0 (nothing) up to, but not including, 1.
        keys: their `content_keys`, where they are known already.

    Returns:
        The training rows, a list unless the examples are made anew each time, and the held-out rows, both in the
        source's order.

    Raises:
        LoraError: `share` is outside its range.
    """
    if not 0 <= share < 1:
        raise LoraError(f"A held-out share of {share} makes no sense.", "Give 0 (none) to 0.2, such as 0.05.")
    keys = content_keys(examples) if keys is None else keys
    held_out = _chosen(keys, _size(len(keys), share))
    spare = list(compress(examples, held_out)) if held_out.any() else []
    if getattr(examples, "is_lazy", not isinstance(examples, Sequence)):
        return Part(examples, ~held_out), spare
    return list(compress(examples, ~held_out)), spare


def content_keys(examples: Iterable[Example]) -> NDArray[np.void]:
    """A hash of each example's content, 16 bytes; equal for equal examples."""
    import numpy as np

    held = bytearray()
    for example in examples:
        held += _key(example)
    return np.frombuffer(held, np.dtype((np.void, _KEY_BYTES)))


def content_hash(*keys: NDArray[np.void]) -> str:
    """One hash of all contents, in hex; the same in any order of rows, and however they are split.

    Args:
        keys: the `content_keys` of some examples each.
    """
    import numpy as np

    words = _words(np.concatenate(keys))
    return blake2b(words[np.lexsort((words[:, 1], words[:, 0]))].tobytes(), digest_size=_KEY_BYTES).hexdigest()


def shared_rows(keys: NDArray[np.void], other: NDArray[np.void]) -> int:
    """How many of `keys` are also among `other`."""
    there = {key.tobytes() for key in other}
    return sum(key.tobytes() in there for key in keys)


def _size(rows: int, share: float) -> int:
    if share == 0 or rows < FEWEST_ROWS:
        return 0
    return min(max(round(share * rows), AT_LEAST), AT_MOST, int(rows * LARGEST_SHARE))


def _chosen(keys: NDArray[np.void], size: int) -> NDArray[np.bool_]:
    """The rows of the contents with the smallest hashes that together stay within `size`."""
    import numpy as np

    chosen = np.zeros(len(keys), np.bool_)
    if size == 0:
        return chosen
    words = _words(keys)
    order = np.lexsort((words[:, 1], words[:, 0]))
    ordered = words[order]
    starts = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)])
    for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True):
        if size == 0:
            break
        if end - start <= size:
            chosen[order[start:end]] = True
            size -= int(end - start)
    return chosen


def _words(keys: NDArray[np.void]) -> NDArray[np.uint64]:
    """Each key as two numbers that sort as its bytes do."""
    import numpy as np

    return np.frombuffer(keys.tobytes(), ">u8").reshape(-1, 2).astype(np.uint64)


def _key(example: Example) -> bytes:
    said: list[object] = [_said(turn) for turn in example.turns]
    content = json.dumps([*said, example.tools] if example.tools else said)
    return blake2b(content.encode(), digest_size=_KEY_BYTES).digest()


def _said(turn: Turn) -> list[str]:
    return [turn.role, turn.content, turn.tool_calls] if turn.tool_calls else [turn.role, turn.content]
