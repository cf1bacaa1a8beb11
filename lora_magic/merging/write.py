"""Writing safetensors files as their tensors are made.

All of a file's header is known from shapes and dtypes, so no value has to be held for it. A file has its name only
when all of it is on the disk; one that has its name already is left alone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lora_magic.errors import LoraError
from lora_magic.merging.nf4 import part_shapes, quantised
from lora_magic.merging.originals import INDEX, SINGLE
from lora_magic.merging.stream import Maker, Piece
from lora_magic.merging.tensors import CODES, FLOATING, ITEM_BYTES, Rooms, listing
from lora_magic.merging.updates import Output

if TYPE_CHECKING:
    import torch

_ALIGNMENT = 8
_PENDING = 2
_SYNC_BYTES = 64 * 2**20
_UNFINISHED = ".part"


@dataclass(frozen=True)
class Entry:
    """A tensor as it will be written.

    Attributes:
        output: what it is, or what it is a part of.
        name: its key in the file.
        dtype: safetensors' name of its dtype in the file.
        shape: its size along each dimension.
        part: which part of a packed weight it is; None for a weight that is written as it is.
    """

    output: Output
    name: str
    dtype: str
    shape: tuple[int, ...]
    part: str | None = None

    @property
    def bytes(self) -> int:
        """Of its values."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Shard:
    """One file: its name and its tensors in order, the parts of a packed weight together."""

    file: str
    entries: tuple[Entry, ...]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the file holds, each once."""
        return tuple(dict.fromkeys(entry.output for entry in self.entries))


def layout(
    outputs: Sequence[Output], dtype: str, shard_size: int, packed: frozenset[str] = frozenset()
) -> tuple[Shard, ...]:
    """Divide the merged model into files, in the order of the originals where alignment allows it.

    Args:
        outputs: the merged model's tensors.
        dtype: torch's name of what floating tensors are written in; others keep theirs.
        shard_size: bytes of values that a file holds at most; a larger single tensor has a file of its own.
        packed: names of the outputs that are written in 4 bits.
    """
    entries = [_entries(output, dtype, output.name in packed) for output in outputs]
    if any(sum(entry.bytes for entry in group) % _ALIGNMENT for group in entries):
        entries.sort(key=lambda group: -max(ITEM_BYTES[entry.dtype] for entry in group))
    groups: list[list[Entry]] = [[]]
    size = 0
    for group in entries:
        added = sum(entry.bytes for entry in group)
        if groups[-1] and size + added > shard_size:
            groups.append([])
            size = 0
        groups[-1] += group
        size += added
    if len(groups) == 1:
        return (Shard(SINGLE, tuple(groups[0])),)
    names = (f"model-{number:05d}-of-{len(groups):05d}.safetensors" for number in range(1, len(groups) + 1))
    return tuple(Shard(name, tuple(group)) for name, group in zip(names, groups, strict=True))


def _entries(output: Output, dtype: str, packed: bool) -> list[Entry]:
    source = output.source
    if not packed:
        code = CODES[dtype] if source.dtype in FLOATING else source.dtype
        return [Entry(output, output.name, code, source.shape)]
    return [
        Entry(output, f"{output.name}.{part}" if part else output.name, code, shape, part)
        for part, (code, shape) in part_shapes(source.values).items()
    ]


def header(shard: Shard) -> bytes:
    """The bytes that come before the values of `shard`."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for entry in shard.entries:
        end = start + entry.bytes
        table[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def total_bytes(shards: Sequence[Shard]) -> int:
    """Size of all the files together."""
    return sum(len(header(shard)) + sum(entry.bytes for entry in shard.entries) for shard in shards)


def _finite(tensor: torch.Tensor) -> bool:
    """In one quick pass: the extremes are NaN or infinite where any value is."""
    import torch

    return not tensor.numel() or bool(torch.stack(torch.aminmax(tensor)).isfinite().all())


def rounded(
    tensor: torch.Tensor, name: str, dtype: str, changed: bool = False, rooms: Rooms | None = None
) -> torch.Tensor:
    """`tensor` in the dtype that it is written in.

    Args:
        tensor: of any dtype; what is not floating comes back as it is.
        name: for the message.
        dtype: torch's name of the target dtype.
        changed: by the merge, which must leave numbers.
        rooms: memory for changed values on the CPU; fresh memory by default.

    Raises:
        LoraError: a finite value becomes infinite, or a changed one is none.
    """
    import torch

    if not tensor.is_floating_point():
        return tensor
    wanted = getattr(torch, dtype)
    if changed and rooms is not None and tensor.device.type == "cpu":
        target = rooms.take(tensor.shape, wanted).copy_(tensor)
    else:
        target = tensor.to(wanted, copy=changed)
    if (target.dtype == tensor.dtype and not changed) or _finite(target):
        return target
    finite = torch.isfinite(tensor)
    if bool((torch.isinf(target) & finite).any()):
        peak, limit = tensor[finite].abs().max().item(), torch.finfo(target.dtype).max
        wider = "bfloat16" if dtype == "float16" else "float32"
        raise LoraError(
            f"{name} holds {peak:.4g}, which overflows {dtype} (at most {limit:.4g}).",
            f"Write another dtype: --dtype {wider}.",
        )
    if changed and not bool(finite.all()):
        raise LoraError(
            f"Merging makes NaN or infinity in {name}.", "The adapter or the base is broken there; use an earlier one."
        )
    return target


def write(stream: BinaryIO, values: bytes | memoryview) -> None:
    """Write all of `values`; every value and header of a merged model passes here."""
    stream.write(values)


class _Sink:
    """A file that is written and synced by threads of its own, while the next values are made."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb", buffering=0)
        self._pool, self._syncing = ThreadPoolExecutor(1, "writing"), ThreadPoolExecutor(1, "syncing")
        self._waiting: list[Future[None]] = []
        self._unsynced = 0

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._drain(0)
                os.fsync(self._stream.fileno())
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._syncing.shutdown(wait=True, cancel_futures=True)
            self._stream.close()

    def put(self, values: bytes | memoryview) -> None:
        """Have `values` written after those before; waits when too many are."""
        self._waiting.append(self._pool.submit(self._write, values))
        self._drain(_PENDING)

    def _drain(self, most: int) -> None:
        while len(self._waiting) > most:
            self._waiting.pop(0).result()

    def _write(self, values: bytes | memoryview) -> None:
        write(self._stream, values)
        self._unsynced += len(values)
        if self._unsynced >= _SYNC_BYTES:
            self._unsynced = 0
            self._syncing.submit(self._settle)

    def _settle(self) -> None:
        """Have what was written reach the disk, and its memory back: pages that are used again cost far less."""
        handle = self._stream.fileno()
        os.fsync(handle)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    import torch

    flat = tensor.contiguous().reshape(-1).cpu()
    values: Any = flat.view(torch.uint8).numpy()
    return memoryview(values) if flat.numel() else memoryview(b"")


def write_shards(
    folder: Path, shards: Sequence[Shard], maker: Maker, dtype: str, report: Callable[[float, str], None]
) -> int:
    """Write the files that are not there yet, and the index where there are several.

    Args:
        folder: to write into; files of the layout's names in it are taken for finished.
        shards: the layout.
        maker: makes the values.
        dtype: torch's name of what floating tensors are written in.
        report: called after each piece with the share of bytes written and the tensor's name.

    Returns:
        Bytes of the safetensors files.

    Raises:
        LoraError: a value overflows `dtype`, a changed weight is not finite, or a file does not read back.
    """
    total = max(1, sum(entry.bytes for shard in shards for entry in shard.entries))
    done = 0
    for shard in shards:
        size = sum(entry.bytes for entry in shard.entries)
        if not (folder / shard.file).exists():
            unfinished = folder / f"{shard.file}{_UNFINISHED}"
            with _Sink(unfinished) as sink:
                sink.put(header(shard))
                written = 0
                for values, name in _made(shard, maker, dtype):
                    sink.put(values)
                    written += len(values)
                    report((done + written) / total, name)
            unfinished.rename(folder / shard.file)
        check_shard(folder, shard)
        done += size
    if len(shards) > 1:
        _write_index(folder, shards, total)
    return sum((folder / shard.file).stat().st_size for shard in shards)


def _made(shard: Shard, maker: Maker, dtype: str) -> Iterator[tuple[memoryview, str]]:
    """The bytes of a file's values in order, each stretch with its tensor's name."""
    parts = {entry.output.name: entry.part is not None for entry in shard.entries}
    pieces, rooms = maker.pieces(shard.outputs), Rooms(_PENDING + 2)
    for name, group in groupby(pieces, key=lambda piece: piece.output.name):
        if not parts[name]:
            for piece in group:
                yield _bytes_of(_checked(piece, dtype, rooms)), name
        else:
            yield from ((_bytes_of(part), name) for part in _packed(group, dtype).values())


def _packed(group: Iterable[Piece], dtype: str) -> dict[str, torch.Tensor]:
    import torch

    return quantised(torch.cat([_checked(piece, dtype) for piece in group]))


def _checked(piece: Piece, dtype: str, rooms: Rooms | None = None) -> torch.Tensor:
    return rounded(piece.values, piece.output.name, dtype, piece.output.update is not None, rooms)


def _write_index(folder: Path, shards: Sequence[Shard], total: int) -> None:
    places = {entry.name: shard.file for shard in shards for entry in shard.entries}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def check_shard(folder: Path, shard: Shard) -> None:
    """Hold a written file's header and length against the layout.

    Raises:
        LoraError: a name, shape or dtype differs, or the file is cut short.
    """
    found = {name: (stored.shape, stored.dtype) for name, stored in listing(folder / shard.file).items()}
    wanted = {entry.name: (entry.shape, entry.dtype) for entry in shard.entries}
    if found != wanted:
        raise LoraError(f"{shard.file} reads back differently than it was written.", "Check the disk and merge again.")
