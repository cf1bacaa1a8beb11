"""Writing safetensors shards tensor by tensor.

The format (https://huggingface.co/docs/safetensors): 8 bytes with the header's length, little-endian; the
header, a JSON object of dtype, shape and byte range by tensor name; the values. All of the header is known
from shapes and dtypes, so no value has to be held for it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lora_magic.errors import LoraError
from lora_magic.merging.originals import INDEX, SINGLE
from lora_magic.merging.tensors import CODES, FLOATING, ITEM_BYTES, listing
from lora_magic.merging.updates import Output

if TYPE_CHECKING:
    import torch

_ALIGNMENT = 8


@dataclass(frozen=True)
class Entry:
    """A tensor as it will be written.

    Attributes:
        output: what it is.
        dtype: safetensors' name of its dtype in the file.
        bytes: of its values.
    """

    output: Output
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Shard:
    """One file: its name and its tensors in order."""

    file: str
    entries: tuple[Entry, ...]


def layout(outputs: Sequence[Output], dtype: str, shard_size: int) -> tuple[Shard, ...]:
    """Divide the merged model into files.

    Wider dtypes come first, so that every tensor starts at a multiple of its item size.

    Args:
        outputs: the merged model's tensors.
        dtype: torch's name of what floating tensors are written in; others keep theirs.
        shard_size: bytes of values that a file holds at most; a larger single tensor has a file of its own.
    """
    entries = []
    for output in outputs:
        code = CODES[dtype] if output.source.dtype in FLOATING else output.source.dtype
        entries.append(Entry(output, code, output.source.values * ITEM_BYTES[code]))
    entries.sort(key=lambda entry: -ITEM_BYTES[entry.dtype])
    groups: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        if groups[-1] and size + entry.bytes > shard_size:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += entry.bytes
    if len(groups) == 1:
        return (Shard(SINGLE, tuple(groups[0])),)
    names = (f"model-{number:05d}-of-{len(groups):05d}.safetensors" for number in range(1, len(groups) + 1))
    return tuple(Shard(name, tuple(group)) for name, group in zip(names, groups, strict=True))


def header(shard: Shard) -> bytes:
    """The bytes that come before the values of `shard`."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for entry in shard.entries:
        table[entry.output.name] = {
            "dtype": entry.dtype,
            "shape": list(entry.output.source.shape),
            "data_offsets": [start, start + entry.bytes],
        }
        start += entry.bytes
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def total_bytes(shards: Sequence[Shard]) -> int:
    """Size of all the files together."""
    return sum(len(header(shard)) + sum(entry.bytes for entry in shard.entries) for shard in shards)


def _extent(tensor: torch.Tensor) -> float:
    """The largest absolute value of a floating tensor, without a copy of it; NaN when it holds one."""
    import torch

    if not tensor.numel():
        return 0.0
    return float(torch.stack(torch.aminmax(tensor)).abs().max())


def rounded(tensor: torch.Tensor, name: str, dtype: str) -> torch.Tensor:
    """`tensor` in the dtype that it is written in.

    Args:
        tensor: of any dtype; what is not floating comes back as it is.
        name: for the message.
        dtype: torch's name of the target dtype.

    Raises:
        LoraError: a finite value becomes infinite.
    """
    import torch

    if not tensor.is_floating_point():
        return tensor
    target = tensor.to(getattr(torch, dtype))
    limit = torch.finfo(target.dtype).max
    suspect = limit < torch.finfo(tensor.dtype).max and not _extent(tensor) <= limit
    if suspect and bool((torch.isinf(target) & torch.isfinite(tensor)).any()):
        peak = tensor[torch.isfinite(tensor)].abs().max().item()
        wider = "bfloat16" if dtype == "float16" else "float32"
        raise LoraError(
            f"{name} holds {peak:.4g}, which overflows {dtype} (at most {limit:.4g}).",
            f"Write another dtype: --dtype {wider}.",
        )
    return target


def _write_tensor(stream: BinaryIO, tensor: torch.Tensor) -> None:
    import torch

    flat = tensor.contiguous().reshape(-1)
    if flat.numel():
        values: Any = flat.view(torch.uint8).numpy()
        stream.write(memoryview(values))


def write_shards(
    folder: Path,
    shards: Sequence[Shard],
    tensors: Iterator[tuple[Output, torch.Tensor]],
    dtype: str,
    report: Callable[[float, str], None],
) -> int:
    """Write the files, and the index where there are several.

    Args:
        folder: to write into.
        shards: the layout; `tensors` come in its order.
        tensors: the values, made as they are asked for.
        dtype: torch's name of what floating tensors are written in.
        report: called after each tensor with the share of bytes written and the tensor's name.

    Returns:
        Bytes of the safetensors files.

    Raises:
        LoraError: a value overflows `dtype`, a changed weight is not finite, or a file does not read back.
    """
    total = max(1, sum(entry.bytes for shard in shards for entry in shard.entries))
    done = 0
    for shard in shards:
        with (folder / shard.file).open("wb") as stream:
            stream.write(header(shard))
            for entry in shard.entries:
                output, tensor = next(tensors)
                _write_tensor(stream, rounded(_finite(output, tensor), output.name, dtype))
                del tensor
                done += entry.bytes
                report(done / total, output.name)
            stream.flush()
            os.fsync(stream.fileno())
        check_shard(folder, shard)
    if len(shards) > 1:
        _write_index(folder, shards, total)
    return sum((folder / shard.file).stat().st_size for shard in shards)


def _finite(output: Output, tensor: torch.Tensor) -> torch.Tensor:
    if output.update is not None and not math.isfinite(_extent(tensor)):
        raise LoraError(
            f"Merging makes NaN or infinity in {output.name}.",
            "The adapter or the base is broken there; use an earlier checkpoint.",
        )
    return tensor


def _write_index(folder: Path, shards: Sequence[Shard], total: int) -> None:
    places = {entry.output.name: shard.file for shard in shards for entry in shard.entries}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def check_shard(folder: Path, shard: Shard) -> None:
    """Read a written file back through safetensors and hold its tensors against the layout.

    Raises:
        LoraError: a name, shape or dtype differs, or the file is cut short.
    """
    found = {name: (stored.shape, stored.dtype) for name, stored in listing(folder / shard.file).items()}
    wanted = {entry.output.name: (entry.output.source.shape, entry.dtype) for entry in shard.entries}
    if found != wanted:
        raise LoraError(f"{shard.file} reads back differently than it was written.", "Check the disk and merge again.")
