"""Rows of tokens in a few flat arrays, on disk where they are many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, overload

from lora_magic.dataset.collate import MASKED
from lora_magic.errors import LoraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPILL_BYTES = 16 << 20
"""A flat array larger than this lies in a temporary file that is mapped into memory."""

_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row for training.

    Attributes:
        input_ids: its tokens.
        labels: as long: the token where it is trained on, -100 where it is not.
    """

    input_ids: list[int]
    labels: list[int]


class FlatRows(Sequence[Row]):
    """Rows of tokens, each made when it is asked for.

    Args:
        tokens: all rows' tokens, one row after the other; int32.
        trained: as long: whether a token is trained on; bool.
        offsets: where each row starts, and where the last one ends; int64, one more than there are rows.
    """

    def __init__(self, tokens: NDArray[np.int32], trained: NDArray[np.bool_], offsets: NDArray[np.int64]) -> None:
        self.tokens, self.trained, self.offsets = tokens, trained, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """A row, or a list of them."""
        if isinstance(index, slice):
            return [self._row(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._row(index % len(self))

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self):,} rows, {len(self.tokens):,} tokens>"

    def _row(self, index: int) -> Row:
        import numpy as np

        place = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        tokens = self.tokens[place]
        return Row(tokens.tolist(), np.where(self.trained[place], tokens, MASKED).tolist())

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        import numpy as np

        return np.diff(self.offsets)

    def labels(self) -> NDArray[np.int32]:
        """The labels of all rows, one row after the other, as `tokens` has the tokens."""
        import numpy as np

        flat = Flat("int32")
        for start in range(0, len(self.tokens), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            flat.add(np.where(self.trained[part], self.tokens[part], np.int32(MASKED)))
        return flat.array()


class Flat:
    """A growing array of numbers that moves to a temporary file above `SPILL_BYTES`.

    Args:
        dtype: numpy's name of what it holds.
    """

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._parts: list[NDArray[Any]] = []
        self._waiting = 0
        self._file: IO[bytes] | None = None

    def add(self, values: NDArray[Any]) -> None:
        """Appends values; they are not copied, so leave them as they are.

        Raises:
            LoraError: the disk with the temporary files is full.
        """
        self._parts.append(values)
        self._waiting += values.nbytes
        if self._waiting > SPILL_BYTES:
            self._spill()

    def array(self) -> NDArray[Any]:
        """All that was added, read-only where it lies in a file."""
        import numpy as np

        if self._file is None:
            return np.concatenate(self._parts) if self._parts else np.zeros(0, self._dtype)
        self._spill()
        with self._file:
            return np.memmap(self._file, dtype=self._dtype, mode="r")

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="lora_magic-")  # noqa: SIM115  lives as long as the rows
            for part in self._parts:
                self._file.write(part.tobytes())
            self._file.flush()
        except OSError as error:
            raise LoraError(
                f"The tokens do not fit into {tempfile.gettempdir()} ({error.strerror}).",
                "Free some space there, or set TMPDIR to a folder that has room.",
            ) from None
        self._parts, self._waiting = [], 0
