"""An adapter trained further: the new run takes its shape, so what would change that is refused."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from lora_magic.backends.saved import read_config
from lora_magic.config import TrainConfig
from lora_magic.errors import LoraError
from lora_magic.methods.lora import ATTENTION

SHAPE = ("rank", "alpha", "method", "target", "bias")
"""What a saved adapter decides of a run that trains it further."""


def further(config: TrainConfig, folder: Path, name: str, asked: Collection[str]) -> TrainConfig:
    """The run's settings with the shape of the saved adapter: rank, alpha, method, layers and biases.

    Its dropout is kept too, unless another is asked for. All of these count as given, so that no preset changes them.

    Args:
        config: all settings.
        asked: those that must not contradict the adapter.
        folder: the saved adapter's.
        name: what messages call it.

    Raises:
        LoraError: an option was given that the adapter contradicts, or the adapter cannot be read.
    """
    recorded = read_config(folder)
    shape = _shape(recorded, name)
    for option, value in shape.items():
        wanted = getattr(config, option)
        if option in asked and wanted is not None and not _same(option, wanted, value):
            raise LoraError(
                f"{option} cannot be {wanted}: {name} has {value}, and is trained further as it is.",
                f"Leave --{option} out, or train a new adapter without --continue.",
            )
    if "dropout" not in asked:
        shape["dropout"] = recorded.get("lora_dropout") or 0.0
    made = config.replace(**shape)
    object.__setattr__(made, "given", config.given | set(shape))
    return made


def _shape(recorded: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        rank, alpha = int(recorded["r"]), float(recorded["lora_alpha"])
    except (KeyError, TypeError, ValueError):
        raise LoraError(f'The adapter "{name}" does not say its rank and alpha.', "Give an intact adapter.") from None
    modules = recorded.get("target_modules")
    method = "dora" if recorded.get("use_dora") else "rslora" if recorded.get("use_rslora") else "lora"
    target = ",".join(sorted(modules)) if isinstance(modules, list) else str(modules)
    return dict(zip(SHAPE, (rank, alpha, method, target, recorded.get("bias") or "none"), strict=True))


def _same(option: str, asked: Any, value: Any) -> bool:
    if asked == value:
        return True
    if option != "target":
        return False
    names = set(value.split(","))
    if asked in ("all-linear", "attention"):
        attention = {name.rpartition(".")[2] for name in names} <= set(ATTENTION)
        return attention is bool(asked == "attention")
    return set(asked.replace(",", " ").split()) == names
