"""Adapters on disk, put back on a base to be trained further or used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lora_magic.errors import LoraError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
RUNS = Path("lora_runs")
"""Where runs are recorded, each in a folder with its adapter: in the notebook's own."""


def import_line(name: str) -> str:
    """How to put the adapter of a recorded run on the base, where `name` is one; "" where it is none."""
    try:
        there = name == Path(name).name and (RUNS / name / "adapter" / CONFIG).is_file()
    except (OSError, ValueError):
        return ""
    quoted = f'"{name}"' if " " in name else name
    return f"It is on disk: %lora_adapters --import {quoted}" if there else ""


def read_config(folder: Path) -> dict[str, Any]:
    """What adapter_config.json of a saved adapter says.

    Args:
        folder: with adapter_config.json and adapter_model.safetensors.

    Raises:
        LoraError: no adapter, one whose weights are a pickle, or an unreadable config.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise LoraError(f'"{folder}" is not an adapter: it has no {CONFIG}.', "Give a peft adapter's folder.")
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        why = "its weights are a pickle, which can run code" if pickled else f"it has no {WEIGHTS}"
        raise LoraError(f'The adapter "{folder}" is not read: {why}.', "Save it again as safetensors.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise LoraError(f"{path} cannot be read ({error}).", "Give an intact adapter.") from None
    return found


def peft_config(folder: Path, base_path: str, revision: str | None) -> Any:
    """peft's config of a saved LoRA adapter, ready to be trained on the base at `base_path`.

    Raises:
        LoraError: another kind of adapter, or a config that peft cannot read.
    """
    from peft import LoraConfig

    recorded = read_config(folder)
    kind = recorded.get("peft_type")
    if kind != "LORA":
        raise LoraError(f'The adapter "{folder}" is of the kind {kind}, not LORA.', "Only LoRA can be trained further.")
    try:
        made = LoraConfig.from_pretrained(str(folder))
    except Exception as error:  # noqa: BLE001  whatever peft raises on a config that is none of its own
        first = str(error).partition("\n")[0]
        raise LoraError(f"{folder / CONFIG} cannot be used ({first}).", "Give an intact adapter.") from None
    made.inference_mode = False
    made.base_model_name_or_path, made.revision = base_path, revision
    return made


def load_weights(model: Any, key: str, folder: Path) -> None:
    """Copy a saved adapter's weights into the adapter `key` of a peft model, which has its shape.

    Raises:
        LoraError: the file is broken, or its weights are not those of this adapter on this base.
    """
    from peft import set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    unfit = f'The adapter "{folder}" does not fit this base'
    try:
        state = load_file(folder / WEIGHTS)
        result = set_peft_model_state_dict(model, state, adapter_name=key)
    except (SafetensorError, OSError) as error:
        raise LoraError(f"{folder / WEIGHTS} cannot be read ({error}).", "Give an intact adapter.") from None
    except (RuntimeError, KeyError, ValueError) as error:
        shapes = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        raise LoraError(f"{unfit}: {(shapes or [str(error)])[0]}", "Load the base that it was trained on.") from None
    if result.unexpected_keys:
        first = result.unexpected_keys[0]
        raise LoraError(f"{unfit}: there is no {first} in it.", "Load the base that it was trained on.")
    missing = [name for name in result.missing_keys if key in name.split(".")]
    if missing:
        raise LoraError(f"{unfit}: it lacks {missing[0]}.", "Load the base that it was trained on.")
    broken = next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise LoraError(f'The adapter "{folder}" has values that are not numbers in {broken}.', "Train it anew.")
