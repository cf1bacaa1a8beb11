"""Reading safetensors files: what is in them, and one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

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


@dataclass(frozen=True)
class Stored:
    """A tensor on disk.

    Attributes:
        name: its key in the file.
        file: the safetensors file.
        shape: its size along each dimension.
        dtype: safetensors' name, such as "BF16".
    """

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def values(self) -> int:
        """How many values it holds."""
        return prod(self.shape)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file, memory-mapped.

    Raises:
        LoraError: it is missing, unreadable, cut short or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    damaged = LoraError(f"{file} is cut short or damaged.", "Download or save it again.")
    try:
        handle = safe_open(file, framework="pt")
    except SafetensorError as error:
        raise damaged from error
    except OSError as error:
        raise LoraError(f"{file} cannot be read ({error.strerror or error}).", "Check the file.") from error
    with handle as stream:
        yield stream


def listing(file: Path) -> dict[str, Stored]:
    """Every tensor of `file` in the file's order, without reading its values.

    Raises:
        LoraError: the file is damaged, or holds a dtype that a merge does not take (float8, packed 4-bit).
    """
    found = {}
    with opened(file) as stream:
        for name in stream.keys():  # noqa: SIM118 (safetensors' handle is not a mapping)
            part = stream.get_slice(name)
            found[name] = Stored(name, file, tuple(part.get_shape()), str(part.get_dtype()))
    for stored in found.values():
        if stored.dtype not in ITEM_BYTES:
            raise LoraError(
                f"{stored.name} in {file.name} has dtype {stored.dtype}, which cannot be merged into.",
                "Name the 16-bit original of this model.",
            )
    return found


class Reader:
    """Reads stored tensors one at a time, keeping the file of the last one open."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._file: Path | None = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, stored: Stored) -> torch.Tensor:
        """The values of `stored`, in its own shape and dtype, on the CPU."""
        if stored.file != self._file:
            self._stack.close()
            self._stream, self._file = self._stack.enter_context(opened(stored.file)), stored.file
        tensor: torch.Tensor = self._stream.get_tensor(stored.name)
        return tensor
