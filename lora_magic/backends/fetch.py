"""From what the user named to a model folder or a Hub id that is on this disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_magic.backends.base import Phases
from lora_magic.config import LoadConfig
from lora_magic.demo import MODEL_DIR
from lora_magic.errors import LoraError, nearest
from lora_magic.hub_token import with_token_if_needed

WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "tokenizer.model", "*.tiktoken")
WANTED_OF_TOKENIZER = tuple(pattern for pattern in WANTED if "safetensors" not in pattern)
NAMES = {"demo": MODEL_DIR}
_AUTHORISE = "set HF_TOKEN, in the environment or among Colab's secrets"


def resolve(config: LoadConfig, phases: Phases, *, tokenizer_alone: bool = False) -> str:
    """The folder or Hub id to load, complete on this disk.

    Args:
        tokenizer_alone: leave the weights where they are.

    Raises:
        LoraError: no such folder or id, a folder that is not a model, or no network for a download.
    """
    if config.model in NAMES:
        return str(NAMES[config.model])
    folder = Path(config.model).expanduser()
    if folder.exists():
        return str(folder.resolve() if tokenizer_alone else model_folder(folder))
    looks_like_path = config.model.startswith((".", "/", "~")) or config.model.count("/") > 1 or "\\" in config.model
    if looks_like_path:
        raise LoraError(f'The folder "{config.model}" does not exist.', f"You are in {Path.cwd()}.")
    if "/" not in config.model:
        remedy = nearest(config.model, NAMES) or "Give demo, an id like owner/name, or a folder."
        raise LoraError(f'There is no model "{config.model}".', remedy)
    _download(config, phases, WANTED_OF_TOKENIZER if tokenizer_alone else WANTED)
    return config.model


def model_folder(folder: Path) -> Path:
    """`folder`, made absolute, if it holds a model that can be loaded safely.

    Raises:
        LoraError: a file, an adapter's folder, no config.json, or no safetensors.
    """
    if not folder.is_dir():
        raise LoraError(f'"{folder}" is a file, not a model folder.', "Give the folder that holds its config.json.")
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise LoraError(f'"{folder}" is an adapter, not a model.', "Load its base.")
        raise LoraError(f'"{folder}" is not a model folder: it has no config.json.', "Give the folder that holds one.")
    if not any(folder.glob("*.safetensors")):
        raise LoraError(
            f'"{folder}" has no safetensors weights.', "Convert them: other formats can run code when read."
        )
    for file in folder.glob("*.safetensors"):
        _check_whole(file)
    return folder.resolve()


def _check_whole(file: Path) -> None:
    """Refuse a damaged weight file: 8 bytes of length, a JSON header of that length, then all data it names."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            size = file.stat().st_size
            header = json.loads(stream.read(length)) if length < size else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = bool(header) and 8 + length + max(ends, default=0) == size
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise LoraError(f"{file} is damaged or cut short.", "Fetch it again.")


def weight_bytes(path: str, config: LoadConfig) -> int:
    """Size of the safetensors files of a resolved model, in bytes."""
    return sum(file.stat().st_size for file in local_folder(path, config).glob("*.safetensors"))


def _download(config: LoadConfig, phases: Phases, wanted: Sequence[str]) -> None:
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    named = f"{config.model}@{config.revision}" if config.revision else config.model
    try:
        with phases.phase("download"):
            with_token_if_needed(
                lambda token: snapshot_download(
                    config.model, revision=config.revision, allow_patterns=list(wanted), tqdm_class=reporter(phases),
                    token=token,
                )
            )  # fmt: skip
    except errors.GatedRepoError:
        raise LoraError(f"{named} is gated.", f"Accept its terms on its page, then {_AUTHORISE}.") from None
    except errors.RepositoryNotFoundError:
        raise LoraError(
            f"{named} is not on the Hub, or private.", f"Check the spelling; if it is private, {_AUTHORISE}."
        ) from None
    except errors.RevisionNotFoundError:
        raise LoraError(
            f"{config.model} has no revision {config.revision!r}.", "Give a branch, tag or commit."
        ) from None
    except errors.HFValidationError:
        raise LoraError(
            f'"{config.model}" is neither a folder nor a model id.', "An id looks like owner/name."
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise LoraError(
            f"{named} is not on this disk and could not be downloaded ({reason}).",
            "Check the spelling and the network, or give a folder.",
        ) from None


def download_adapter(name: str, phases: Phases) -> Path:
    """The folder of an adapter that lies on the Hub, fetched unless it is on this disk; no pickle is.

    Raises:
        LoraError: no such repository, no access, no network, or no adapter in it.
    """
    config = LoadConfig(name)
    _download(config, phases, ("adapter_config.json", "adapter_model.safetensors"))
    return local_folder(name, config)


def reporter(phases: Phases) -> Any:
    """A tqdm class for the Hub's downloads that draws nothing and reports bytes to `phases`."""
    from tqdm.auto import tqdm

    class Reporter(tqdm):
        """Counts bytes over all files."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.in_bytes = kwargs.get("unit") == "B"
            kwargs.pop("name", None)
            kwargs["disable"] = False
            kwargs["file"] = _Nowhere()
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.in_bytes and self.total:
                done = f"{self.n / 1e9:.2f} of {self.total / 1e9:.2f} GB"
                phases.update(min(1.0, self.n / self.total), done)
            return shown

    return Reporter


class _Nowhere:
    def write(self, text: str) -> None:
        """Drops what tqdm would draw."""

    def flush(self) -> None:
        """Nothing to flush."""


def stored_quantisation(path: str, config: LoadConfig) -> dict[str, Any] | None:
    """The `quantization_config` a model's own config.json carries, or None for plain weights."""
    return config_json(path, config).get("quantization_config")


def config_json(path: str, config: LoadConfig) -> dict[str, Any]:
    """A resolved model's own config.json.

    Raises:
        LoraError: it is not JSON.
    """
    file = local_folder(path, config, "config.json") / "config.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LoraError(f"{file} is not JSON ({error}).", "The model is damaged: fetch it again.") from None
    return found if isinstance(found, dict) else {}


def local_folder(path: str, config: LoadConfig, file: str | None = None) -> Path:
    """The folder on this disk that holds a resolved model, or at least its `file`."""
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import hf_hub_download, snapshot_download

    if file is not None:
        return Path(hf_hub_download(path, file, revision=config.revision, local_files_only=True)).parent
    return Path(snapshot_download(path, revision=config.revision, local_files_only=True))
