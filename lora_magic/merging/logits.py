"""How far two models agree on the next token."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lora_magic.results import Agreement

if TYPE_CHECKING:
    import torch

_ROWS = 16


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the progress bars and warnings of transformers and peft out of the notebook."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def agreement(one: torch.Tensor, other: torch.Tensor) -> Agreement:
    """How far `other` departs from `one`; NaN in either makes the difference NaN.

    Vocabularies that were padded differently are compared over the tokens that both have.

    Args:
        one: logits, (positions, vocabulary); the KL divergence is taken from its distribution.
        other: the same positions.
    """
    width = min(one.shape[-1], other.shape[-1])
    same = 0
    divergence = 0.0
    differences = [0.0]
    for start in range(0, len(one), _ROWS):
        first, second = (table[start : start + _ROWS, :width].float().cpu() for table in (one, other))
        same += int((first.argmax(-1) == second.argmax(-1)).sum())
        difference = float((first - second).abs().max())
        differences.append(difference)
        mine, theirs = first.log_softmax(-1), second.log_softmax(-1)
        divergence += float((mine.exp() * (mine - theirs)).nan_to_num(0.0).sum().clamp_min(0.0))
    positions = max(1, len(one))
    largest = max(differences, key=lambda value: math.inf if math.isnan(value) else value)
    return Agreement(same / positions, divergence / positions, largest)
