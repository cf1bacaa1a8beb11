"""A model's config.json without its weights: of the embedded model, a folder or a Hub id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lora_magic.backends.base import Phases
from lora_magic.backends.fetch import NAMES, _download, resolve
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
_ADAPTER = "adapter_config.json"


def model_config(config: LoadConfig, phases: Phases) -> dict[str, Any]:
    """The content of config.json; of a Hub id that file alone is fetched.

    Args:
        config: which model.
        phases: where a download is reported.

    Raises:
        LoraError: there is no such model, it is an adapter, or its config.json is missing, damaged or no decoder's.
    """
    found = _read(_folder(config, phases) / "config.json")
    if found.get("is_encoder_decoder"):
        raise LoraError(f"{config.model} is an encoder with a decoder.", "Choose a model that is a decoder alone.")
    return found


def stored_bits(config: LoadConfig, found: dict[str, Any]) -> int | None:
    """Bits a weight of a model that is stored quantised; None for plain weights.

    Raises:
        LoraError: it is quantised in a way that is not trained here.
    """
    stored = found.get("quantization_config")
    if stored is None:
        return None
    bits = stored if isinstance(stored, dict) else {}
    if bits.get("load_in_4bit") or bits.get("load_in_8bit"):
        return 4 if bits.get("load_in_4bit") else 8
    kind = bits.get("quant_method", "unknown")
    raise LoraError(f"{config.model} is quantised as {kind}, which is not trained here.", "Choose the 16-bit model.")


def tokenizer_is_here(config: LoadConfig) -> bool:
    """Whether the model's tokenizer is on this disk; nothing is fetched for the question."""
    if config.model in NAMES:
        return True
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        return any((folder / name).is_file() for name in TOKENIZER_FILES)
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(config.model, name, revision=config.revision) for name in TOKENIZER_FILES[:2])
    return any(isinstance(path, str) for path in found)


def _folder(config: LoadConfig, phases: Phases) -> Path:
    """The folder that holds the model's config.json."""
    if config.model in NAMES:
        return NAMES[config.model]
    folder = Path(config.model).expanduser()
    if folder.is_file():
        raise LoraError(f'"{folder}" is a file, not a model folder.', "Give the folder that holds its config.json.")
    if not folder.exists() and (config.model.count("/") != 1 or config.model.startswith((".", "/", "~"))):
        resolve(config, phases, tokenizer_alone=True)  # says what is wrong with a name that is no id
    if not folder.exists():
        return _fetched(config, phases)
    if not (folder / "config.json").is_file():
        if (folder / _ADAPTER).is_file():
            raise _is_adapter(config.model, folder / _ADAPTER)
        raise LoraError(f'"{folder}" is not a model folder: it has no config.json.', "Give the folder that holds one.")
    return folder


def _fetched(config: LoadConfig, phases: Phases) -> Path:
    """The cached folder of a Hub id with its config.json, fetched where it is not there yet."""
    from huggingface_hub import try_to_load_from_cache

    def cached(name: str) -> Path | None:
        found = try_to_load_from_cache(config.model, name, revision=config.revision)
        return Path(found) if isinstance(found, str) else None

    try:
        there = cached("config.json")
    except ValueError:  # no id; the download says so
        there = None
    if there is None:
        _download(config, phases, ("config.json", _ADAPTER))
        there = cached("config.json")
    if there is not None:
        return there.parent
    if (adapter := cached(_ADAPTER)) is not None:
        raise _is_adapter(config.model, adapter)
    raise LoraError(f"{config.model} has no config.json.", "Give a model in the format of transformers.")


def _is_adapter(model: str, file: Path) -> LoraError:
    try:
        base = str(_read(file).get("base_model_name_or_path") or "")
    except LoraError:
        base = ""
    named = f'"{base}"' if " " in base else base
    return LoraError(f"{model} is an adapter, not a model.", f"Plan for its base: %lora_plan {named or 'BASE'}")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LoraError(f"{file} cannot be read ({error.strerror}).", "Check its permissions.") from None
    except (ValueError, RecursionError) as error:
        told = " ".join(str(error).split())[:120]
        raise LoraError(f"{file} is not JSON ({told}).", "The model is damaged: fetch it again.") from None
    if not isinstance(found, dict):
        raise LoraError(f"{file} is a {type(found).__name__}, not an object.", "The model is damaged: fetch it again.")
    return found
