"""What a merge will take, said before: before training on a base, and before the merge itself."""

from __future__ import annotations

import os
from pathlib import Path

from lora_magic.errors import LoraError
from lora_magic.files import free_bytes, readable_bytes, require_space
from lora_magic.merging.originals import Originals, unquantised_name
from lora_magic.merging.stream import PIECE_BYTES
from lora_magic.merging.tensors import ITEM_BYTES

COMPANION_BYTES = 64 * 2**20
"""Room for what a model has beside its weights."""

_PIECES_AT_ONCE = 64
_BYTES_IN_16_BIT = 2


def outlook(base: str, parameters: int, *, on_disk: bool, folder: Path | None = None) -> str:
    """What merging an adapter of this base will need, as one line to read before training.

    Args:
        base: the folder or Hub id that is trained on.
        parameters: of the base, counted unpacked.
        on_disk: whether `base` itself holds the 16-bit weights here, though it is loaded in fewer bits.
        folder: where the merged model would go; the current folder by default.
    """
    size = _BYTES_IN_16_BIT * parameters
    where = folder or Path.cwd()
    free = free_bytes(where)
    original = unquantised_name(base)
    fetched = 0 if on_disk or original == base else size
    if fetched:
        fetching = f"the 16-bit original {original}: {readable_bytes(size)} to fetch"
    elif on_disk:
        fetching = "the 16-bit original, which is here,"
    else:
        fetching = "to unpack these 4-bit weights, whose rounding stays, as no 16-bit original is known,"
    line = f"merging will need {fetching} and {readable_bytes(size)} to write; {readable_bytes(free)} is free"
    if free >= fetched + size:
        return line
    if free >= size:
        return f"{line}: enough with --low-disk, which drops each fetched file when it is merged"
    return f"{line}, {readable_bytes(size - free)} too little"


def memory_needed(originals: Originals) -> int:
    """Bytes of memory that writing takes: pieces in all their stages, whatever the size of the model."""
    packed = max((stored.values for stored in originals.weights.values() if stored.packed), default=0)
    return _PIECES_AT_ONCE * PIECE_BYTES + 8 * packed


def require_room(originals: Originals, out: Path, size: int, finished: int) -> None:
    """Refuse a merge that disk, memory or permissions do not allow.

    Args:
        originals: the base.
        out: the folder to be.
        size: bytes of the files to write.
        finished: bytes of them that an earlier run left.

    Raises:
        LoraError: with what is needed and what there is.
    """
    import psutil

    place = out.expanduser().resolve().parent
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise LoraError(f"Permission is missing to write in {place}.", "Choose a folder that you may write to.")
    fetched = 0
    if originals.shelf is not None:
        sizes: dict[Path, int] = {}
        for stored in originals.weights.values():
            sizes[stored.file] = sizes.get(stored.file, 0) + stored.values * ITEM_BYTES[stored.dtype]
        fetched = max(sizes.values(), default=0)
    require_space(out, size - finished + fetched + COMPANION_BYTES, "The merged model")
    needed, available = memory_needed(originals), int(psutil.virtual_memory().available)
    if needed > available:
        raise LoraError(
            f"Merging needs {readable_bytes(needed)} of memory and {readable_bytes(available)} is free.",
            "Restart the kernel, then merge by the adapter's folder without loading the base.",
        )
