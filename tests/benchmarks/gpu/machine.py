"""What every measurement on a card shares: a T4's limits on a larger one, and what a record says of the machine."""

from __future__ import annotations

import importlib.metadata
import json
import time
from pathlib import Path
from typing import Any

LIMIT_GIB = 14.56
GIB = 2**30
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "unsloth", "unsloth_zoo")


def hold(limit_gib: float, *, flash: bool = False) -> None:
    """Hold torch's allocator to `limit_gib` (0: no limit) and, unless `flash`, turn off the attention a T4 lacks."""
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    if limit_gib:
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_gib * GIB / total))
    if not flash:
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_cudnn_sdp(False)


def versions() -> dict[str, str]:
    """Of the packages that matter, those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def record() -> dict[str, Any]:
    """Date, card, its multiprocessors (8 on the slice) and versions."""
    import torch

    card = torch.cuda.get_device_properties(0)
    return {
        "date": time.strftime("%Y-%m-%d"), "card": card.name, "multiprocessors": card.multi_processor_count,
        "card_gib": round(card.total_memory / GIB, 2), "versions": versions(),
    }  # fmt: skip


def shape(folder: Path) -> dict[str, Any]:
    """The keys of a model folder's config.json that its memory and time depend on."""
    config = json.loads((folder / "config.json").read_text())
    keys = (
        "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size", "tie_word_embeddings",
    )  # fmt: skip
    return {key: config[key] for key in keys if key in config}


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a line of JSON to `path` and print it."""
    line = json.dumps(row)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)
