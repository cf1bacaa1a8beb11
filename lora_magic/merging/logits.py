"""Models in float32 and what they say: next-token logits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.errors import LoraError

if TYPE_CHECKING:
    import torch


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


def load_float32(folder: Path, trust_remote_code: bool) -> Any:
    """A model in float32 on the CPU, ready for evaluation.

    Raises:
        LoraError: transformers cannot make a causal language model of the folder.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with quiet():
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=trust_remote_code, local_files_only=True
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LoraError(
            f"transformers cannot load {folder} as a causal language model: {reason}", "Merging goes on unmeasured."
        ) from error
    return model.eval()


def logits(model: Any, prompt: list[int]) -> torch.Tensor:
    """Next-token logits after every position of one prompt: float32, (positions, vocabulary)."""
    import torch

    with torch.inference_mode():
        table: torch.Tensor = model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0].float()
    return table


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest absolute difference of two logit tables; NaN when either holds NaN.

    Vocabularies that were padded differently are compared over the tokens that both have.

    Args:
        one: (positions, vocabulary).
        other: the same positions.
    """
    width = min(one.shape[-1], other.shape[-1])
    first, second = (table[..., :width].float().cpu() for table in (one, other))
    return float((first - second).abs().max())


def largest(values: list[float]) -> float:
    """The largest value; NaN wins."""
    return max(values, key=lambda value: math.inf if math.isnan(value) else value)
