"""The base's original, unquantised weights: where they lie and what is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.errors import LoraError
from lora_magic.files import disk_errors
from lora_magic.merging.tensors import Stored, listing

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

_LIGHT_FILES = ["*.json", "*.model", "*.txt", "*.jinja", "*.py", "LICENSE*", "NOTICE*", "USE_POLICY*"]


@dataclass(frozen=True)
class Originals:
    """A base model on disk.

    Attributes:
        source: the folder or Hub id that was asked for.
        folder: where its files lie.
        config: its config.json.
        weights: every tensor by name, in the order of the files.
    """

    source: str
    folder: Path
    config: Mapping[str, Any]
    weights: Mapping[str, Stored]

    @property
    def parameters(self) -> int:
        """How many values the weights hold together."""
        return sum(stored.values for stored in self.weights.values())


def unquantised_name(base: str) -> str:
    """The likely name of a 4-bit repository's 16-bit original: `x/y-unsloth-bnb-4bit` gives `x/y`."""
    return re.sub(r"(-unsloth)?-(bnb|nf4|gptq|awq)?-?[48]-?bit$", "", base, flags=re.IGNORECASE)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        LoraError: the file is missing, unreadable, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LoraError(f"{path.parent} has no {path.name}.", "Name a folder that a model was saved to.") from error
    except (OSError, ValueError) as error:
        raise LoraError(f"{path} cannot be read as JSON ({error}).", "Download or save it again.") from error
    if not isinstance(found, dict):
        raise LoraError(f"{path} holds no JSON object.", "Download or save it again.")
    return found


def _weight_files(folder: Path, source: str) -> dict[str, set[str] | None]:
    """Names of the weight files, each with the tensors that the index expects in it (None: no index)."""
    if (folder / INDEX).exists():
        expected: dict[str, set[str] | None] = {}
        for name, file in dict(read_json(folder / INDEX).get("weight_map", {})).items():
            if not isinstance(file, str) or Path(file).name != file:
                raise LoraError(f"{folder / INDEX} names a file outside its folder: {file}.", "Use another base.")
            names = expected.setdefault(file, set())
            if names is not None:
                names.add(name)
        return expected
    if (folder / SINGLE).exists():
        return {SINGLE: None}
    pickles = sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt")])
    if pickles:
        raise LoraError(
            f"{source} has its weights as {pickles[0].name}, a pickle, which is never loaded here.",
            "Name a base with model.safetensors.",
        )
    raise LoraError(f"{source} has no {SINGLE}.", "Name a folder or Hub id with a model's safetensors weights.")


def _refuse_quantised(config: Mapping[str, Any], source: str) -> None:
    nested = [config, *(part for part in config.values() if isinstance(part, dict))]
    method = next((part["quantization_config"] for part in nested if part.get("quantization_config")), None)
    if method is None:
        return
    kind = method.get("quant_method", "unknown") if isinstance(method, dict) else "unknown"
    guess = unquantised_name(source)
    hint = f"Name the 16-bit original, probably {guess}." if guess != source else "Name its 16-bit original."
    raise LoraError(f"{source} is quantised ({kind}); a merge needs the 16-bit original weights.", hint)


def _listed(folder: Path, source: str) -> dict[str, Stored]:
    weights: dict[str, Stored] = {}
    for file, expected in _weight_files(folder, source).items():
        if not (folder / file).exists():
            raise LoraError(f"{source} has no {file}, which its index names.", "Download the base again.")
        found = listing(folder / file)
        missing = sorted((expected or set()) - found.keys())
        if missing:
            raise LoraError(f"{file} of {source} has no tensor {missing[0]}.", "Download the base again.")
        weights.update({name: stored for name, stored in found.items() if expected is None or name in expected})
    return weights


@contextmanager
def _silent_hub() -> Iterator[None]:
    """Keep the Hub's progress bars out of the notebook."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _hub_problem(source: str, revision: str | None, error: Exception) -> LoraError:
    from huggingface_hub import errors

    wanted = f"{source}@{revision}" if revision else source
    if isinstance(error, errors.GatedRepoError):
        return LoraError(f"{wanted} is gated.", f"Accept its licence at huggingface.co/{source}, then log in.")
    if isinstance(error, errors.RevisionNotFoundError):
        return LoraError(f"{source} has no revision {revision}.", "Leave the revision out or name one it has.")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        return LoraError(f"{source} is neither a folder nor a model on the Hub.", "Check the name, or log in.")
    return LoraError(
        f"{wanted} cannot be reached on the Hub and is not in the cache ({type(error).__name__}).",
        "Connect to the network, or name a folder with the base's weights.",
    )


def _snapshot(source: str, revision: str | None, patterns: list[str]) -> Path:
    """Download the files of a Hub model that match `patterns`, or take them from the cache."""
    from huggingface_hub import snapshot_download

    try:
        with _silent_hub():
            return Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise
        raise _hub_problem(source, revision, error) from error


def find_originals(base: str, *, revision: str | None = None) -> Originals:
    """Find the original weights of `base` and list their tensors; nothing is loaded.

    A Hub model's small files come first, so that a quantised one is refused before gigabytes are fetched.

    Args:
        base: a folder, or the id of a model on the Hub.
        revision: branch, tag or commit on the Hub.

    Raises:
        LoraError: there is no such model, it is quantised, it is not in safetensors, a file is damaged, or
            the Hub cannot be reached.
    """
    folder = Path(base).expanduser()
    local = folder.is_dir()
    if not local and (folder.is_absolute() or base.startswith((".", "~"))):
        raise LoraError(f"There is no folder {base}.", "Check the path of the base.")
    with disk_errors(folder):
        if not local:
            folder = _snapshot(base, revision, _LIGHT_FILES)
        config = read_json(folder / "config.json")
        _refuse_quantised(config, base)
        if not local:
            indexed = list(_weight_files(folder, base)) if (folder / INDEX).exists() else [SINGLE]
            folder = _snapshot(base, revision, [*_LIGHT_FILES, *indexed])
    return Originals(base, folder, config, _listed(folder, base))
