"""Answers as they grow: their text so far, told while the rest is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

Heard = Callable[[int, str], None]
# Seconds between two looks; each waits for the card and decodes the answers anew.
LEAST_SECONDS = 0.1


class Streamed:
    """A stopping criterion that ends nothing: it tells of unfinished answers.

    Args:
        tokenizer: of the model.
        group: places of the prompts that are decoded together.
        stops: tokens that end an answer.
        heard: called with a prompt's place and the beginning of its answer.
        clock: seconds from any origin.

    Attributes:
        start: where answers begin, set before generation.
    """

    def __init__(
        self,
        tokenizer: Any,
        group: Sequence[int],
        stops: Sequence[int],
        heard: Heard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.start = 0
        self._tokenizer, self._group, self._stops, self._heard = tokenizer, group, stops, heard
        self._clock, self._told = clock, float("-inf")
        self._ids: Any = None

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Nothing ends here: False for every row."""
        import torch

        self._ids = input_ids
        if self._clock() - self._told >= LEAST_SECONDS:
            self.tell()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    def tell(self) -> None:
        """Tell of every answer as far as it is; nothing where none has begun."""
        if self._ids is None:
            return
        self._told = self._clock()
        for place, ids in zip(self._group, self._ids[:, self.start :].tolist(), strict=True):
            end = next((i for i, token in enumerate(ids) if token in self._stops), None)
            self._heard(place, beginning(self._tokenizer, ids[:end]))


def beginning(tokenizer: Any, ids: list[int]) -> str:
    """The text of an unfinished answer, without a character that lacks its last bytes."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text.rstrip("\ufffd").strip()
