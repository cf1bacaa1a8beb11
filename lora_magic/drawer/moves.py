"""An adapter comes in from disk or the Hub, or is made of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from lora_magic.backends.base import Base, Phases
from lora_magic.backends.fetch import download_adapter
from lora_magic.backends.saved import CONFIG, read_config
from lora_magic.config import AdaptersConfig, TrainConfig
from lora_magic.drawer.adapter import Adapter
from lora_magic.drawer.listing import kind_of
from lora_magic.drawer.recorded import as_recorded
from lora_magic.errors import LoraError, nearest
from lora_magic.files import atomic_file
from lora_magic.merging import read_adapter
from lora_magic.merging.adapter import Adapter as Saved
from lora_magic.training.record import new_run_dir

_NOT_LOADED = "Merge it: %lora_merge FOLDER OUT, then %lora_load OUT."


def loadable(folder: Path) -> Saved:
    """A saved adapter, if it can go on a loaded base that stays as it is and takes others beside it.

    Args:
        folder: the adapter's.

    Raises:
        LoraError: no adapter, a broken one, one whose start changes the base's own weights, or a kind that others
            cannot stand beside.
    """
    saved, recorded = read_adapter(folder), read_config(folder)
    kind = recorded["peft_type"]
    if kind != "LORA":
        raise LoraError(f"{folder} is of the kind {kind}; only LoRA goes on a loaded base.", _NOT_LOADED)
    if recorded.get("trainable_token_indices"):
        raise LoraError(
            f"{folder} trains single tokens (trainable_token_indices), beside which no other adapter loads.",
            _NOT_LOADED,
        )
    return saved


def imported(
    base: Base, config: AdaptersConfig, key: str, phases: Phases, find: Callable[[str], Path]
) -> tuple[Adapter, str]:
    """Put a saved adapter on the base, after checking that it fits.

    Args:
        base: the loaded base.
        config: what to import, and under which name.
        key: what the backend is to call it.
        phases: where a download is reported.
        find: the folder of an adapter or run that is on this disk; raises LoraError where there is none.

    Returns:
        The adapter, and a line on what was done.

    Raises:
        LoraError: there is no such adapter, its weights are a pickle or broken, or it is for another base.
    """
    asked = str(config.import_from)
    folder = _found(asked, phases, find).absolute()
    saved, recorded = loadable(folder), read_config(folder)
    with phases.phase("adapter"):
        _attach(base, key, folder)
    usual = folder.parent.name if folder.name == "adapter" else asked.rstrip("/").rsplit("/", 1)[-1]
    name = config.name or usual
    made, unknown = as_recorded(Adapter(name, key, folder, kind_of(recorded), None, "", ()), folder, base.tokenizer)
    told = f"{name} is on the base now, from {folder}" + (f"; {unknown}" if unknown else "")
    if saved.base and saved.base not in (base.facts.path, base.facts.model):
        told += (
            f"; it was made for {saved.base}, whose layers have the same shapes: whether the weights agree nobody knows"
        )
    if saved.unknown:
        told += f"; it was saved with {', '.join(saved.unknown)}, unknown to this peft and left out"
    return made, told


def _attach(base: Base, key: str, folder: Path) -> None:
    """Put a saved adapter on the base, with whatever peft has to say against it as one line."""
    from lora_magic.merging.logits import quiet

    try:
        with quiet():
            base.attach(key, TrainConfig(data=()), folder)
    except LoraError as error:
        if "ModulesToSaveWrapper" in error.problem:
            raise LoraError(
                f"{folder} adapts a layer that an adapter in memory holds as a whole.",
                "Take that one off first: %lora_adapters --remove NAME.",
            ) from error
        raise LoraError(" ".join(error.problem.split())[:300], "Load the base that it was trained on.") from error
    except (TypeError, ValueError, AttributeError, KeyError, re.error) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise LoraError(f"{folder / CONFIG} cannot be used ({reason}).", "Give an intact adapter.") from error


def _found(asked: str, phases: Phases, find: Callable[[str], Path]) -> Path:
    try:
        return find(asked)
    except LoraError:
        if Path(asked).expanduser().exists() or asked.count("/") != 1 or asked.startswith((".", "/", "~")):
            raise
    return download_adapter(asked, phases)


def combined(base: Base, config: AdaptersConfig, key: str, adapters: Mapping[str, Adapter]) -> tuple[Adapter, str]:
    """Make a new adapter of several on the base, and write it.

    Args:
        base: the loaded base.
        config: which, how, and what the new one is called.
        key: what the backend is to call it.
        adapters: in memory, by name.

    Returns:
        The adapter, and a line on what was done.

    Raises:
        LoraError: one is not in memory, or such adapters cannot be combined so; nothing is left behind.
    """
    for name in config.weights:
        if name not in adapters:
            listed = f"In memory: {', '.join(adapters)}." if adapters else "Train or --import some first."
            raise LoraError(f'There is no adapter "{name}".', nearest(name, adapters) or listed)
    parts = {adapters[name].key: weight for name, weight in config.weights.items()}
    base.combine(key, parts, config.method, rank=config.rank, density=config.density, seed=config.seed)
    name = str(config.name)
    told = _sum(config.weights)
    folder = new_run_dir(name, 0) / "adapter"
    base.save(key, folder)
    atomic_file(
        folder.parent / "README.md", f"# {name}\n\nAn adapter for {base.facts.model}: {told}, by {config.method}.\n"
    )
    first = adapters[next(iter(config.weights))]
    made = Adapter(
        name, key, folder, kind_of(read_config(folder)), first.system, first.source, first.held_out, first.template
    )
    return made, f"{name} is {told}, by {config.method}; it lies in {folder.parent}"


def _sum(weights: Mapping[str, float]) -> str:
    """Adapters with their weights, as a sum is written."""
    terms = (f"{'-' if weight < 0 else '+'} {abs(weight):g} x {part}" for part, weight in weights.items())
    written = " ".join(terms)
    return written.removeprefix("+ ") if written.startswith("+") else f"-{written[2:]}"
