"""How many rows are computed at once: rows of like length together, and half as many when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

from lora_magic.errors import LoraError


class Batches:
    """Runs rows in groups; what did not fit once is not tried again while the base is loaded.

    Attributes:
        most_tokens: rows times the longest one's tokens that may go at once; None before memory ran out.
    """

    def __init__(self) -> None:
        self.most_tokens: int | None = None

    def run(self, lengths: Sequence[int], rows_at_once: int, one: Callable[[list[int]], None]) -> None:
        """Hand every row's place to `one`, in groups, the longest rows first.

        Args:
            lengths: tokens that each row takes, the answer's in it.
            rows_at_once: the largest group.
            one: computes a group; called again with less of it where memory ran out.

        Raises:
            LoraError: memory does not hold a single row.
        """
        left = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        while left:
            size = self._size(lengths[left[0]], rows_at_once)
            group = left[:size]
            if self._fits(group, lengths, one):
                left = left[size:]

    def _size(self, longest: int, rows_at_once: int) -> int:
        return rows_at_once if self.most_tokens is None else max(1, min(rows_at_once, self.most_tokens // longest))

    def _fits(self, group: list[int], lengths: Sequence[int], one: Callable[[list[int]], None]) -> bool:
        """Whether memory held the group; if not, groups are smaller from now on."""
        longest = max(lengths[i] for i in group)
        try:
            one(group)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if len(group) == 1:
                raise LoraError(
                    f"Memory does not hold one row of {longest:,} tokens, its answer in it.",
                    "Give a smaller --max-new-tokens or shorter prompts, or load with --bits 4.",
                ) from None
        else:
            return True
        self.most_tokens = longest * (len(group) // 2)
        let_go()
        return False


def out_of_memory(error: BaseException) -> bool:
    """Whether Python, torch, CUDA or a kernel library says that there is no memory left."""
    told = str(error).lower()
    signs = ("out of memory", "cublas_status_alloc_failed", "can't allocate memory")
    return isinstance(error, MemoryError) or any(sign in told for sign in signs)


def let_go() -> None:
    """Give back what a failed computation took."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
