"""Rows of token ids into padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import torch

MASKED = -100


class Features(TypedDict):
    """One row as a trainer's data set holds it; both lists are as long as the row."""

    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Collator:
    """Pads rows on the right to the longest of them.

    Args:
        pad_token_id: what fills `input_ids`; it is never attended to or trained on.
        pad_to_multiple_of: round the length up to a multiple of this.
    """

    pad_token_id: int
    pad_to_multiple_of: int | None = None

    def __call__(self, rows: Sequence[Features]) -> dict[str, torch.Tensor]:
        """Makes a batch.

        Args:
            rows: at least one.

        Returns:
            `input_ids`, `labels` (-100 on padding) and `attention_mask`, int64, each of shape (rows, length).
        """
        import torch

        step = self.pad_to_multiple_of or 1
        longest = max(len(row["input_ids"]) for row in rows)
        shape = (len(rows), -(-longest // step) * step)
        batch = {
            "input_ids": torch.full(shape, self.pad_token_id, dtype=torch.int64),
            "labels": torch.full(shape, MASKED, dtype=torch.int64),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
        }
        for i, row in enumerate(rows):
            length = len(row["input_ids"])
            batch["input_ids"][i, :length] = torch.tensor(row["input_ids"], dtype=torch.int64)
            batch["labels"][i, :length] = torch.tensor(row["labels"], dtype=torch.int64)
            batch["attention_mask"][i, :length] = 1
        return batch
