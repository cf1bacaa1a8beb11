"""An adapter trained further: the new run takes its shape, so what would change that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_magic.backends.saved import read_config
from lora_magic.config import TrainConfig
from lora_magic.errors import LoraError


def further(config: TrainConfig, folder: Path, name: str) -> TrainConfig:
    """The run's settings with the shape of the saved adapter: rank, alpha, method, layers and biases.

    Args:
        config: as asked for; its `given` says what was given.
        folder: the saved adapter's.
        name: what messages call it.

    Raises:
        LoraError: an option was given that the adapter contradicts, or the adapter cannot be read.
    """
    shape = _shape(read_config(folder), name)
    for option, value in shape.items():
        asked = getattr(config, option)
        if option in config.given and asked is not None and not _same(option, asked, value):
            raise LoraError(
                f"{option} cannot be {asked}: {name} has {value}, and is trained further as it is.",
                f"Leave --{option} out, or train a new adapter without --continue.",
            )
    return config.replace(**shape)


def _shape(recorded: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        rank, alpha = int(recorded["r"]), float(recorded["lora_alpha"])
    except (KeyError, TypeError, ValueError):
        raise LoraError(f'The adapter "{name}" does not say its rank and alpha.', "Give an intact adapter.") from None
    modules = recorded.get("target_modules")
    method = "dora" if recorded.get("use_dora") else "rslora" if recorded.get("use_rslora") else "lora"
    target = ",".join(sorted(modules)) if isinstance(modules, list) else str(modules)
    return {
        "rank": rank, "alpha": alpha, "method": method, "target": target, "bias": recorded.get("bias") or "none",
    }  # fmt: skip


def _same(option: str, asked: Any, value: Any) -> bool:
    if option != "target":
        return bool(asked == value)
    return asked in ("all-linear", "attention") or set(asked.replace(",", " ").split()) == set(value.split(","))
