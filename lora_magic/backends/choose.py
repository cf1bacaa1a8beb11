"""Which backend loads a model: Unsloth on a card where it can, else transformers; once a process."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

from lora_magic.backends import stack as stacks
from lora_magic.backends.base import Loader, Phases
from lora_magic.backends.fetch import config_json
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError

# Families that Unsloth 2026.10 computes with kernels of its own; it has a generic path for others.
FAMILIES = ("llama", "mistral", "gemma", "gemma2", "qwen2", "qwen3")
SLOWER = "about 2x slower"


@dataclass(frozen=True)
class Obstacle:
    """Why Unsloth does not load a model.

    Attributes:
        problem: for a user who asked for it.
        remedy: for the same.
        reason: for a user who did not, in a few words.
    """

    problem: str
    remedy: str
    reason: str


def choose(config: LoadConfig, path: str, phases: Phases) -> Loader:
    """The way in for this model; the stack is imported on the way.

    Args:
        config: what was asked for.
        path: the resolved model, a folder or a Hub id that is on this disk.
        phases: where the imports are reported.

    Raises:
        LoraError: the backend that was asked for cannot load the model, or this process has the other one.
    """
    with phases.phase("imports"):
        backend, why = _decided(config, path)
        began = functools.partial(phases.update, None)
        late = _late() if backend == "unsloth" else ""
        try:
            stack = stacks.import_stack(backend, began)
        except LoraError as error:
            if backend == "transformers" or config.backend == "unsloth":
                raise
            why = f"{error.problem.rstrip('.')}: {SLOWER}"
            stack = stacks.import_stack("transformers", began)
            backend = "transformers"
    return functools.partial(_loader(backend), stack, why=why or late)


def _decided(config: LoadConfig, path: str) -> tuple[str, str]:
    """The backend, and why not Unsloth."""
    has = stacks.running()
    if has and config.backend not in ("auto", has):
        raise LoraError(
            f"This kernel already has the backend {has}; a second one would not be itself any more.",
            f"Restart the kernel, then load with --backend {config.backend}.",
        )
    if config.backend == "transformers":
        return "transformers", ""
    if config.backend == "auto" and has is None and _absent() is None and not _has_card():
        return "transformers", ""
    obstacle = _absent() or _unfit(config, path)
    if has == "transformers":
        return has, obstacle.reason if obstacle else f"this kernel began with it: {SLOWER}; restart for Unsloth"
    if obstacle is None:
        return "unsloth", ""
    if config.backend == "unsloth":
        raise LoraError(obstacle.problem, obstacle.remedy)
    if has == "unsloth":
        raise LoraError(
            f"{obstacle.problem.rstrip('.')}, and this kernel already has Unsloth.",
            "Restart the kernel, then load with --backend transformers.",
        )
    return "transformers", obstacle.reason


def _absent() -> Obstacle | None:
    version = stacks.unsloth_version()
    if version is None:
        return Obstacle("Unsloth is not installed.", stacks.INSTALL_UNSLOTH, f"Unsloth is not installed: {SLOWER}")
    if stacks.is_old(version):
        oldest = ".".join(map(str, stacks.OLDEST_UNSLOTH))
        return Obstacle(
            f"Unsloth {version} is too old: {oldest} is the oldest that works here.",
            f"{stacks.INSTALL_UNSLOTH}, then restart the kernel.",
            f"Unsloth {version} is older than {oldest}: {SLOWER}; {stacks.INSTALL_UNSLOTH}",
        )
    return None


def _unfit(config: LoadConfig, path: str) -> Obstacle | None:
    """What Unsloth would do wrong or not at all with this model."""
    read = config_json(path, config)
    family = str(read.get("model_type", "unknown"))
    stored = read.get("quantization_config")
    card = _has_card()
    if family not in FAMILIES:
        return _without(f"Unsloth has no kernels for the family {family} (it has {', '.join(FAMILIES)})", config)
    if read.get("auto_map"):
        return _without("Unsloth does not take a model that brings Python of its own", config)
    if config.bits == 8 or (isinstance(stored, dict) and stored.get("load_in_8bit")):
        return _without("Unsloth's kernels do not take 8-bit weights", config)
    if card and (config.bits == 32 or config.dtype == "float32"):
        return _without("Unsloth's kernels do not compute in float32", config)
    if not card and config.dtype == "float16":
        return _without("Unsloth does not compute in float16 on a CPU", config)
    return None


def _without(problem: str, config: LoadConfig) -> Obstacle:
    return Obstacle(
        f"{problem}: {config.model}.", f"Load with --backend transformers, {SLOWER}.", f"{problem}: {SLOWER}"
    )


def _has_card() -> bool:
    """Whether torch sees a card. Imports torch alone, which Unsloth takes, and begins nothing on the card."""
    from lora_magic.interrupts import held_back

    try:
        with held_back():
            import torch
    except ImportError:
        return False  # whoever imports the stack says what is missing
    return bool(torch.cuda.is_available())


def _late() -> str:
    """A note where Unsloth comes after the packages that it patches."""
    before = [name for name in ("transformers", "trl", "peft") if name in sys.modules]
    if not before or "unsloth" in sys.modules:
        return ""
    return f"{', '.join(before)} came first, which can cost speed: restart the kernel and load before importing them"


def _loader(backend: str) -> Any:
    if backend == "unsloth":
        from lora_magic.backends.unsloth import load

        return load
    from lora_magic.backends.transformers import load as plain

    return plain
