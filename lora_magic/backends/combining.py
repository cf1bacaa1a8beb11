"""Several LoRA adapters mixed into one, as peft does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lora_magic.errors import LoraError
from lora_magic.seeding import seeded

_LAYERS = ("target_modules", "layers_to_transform", "layers_pattern", "exclude_modules")


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
    try:
        with seeded(seed), _spelled_out(model, list(parts)):
            model.add_weighted_adapter(
                list(parts), list(parts.values()), key, combination_type=kind, svd_rank=rank,
                density=density if method in ("ties", "dare") else None, svd_full_matrices=False,
            )  # fmt: skip
    except ValueError as error:
        raise LoraError(f"These adapters cannot be combined: {error}", "Try --method cat.") from None


@contextmanager
def _spelled_out(model: Any, parts: Sequence[str]) -> Iterator[None]:
    """Inside, the adapters' configs are such that peft's new one covers all layers of all of them.

    peft takes the new adapter's settings from the first, and sets alpha for the plain scale; a choice of layers
    other than by names of modules would be taken over too, and leave out the layers of the others.
    """
    configs = [model.peft_config[part] for part in parts]
    before = [{name: getattr(config, name) for name in ("use_rslora", *_LAYERS)} for config in configs]
    chosen = any(
        isinstance(config.target_modules, str) or any(getattr(config, n) for n in _LAYERS[1:]) for config in configs
    )
    configs[0].use_rslora = False
    for part, config in zip(parts, configs, strict=True) if chosen else ():
        config.target_modules = _adapted(model, part)
        config.layers_to_transform = config.layers_pattern = config.exclude_modules = None
    try:
        yield
    finally:
        for config, values in zip(configs, before, strict=True):
            for name, value in values.items():
                setattr(config, name, value)


def _adapted(model: Any, key: str) -> set[str]:
    """Names of the modules that the adapter `key` is on."""
    held = ((name, module) for name, module in model.base_model.model.named_modules() if hasattr(module, "lora_A"))
    return {name for name, module in held if key in module.lora_A or key in module.lora_embedding_A}
