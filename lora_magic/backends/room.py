"""Whether a base's weights fit where they are to go, and whether a card that is there is used."""

from __future__ import annotations

from lora_magic.backends.fetch import config_json
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError
from lora_magic.planning.architecture import read
from lora_magic.planning.hardware import Hardware
from lora_magic.planning.here import card_here
from lora_magic.planning.memory import GIB, weights

BUSY = 0.9
"""A card counts as busy where less than this share of it is free before anything is loaded."""


def family(path: str, config: LoadConfig) -> str:
    """config.json's `model_type`, of the text part where a model has several."""
    found = config_json(path, config)
    text = found.get("text_config")
    return str((text if isinstance(text, dict) else found).get("model_type") or "")


def check_room(path: str, config: LoadConfig, hardware: Hardware, bits: int) -> None:
    """Refuse a base whose weights alone do not fit into what a card has free.

    Raises:
        LoraError: with what they take, who may have the memory, and what would fit.
    """
    if hardware.kind != "cuda":
        return
    try:
        needed = weights(read(config_json(path, config)), bits)
    except LoraError:
        return  # what has unknown shapes may still fit
    free, total = hardware.free_bytes, hardware.total_bytes
    if needed <= free:
        return
    told = (
        f"{config.model} takes {needed / GIB:.1f} GiB at {bits} bits; of the {total / GIB:.1f} GiB of {hardware.short} "
        f"{free / GIB:.1f} are free."
    )
    if needed <= BUSY * total:
        raise LoraError(told, "nvidia-smi lists who has the rest: shut other notebooks' kernels down.")
    raise LoraError(told, "Load with --bits 4, or a smaller model." if bits > 4 else "Load a smaller model.")


def unused_card(hardware: Hardware, version: str, cuda: str | None) -> str:
    """A note where the machine has a card that torch cannot use; else nothing.

    Args:
        hardware: what a base goes on.
        version: torch's.
        cuda: the version of CUDA that torch is built for, or None.
    """
    if hardware.kind == "cuda" or (here := card_here()) is None:
        return ""
    if cuda is None:
        return (
            f"{here.card.title} is not used: torch {version} is built without CUDA; pip install torch as for your CUDA"
        )
    return f"{here.card.title} is not used: its driver is too old for CUDA {cuda} of torch {version}; update the driver"
