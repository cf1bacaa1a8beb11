"""What rows cost a model: the summed loss over the tokens that are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lora_magic.backends.batches import Batches
from lora_magic.dataset.collate import MASKED
from lora_magic.dataset.store import Row

# Logits of a group are the largest thing in memory: four bytes a vocabulary entry and token.
LOGITS_BYTES = 1 << 30
ROWS_AT_ONCE = 32


def losses(
    model: Any,
    rows: Sequence[Row],
    pad_token_id: int,
    batches: Batches,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[float, int]]:
    """Of each row, its summed negative log-likelihood in nats and the number of tokens that it is summed over.

    Args:
        model: a causal model in evaluation mode, adapters as they should answer.
        rows: tokens and labels.
        pad_token_id: what fills shorter rows.
        batches: how many rows go at once.
        progress: called with the number of rows that are done.

    Raises:
        LoraError: memory does not hold a single row.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    found: dict[int, tuple[float, int]] = {}

    def one(group: list[int]) -> None:
        ids = [torch.tensor(rows[i].input_ids) for i in group]
        padded = pad_sequence(ids, batch_first=True, padding_value=pad_token_id)
        mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        with torch.no_grad():
            at = model.device
            logits = model(input_ids=padded.to(at), attention_mask=mask.to(at), use_cache=False).logits
        for place, scores in zip(group, logits, strict=True):
            found[place] = _loss(scores, torch.tensor(rows[place].labels))
        if progress:
            progress(len(found))

    if rows:
        longest = max(len(row.input_ids) for row in rows)
        fitting = LOGITS_BYTES // (4 * longest * _vocabulary(model))
        batches.run([len(row.input_ids) for row in rows], max(1, min(ROWS_AT_ONCE, fitting)), one)
    return [found[i] for i in range(len(rows))]


def _loss(logits: Any, labels: Any) -> tuple[float, int]:
    import torch

    following = labels[1:]
    kept = (following != MASKED).nonzero().flatten()
    if not len(kept):
        return 0.0, 0
    chosen = logits[kept.to(logits.device)].float()  # padding on the right lies beyond the labels
    wanted = following[kept].to(logits.device)
    return float(torch.nn.functional.cross_entropy(chosen, wanted, reduction="sum")), len(kept)


def _vocabulary(model: Any) -> int:
    config = model.config
    return int(getattr(config, "vocab_size", None) or config.get_text_config().vocab_size)
