"""Writing safetensors files as their tensors are made.

All of a file's header is known from shapes and dtypes, so no value has to be held for it. A file has its name only
when all of it is on the disk; one that has its name already is left alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from lora_magic.errors import LoraError
from lora_magic.merging.nf4 import part_shapes, quantised
from lora_magic.merging.originals import INDEX, SINGLE
from lora_magic.merging.sink import Sink
from lora_magic.merging.stream import Maker, Piece
from lora_magic.merging.tensors import CODES, FLOATING, ITEM_BYTES, listing
from lora_magic.merging.updates import Output

if TYPE_CHECKING:
    import torch

_ALIGNMENT = 8
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
    tensor: torch.Tensor, name: str, dtype: str, changed: bool = False, room: torch.Tensor | None = None
) -> torch.Tensor:
    """`tensor` in the dtype that it is written in.

    Args:
        tensor: of any dtype; what is not floating keeps its own.
        name: for the message.
        dtype: torch's name of the target dtype.
        changed: by the merge, which must leave numbers.
        room: memory on the CPU of the right shape and dtype to put the values in; by default fresh memory, or
            `tensor` itself where nothing changes.

    Raises:
        LoraError: a finite value becomes infinite, or a changed one is none.
    """
    import torch

    floating = tensor.is_floating_point()
    wanted = getattr(torch, dtype) if floating else tensor.dtype
    straight = room if tensor.device.type == "cpu" else None
    target = straight.copy_(tensor) if straight is not None else tensor.to(wanted)
    if floating and (changed or wanted != tensor.dtype) and not _finite(target):
        _refuse_infinite(tensor, target, name, dtype, changed)
    return target if room is None or room is straight else room.copy_(target)


def _refuse_infinite(tensor: torch.Tensor, target: torch.Tensor, name: str, dtype: str, changed: bool) -> None:
    import torch

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
            with Sink(unfinished) as sink:
                sink.put(header(shard))
                written = 0
                for stretch in _made(shard, maker, dtype):
                    written += _put(sink, stretch)
                    report((done + written) / total, stretch.name)
            unfinished.rename(folder / shard.file)
        check_shard(folder, shard)
        done += size
    if len(shards) > 1:
        _write_index(folder, shards, total)
    return sum((folder / shard.file).stat().st_size for shard in shards)


@dataclass(frozen=True)
class _Stretch:
    """Values of one tensor, its name, torch's name of the dtype to write, and whether the merge changed them."""

    values: torch.Tensor
    name: str
    dtype: str
    changed: bool


def _made(shard: Shard, maker: Maker, dtype: str) -> Iterator[_Stretch]:
    """The values of a file in order."""
    parts = {entry.output.name: entry.part is not None for entry in shard.entries}
    pieces = maker.pieces(shard.outputs)
    for name, group in groupby(pieces, key=lambda piece: piece.output.name):
        if not parts[name]:
            yield from (_Stretch(piece.values, name, dtype, piece.output.update is not None) for piece in group)
        else:
            for part in _packed(group, dtype).values():
                yield _Stretch(part, name, str(part.dtype).removeprefix("torch."), False)


def _packed(group: Iterable[Piece], dtype: str) -> dict[str, torch.Tensor]:
    import torch

    # The clone: what a piece holds is gone when the next one comes.
    rows = [rounded(piece.values.clone(), piece.output.name, dtype, piece.output.update is not None) for piece in group]
    return quantised(torch.cat(rows))


def _put(sink: Sink, stretch: _Stretch) -> int:
    """Write rounded values; how many bytes they took."""
    import torch

    flat = stretch.values.contiguous().reshape(-1)
    wanted = getattr(torch, stretch.dtype) if flat.is_floating_point() else flat.dtype
    for start, room in sink.rooms(len(flat), wanted):
        rounded(flat[start : start + len(room)], stretch.name, stretch.dtype, stretch.changed, room)
    return len(flat) * int(wanted.itemsize)


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
