"""Several LoRA adapters mixed into one, as peft does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lora_magic.errors import LoraError
from lora_magic.seeding import seeded


def combine(
    model: Any,
    key: str,
    parts: Mapping[str, float],
    method: str,
    *,
    rank: int | None,
    density: float,
    seed: int,
    biased: Sequence[str],
) -> None:
    """Add the adapter `key` to a peft model: the weighted mixture of `parts`.

    "cat" is the exact sum, of the ranks' sum; "svd" the closest to it of one rank; "linear", "ties" and "dare" mix
    the factors themselves, which is rougher, and go by way of the whole update where ranks differ.

    Args:
        biased: those of `parts` that train biases.

    Raises:
        LoraError: a kind of adapter that peft mixes wrongly or not at all.
    """
    configs = [model.peft_config[part] for part in parts]
    if biased or any(config.use_dora or config.modules_to_save or config.target_parameters for config in configs):
        raise LoraError(
            "Only plain LoRA and rsLoRA adapters can be combined.", "Leave out DoRA, biases and whole layers."
        )
    ranks = {max(config.r, *config.rank_pattern.values(), 0) for config in configs}
    kind = {"ties": "ties", "dare": "dare_ties", "linear": "linear"}.get(method, method)
    if len(ranks) > 1 and method in ("ties", "dare"):
        kind += "_svd"
    elif len(ranks) > 1 and method == "linear":
        raise LoraError(
            f"linear takes adapters of one rank; these have {', '.join(map(str, sorted(ranks)))}.",
            "Use --method cat or svd.",
        )
    scaled = configs[0].use_rslora
    configs[0].use_rslora = False  # peft takes the new one's settings from it, and sets alpha for the plain scale
    try:
        with seeded(seed):
            model.add_weighted_adapter(
                list(parts), list(parts.values()), key, combination_type=kind, svd_rank=rank,
                density=density if method in ("ties", "dare") else None, svd_full_matrices=False,
            )  # fmt: skip
    except ValueError as error:
        raise LoraError(f"These adapters cannot be combined: {error}", "Try --method cat.") from None
    finally:
        configs[0].use_rslora = scaled
