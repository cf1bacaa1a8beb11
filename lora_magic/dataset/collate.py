"""Rows of token ids into a step's rows, and those into what a model takes: a rectangle, or rows end to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import torch

MASKED = -100


class Features(TypedDict):
    """One row as a trainer's data set holds it; both lists are as long as the row."""

    input_ids: list[int]
    labels: list[int]


class StepRows:
    """Rows that are computed together or in parts; no row's first token is trained on.

    Args:
        rows: as the data set holds them.
    """

    def __init__(self, rows: Sequence[Features]) -> None:
        import numpy as np

        self._ids = [np.asarray(row["input_ids"], dtype=np.int64) for row in rows]
        self._labels = [np.array(row["labels"], dtype=np.int64) for row in rows]
        for labels in self._labels:
            labels[:1] = MASKED
        self._trained = [int((labels != MASKED).sum()) for labels in self._labels]
        self.lengths = [len(ids) for ids in self._ids]

    def __len__(self) -> int:
        return len(self._ids)

    def trained(self, chosen: Sequence[int]) -> int:
        """Tokens of the chosen rows that a loss is the mean over."""
        return sum(self._trained[i] for i in chosen)

    def padded(self, chosen: Sequence[int], pad_token_id: int) -> dict[str, torch.Tensor]:
        """The chosen rows as a rectangle, filled up on the right.

        Args:
            chosen: numbers of at least one row.
            pad_token_id: what fills `input_ids`; it is never attended to or trained on.

        Returns:
            `input_ids`, `labels` (-100 on padding) and `attention_mask`, int64, each of shape (rows, length).
        """
        import torch

        shape = (len(chosen), max(self.lengths[i] for i in chosen))
        made = {
            "input_ids": torch.full(shape, pad_token_id, dtype=torch.int64),
            "labels": torch.full(shape, MASKED, dtype=torch.int64),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
        }
        for place, i in enumerate(chosen):
            made["input_ids"][place, : self.lengths[i]] = torch.from_numpy(self._ids[i])
            made["labels"][place, : self.lengths[i]] = torch.from_numpy(self._labels[i])
            made["attention_mask"][place, : self.lengths[i]] = 1
        return made

    def end_to_end(self, chosen: Sequence[int]) -> dict[str, torch.Tensor]:
        """The chosen rows one after the other in a single one, without padding.

        Returns:
            `input_ids`, `labels` and `position_ids`, which start again at each row, int64 of shape (1, tokens), and
            `packed_seq_lengths`, int32 of shape (rows,).
        """
        import numpy as np
        import torch

        flat = {
            "input_ids": [self._ids[i] for i in chosen],
            "labels": [self._labels[i] for i in chosen],
            "position_ids": [np.arange(self.lengths[i]) for i in chosen],
        }
        made = {name: torch.from_numpy(np.concatenate(parts))[None] for name, parts in flat.items()}
        return {**made, "packed_seq_lengths": torch.tensor([self.lengths[i] for i in chosen], dtype=torch.int32)}


def gather(rows: Sequence[Features]) -> dict[str, Any]:
    """A trainer's collator: the rows as they are, under `rows`."""
    return {"rows": StepRows(rows)}
