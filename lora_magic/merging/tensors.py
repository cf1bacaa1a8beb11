"""Reading safetensors files: what is in them, and rows of one tensor at a time.

The format (https://huggingface.co/docs/safetensors): 8 bytes with the header's length, little-endian; the
header, a JSON object of dtype, shape and byte range by tensor name; the values. Rows are read with plain reads
rather than through a memory map, so that what is held is what was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from lora_magic.errors import LoraError

if TYPE_CHECKING:
    import torch

ITEM_BYTES: Mapping[str, int] = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of one value by safetensors' name of its dtype."""

FLOATING: Mapping[str, str] = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""torch's name of each floating dtype that a merge takes."""

CODES: Mapping[str, str] = {name: code for code, name in FLOATING.items()}
"""safetensors' name by torch's name."""

LARGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""

_TORCH: Mapping[str, str] = {
    **FLOATING, "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "U16": "uint16",
    "U32": "uint32", "U64": "uint64", "BOOL": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A tensor on disk.

    Attributes:
        name: its key in the file.
        file: the safetensors file.
        shape: its size along each dimension.
        dtype: safetensors' name, such as "BF16".
        start: where in the file its values begin, in bytes.
        packed: for a weight in bitsandbytes' 4-bit format, the tensors that hold it, by the last part of their
            names; `shape` and `dtype` are then those of the weight that was packed.
    """

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: str
    start: int = 0
    packed: Mapping[str, Stored] = field(default_factory=dict, compare=False)

    @property
    def values(self) -> int:
        """How many values it holds."""
        return prod(self.shape)

    @property
    def rows(self) -> int:
        """Its size along the first dimension; 1 for a single value."""
        return self.shape[0] if self.shape else 1


def damaged(file: Path) -> LoraError:
    """What is said of a file that ends early or whose header is none."""
    return LoraError(f"{file} is cut short or damaged.", "Download or save it again.")


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file and where the values begin.

    Raises:
        LoraError: it is missing, unreadable, or no safetensors file.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            text = stream.read(length) if 0 < length <= LARGEST_HEADER else b""
    except OSError as error:
        raise LoraError(f"{file} cannot be read ({error.strerror or error}).", "Check the file.") from error
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(file) from error
    if len(text) != length or not isinstance(header, dict):
        raise damaged(file)
    return header, 8 + length


def listing(file: Path) -> dict[str, Stored]:
    """Every tensor of `file` in the order of its values, without reading them.

    Raises:
        LoraError: the file is damaged, or holds a dtype that a merge does not take (float8, say).
    """
    header, begin = read_header(file)
    found = listed(file, header, begin)
    size = file.stat().st_size
    if max((s.start + s.values * ITEM_BYTES[s.dtype] for s in found.values()), default=begin) != size:
        raise damaged(file)
    return found


def listed(file: Path, header: Mapping[str, Any], begin: int) -> dict[str, Stored]:
    """The tensors that a header names, in the order of their values.

    Args:
        file: where they are, or will be.
        header: as read.
        begin: where the values begin, in bytes.

    Raises:
        LoraError: the header contradicts itself, or names a dtype that a merge does not take.
    """
    found = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            start, end = (int(offset) for offset in entry["data_offsets"])
            shape, dtype = tuple(int(size) for size in entry["shape"]), str(entry["dtype"])
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(file) from error
        if dtype not in ITEM_BYTES:
            raise LoraError(
                f"{name} in {file.name} has dtype {dtype}, which cannot be merged into.",
                "Name the 16-bit original of this model.",
            )
        if start < 0 or min(shape, default=0) < 0 or end - start != prod(shape) * ITEM_BYTES[dtype]:
            raise damaged(file)
        found.append(Stored(name, file, shape, dtype, begin + start))
    return {stored.name: stored for stored in sorted(found, key=lambda stored: stored.start)}


class Rooms:
    """Memory that is used again and again: asking for fresh memory costs more than the arithmetic on it.

    Args:
        count: how many tensors are in use at once.
        device: torch's name of where they lie.
    """

    def __init__(self, count: int, device: str = "cpu") -> None:
        self._held: list[torch.Tensor | None] = [None] * count
        self._device, self._next = device, 0

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """An empty tensor, in the memory of the one that was taken `count` times ago."""
        import torch

        needed = prod(shape) * dtype.itemsize
        room = self._held[self._next]
        if room is None or len(room) < needed:
            room = torch.empty(needed, dtype=torch.uint8, device=self._device)
            self._held[self._next] = room
        self._next = (self._next + 1) % len(self._held)
        return room[:needed].view(dtype).view(tuple(shape))


class Reader:
    """Reads rows of stored tensors, keeping the file of the last one open."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the open file."""
        if self._stream is not None:
            self._stream.close()
        self._file = self._stream = None

    def read(self, stored: Stored) -> torch.Tensor:
        """The values of `stored`, in its own shape and dtype, on the CPU; of a packed weight in float32.

        Raises:
            LoraError: the file ends early or cannot be read.
        """
        if stored.packed:
            from lora_magic.merging.nf4 import unpacked

            return unpacked({name: self.read(part) for name, part in stored.packed.items()}, stored)
        return self._values(stored, stored.start, stored.shape)

    def rows(self, stored: Stored, start: int, stop: int, rooms: Rooms | None = None) -> torch.Tensor:
        """Rows `start` to `stop` along the first dimension, as `read` gives them, in memory of `rooms` if given."""
        if stored.packed:
            return self.read(stored)[start:stop]
        if not stored.shape:
            return self.read(stored)
        row = stored.values // max(1, stored.rows) * ITEM_BYTES[stored.dtype]
        return self._values(stored, stored.start + start * row, (stop - start, *stored.shape[1:]), rooms)

    def gather(self, stored: Stored, rows: Sequence[int]) -> torch.Tensor:
        """The given rows along the first dimension, in the given order."""
        import torch

        if stored.packed:
            return self.read(stored)[list(rows)]
        return torch.cat([self.rows(stored, row, row + 1) for row in rows])

    def _values(self, stored: Stored, start: int, shape: tuple[int, ...], rooms: Rooms | None = None) -> torch.Tensor:
        import torch

        dtype = getattr(torch, _TORCH[stored.dtype])
        tensor = torch.empty(shape, dtype=dtype) if rooms is None else rooms.take(shape, dtype)
        if tensor.numel():
            room: Any = tensor.reshape(-1).view(torch.uint8).numpy()
            self._fill(stored.file, start, memoryview(room))
        return tensor

    def _fill(self, file: Path, start: int, room: memoryview) -> None:
        try:
            stream = self._opened(file)
            stream.seek(start)
            done = 0
            while done < len(room):
                count = stream.readinto(room[done:])  # type: ignore[attr-defined]
                if not count:
                    raise damaged(file)
                done += count
        except OSError as error:
            raise LoraError(f"{file} cannot be read ({error.strerror or error}).", "Check the file.") from error

    def _opened(self, file: Path) -> BinaryIO:
        if self._stream is None or file != self._file:
            self.close()
            self._stream, self._file = file.open("rb", buffering=0), file
        return self._stream
