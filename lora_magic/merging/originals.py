"""The base's original, unquantised weights: where they lie and what is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.errors import LoraError
from lora_magic.files import disk_errors, free_bytes, readable_bytes
from lora_magic.merging.hub import LIGHT_FILES, Shelf, download_bytes, remote_weights, snapshot
from lora_magic.merging.nf4 import paired
from lora_magic.merging.tensors import Stored, listing

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


@dataclass(frozen=True)
class Originals:
    """A base model on disk.

    Attributes:
        source: the folder or Hub id that was asked for.
        folder: where its files lie.
        config: its config.json.
        weights: every tensor by name, in the order of the files; packed 4-bit weights as one each.
        shelf: fetches the weights' files when they are read; None where all are here.
    """

    source: str
    folder: Path
    config: Mapping[str, Any]
    weights: Mapping[str, Stored]
    shelf: Shelf | None = None

    @property
    def packed(self) -> bool:
        """True when some weights are known in 4 bits only."""
        return any(stored.packed for stored in self.weights.values())


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
    """Names of the weight files, each with the tensors that the index expects in it (None: no index).

    A single file goes before an index, as in transformers.
    """
    if (folder / SINGLE).exists():
        return {SINGLE: None}
    if (folder / INDEX).exists():
        expected: dict[str, set[str] | None] = {}
        for name, file in dict(read_json(folder / INDEX).get("weight_map", {})).items():
            if not isinstance(file, str) or Path(file).name != file:
                raise LoraError(f"{folder / INDEX} names a file outside its folder: {file}.", "Use another base.")
            names = expected.setdefault(file, set())
            if names is not None:
                names.add(name)
        return expected
    pickles = sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt")])
    if pickles:
        raise LoraError(
            f"{source} has its weights as {pickles[0].name}, a pickle, which is never loaded here.",
            "Name a base with model.safetensors.",
        )
    raise LoraError(f"{source} has no {SINGLE}.", "Name a folder or Hub id with a model's safetensors weights.")


def _quantisation(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    nested = [config, *(part for part in config.values() if isinstance(part, dict))]
    found = next((part["quantization_config"] for part in nested if part.get("quantization_config")), None)
    return found if isinstance(found, dict) or found is None else {}


def _refuse_quantised(config: Mapping[str, Any], source: str, take_packed: bool) -> None:
    """Refuse what cannot be unpacked, and a 4-bit copy whose original its name tells.

    Raises:
        LoraError: naming the original where it can be told.
    """
    method = _quantisation(config)
    if method is None:
        return
    kind = method.get("quant_method", "unknown")
    names = [source, str(config.get("_name_or_path") or "")]
    original = next((guess for name in names if (guess := unquantised_name(name)) != name), "")
    if kind == "bitsandbytes" and method.get("load_in_4bit"):
        if take_packed or not original:
            return
        raise LoraError(
            f"{source} holds 4-bit weights; its 16-bit original is probably {original}.",
            f"Merge into it: --base {original}. --base {source} unpacks the 4-bit weights, with their rounding.",
        )
    hint = f"Name the 16-bit original: --base {original}." if original else "Name its 16-bit original: --base MODEL."
    raise LoraError(f"{source} is quantised ({kind}); a merge needs the 16-bit original weights.", hint)


def require_inside(file: Path, folder: Path) -> None:
    """Refuse a file that is a link to somewhere outside `folder`; the Hub's cache links to its own blobs.

    Raises:
        LoraError: it is one.
    """
    if not file.is_symlink():
        return
    root = folder.resolve()
    if root.parent.name == "snapshots":
        root = root.parent.parent
    if root not in file.resolve().parents:
        raise LoraError(f"{file} is a link out of its folder, to {file.resolve()}.", "Put the file itself there.")


def _listed(folder: Path, source: str) -> dict[str, Stored]:
    """Every tensor of the weight files: where the index says, and what it leaves out where it is found."""
    weights: dict[str, Stored] = {}
    files = _weight_files(folder, source)
    indexed = {name for names in files.values() for name in names or ()}
    for file, expected in sorted(files.items()):
        if not (folder / file).exists():
            raise LoraError(f"{source} has no {file}, which its index names.", "Download the base again.")
        require_inside(folder / file, folder)
        found = listing(folder / file)
        missing = sorted((expected or set()) - found.keys())
        if missing:
            raise LoraError(f"{file} of {source} has no tensor {missing[0]}.", "Download the base again.")
        own = {name: stored for name, stored in found.items() if name in (expected or ()) or name not in indexed}
        weights.update(own)
    return weights


def _require_room_in_cache(base: str, revision: str | None) -> None:
    """Refuse a download that the disk of the Hub's cache cannot hold.

    Raises:
        LoraError: with what is needed and what there is.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    needed, free = download_bytes(base, revision) or 0, free_bytes(Path(HF_HUB_CACHE))
    if needed > free:
        raise LoraError(
            f"{base} takes {readable_bytes(needed)} to fetch and {readable_bytes(free)} is free in {HF_HUB_CACHE}.",
            "Fetch a file at a time: --low-disk.",
        )


def find_originals(
    base: str, *, revision: str | None = None, take_packed: bool = False, low_disk: Path | None = None
) -> Originals:
    """Find the original weights of `base` and list their tensors; nothing is loaded.

    A Hub model's small files come first, so that a quantised one is refused before gigabytes are fetched.

    Args:
        base: a folder, or the id of a model on the Hub.
        revision: branch, tag or commit on the Hub.
        take_packed: unpack 4-bit weights although the name tells of a 16-bit original.
        low_disk: where one weight file of a Hub model lies at a time; None fetches all of them first.

    Raises:
        LoraError: there is no such model, it is quantised and cannot be unpacked, it is not in safetensors, a
            file is damaged, or the Hub cannot be reached.
    """
    folder = Path(base).expanduser()
    local = folder.is_dir()
    if folder.is_file():
        raise LoraError(f"{base} is a file, not a model's folder.", "Name the folder that holds its config.json.")
    if not local and (folder.is_absolute() or base.startswith((".", "~"))):
        raise LoraError(f"There is no folder {base}.", "Check the path of the base.")
    with disk_errors(folder):
        if not local:
            folder = snapshot(base, revision, LIGHT_FILES)
        config = read_json(folder / "config.json")
        _refuse_quantised(config, base, take_packed)
        if not local and low_disk is not None:
            weights = remote_weights(base, revision, low_disk)
            if _quantisation(config):
                raise LoraError(f"{base} holds 4-bit weights.", "Leave --low-disk out.")
            return Originals(base, folder, config, weights, Shelf(base, revision, low_disk))
        if not local:
            _require_room_in_cache(base, revision)
            indexed = list(_weight_files(folder, base)) if (folder / INDEX).exists() else [SINGLE]
            folder = snapshot(base, revision, [*LIGHT_FILES, *indexed])
    return Originals(base, folder, config, paired(_listed(folder, base)))
