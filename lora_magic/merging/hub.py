"""The Hub as a merge needs it: small files first, whole snapshots, or one weight file at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lora_magic.errors import LoraError
from lora_magic.hub_token import with_token_if_needed
from lora_magic.merging.tensors import ITEM_BYTES, Stored, listing

LIGHT_FILES = ("*.json", "*.model", "*.txt", "*.jinja", "*.py", "LICENSE*", "NOTICE*", "USE_POLICY*")
"""What a model has beside its weights."""


class Unreachable(LoraError):
    """The network went away; what was done so far is kept."""


@contextmanager
def _silent() -> Iterator[None]:
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


def _problem(source: str, revision: str | None, error: Exception) -> LoraError:
    from huggingface_hub import errors

    wanted = f"{source}@{revision}" if revision else source
    if isinstance(error, errors.GatedRepoError):
        return LoraError(f"{wanted} is gated.", f"Accept its licence at huggingface.co/{source}, then log in.")
    if isinstance(error, errors.RevisionNotFoundError):
        return LoraError(f"{source} has no revision {revision}.", "Leave the revision out or name one it has.")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        return LoraError(f"{source} is neither a folder nor a model on the Hub.", "Check the name, or log in.")
    return Unreachable(
        f"{wanted} cannot be reached on the Hub and is not in the cache ({type(error).__name__}).",
        "Connect to the network and run the same line again: it goes on where it stopped.",
    )


def _asked(source: str, revision: str | None, call: Callable[[str | bool], Any]) -> Any:
    """What `call` returns; its network errors as one line, those of the disk as they are.

    Args:
        call: takes the user's token where the Hub wants one, else False.

    Raises:
        LoraError: no such model, no licence for it, or no network.
    """
    import httpx

    try:
        with _silent():
            return with_token_if_needed(call)
    except (OSError, ValueError, RuntimeError, httpx.HTTPError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise
        raise _problem(source, revision, error) from error


def snapshot(source: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Download the files of a Hub model that match `patterns`, or take them from the cache.

    Raises:
        LoraError: no such model, no licence for it, or no network and nothing in the cache.
    """
    from huggingface_hub import snapshot_download

    found = _asked(
        source,
        revision,
        lambda token: snapshot_download(source, revision=revision, allow_patterns=list(patterns), token=token),
    )
    return Path(found)


def remote_weights(source: str, revision: str | None, folder: Path) -> dict[str, Stored]:
    """Every tensor of a model on the Hub, from the headers of its files alone.

    Args:
        source: the model's id.
        revision: branch, tag or commit.
        folder: where the files will lie once they are fetched.

    Raises:
        LoraError: no such model, no safetensors in it, a dtype that a merge does not take, or no network.
    """
    from huggingface_hub import HfApi, errors

    try:
        found = _asked(
            source, revision, lambda token: HfApi().get_safetensors_metadata(source, revision=revision, token=token)
        )
    except LoraError as error:
        if isinstance(error.__cause__, (errors.NotASafetensorsRepoError, errors.SafetensorsParsingError)):
            raise LoraError(f"{source} has no readable safetensors.", "Name a base with model.safetensors.") from error
        raise
    weights = {}
    for file, metadata in sorted(found.files_metadata.items()):
        ordered = sorted(metadata.tensors.items(), key=lambda item: item[1].data_offsets)
        for name, info in ordered:
            if str(info.dtype) not in ITEM_BYTES:
                raise LoraError(
                    f"{name} in {file} has dtype {info.dtype}, which cannot be merged into.",
                    "Name the 16-bit original of this model.",
                )
            weights[name] = Stored(name, folder / file, tuple(info.shape), str(info.dtype), -1)
    return weights


class Shelf:
    """Fetches a Hub model's weight files one at a time and drops each when the next is asked for.

    A file that is in the Hub's cache already is read there and stays.

    Args:
        source: the model's id.
        revision: branch, tag or commit.
        folder: where one file lies while it is needed.
    """

    def __init__(self, source: str, revision: str | None, folder: Path) -> None:
        self._source, self._revision, self._folder = source, revision, folder
        self._name, self._own = "", False
        self._tensors: dict[str, Stored] = {}

    def local(self, stored: Stored) -> Stored:
        """`stored` where it lies now, its file fetched if it has to be.

        Raises:
            LoraError: the network is gone, or the file is not the one whose header was read.
        """
        if stored.file.name != self._name:
            self.drop()
            path = self._fetched(stored.file.name)
            self._tensors, self._name = listing(path), stored.file.name
        found = self._tensors.get(stored.name)
        if found is None or (found.shape, found.dtype) != (stored.shape, stored.dtype):
            raise LoraError(f"{stored.file.name} of {self._source} has changed on the Hub.", "Merge again.")
        return found

    def drop(self) -> None:
        """Delete the file that lies there, unless it is the cache's."""
        if self._name and self._own:
            (self._folder / self._name).unlink(missing_ok=True)
        self._name, self._tensors = "", {}

    def _fetched(self, file: str) -> Path:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        cached = try_to_load_from_cache(self._source, file, revision=self._revision)
        self._own = not isinstance(cached, str)
        if isinstance(cached, str):
            return Path(cached)
        found = _asked(
            self._source, self._revision,
            lambda token: hf_hub_download(
                self._source, file, revision=self._revision, local_dir=self._folder, token=token
            ),
        )  # fmt: skip
        return Path(found)


def download_bytes(source: str, revision: str | None) -> int | None:
    """Bytes of a Hub model's safetensors that are not in the cache; None when nobody can tell now."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        info = _asked(
            source,
            revision,
            lambda token: HfApi().model_info(source, revision=revision, files_metadata=True, token=token),
        )
    except LoraError:
        return None
    missing = 0
    for file in info.siblings or ():
        wanted = file.rfilename.endswith(".safetensors") and "/" not in file.rfilename
        if wanted and not isinstance(try_to_load_from_cache(source, file.rfilename, revision=revision), str):
            missing += file.size or 0
    return missing
