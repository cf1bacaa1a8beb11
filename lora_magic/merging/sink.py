"""A file that is written by a thread of its own, past the system's cache where the disk allows it.

Values are put straight into the memory that goes to the disk. Written past the cache, a gigabyte costs next to no
processor time and takes the place of nothing that is read; through it, both are many times as much.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import torch

BLOCK_BYTES = 4 * 2**20
"""What is written at once; a multiple of `_PAGE`."""

_PAGE = 4096
_BLOCKS = 4
_SYNC_BYTES = 64 * 2**20


def write(stream: BinaryIO, values: memoryview) -> int:
    """Write some of `values` and return how many bytes; every value and header of a merged model passes here."""
    return stream.write(values)


class Sink:
    """A file to be filled from its start to its end.

    Args:
        path: what lies there is replaced.

    Raises:
        OSError: the disk refuses, also at a later call or when the block ends.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb", buffering=0)
        self._direct = _past_the_cache(self._stream, True)
        self._pool = ThreadPoolExecutor(1, "writing")
        self._blocks = [_aligned(BLOCK_BYTES) for _ in range(_BLOCKS)]
        self._written: list[Future[None] | None] = [None] * _BLOCKS
        self._current, self._filled, self._unsynced = 0, 0, 0

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Have all of it on the disk, unless the block raised."""
        try:
            if kind is None:
                self._hand_over()
                for waiting in self._written:
                    if waiting is not None:
                        waiting.result()
                os.fsync(self._stream.fileno())
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._stream.close()

    def put(self, values: bytes) -> None:
        """Write `values` next."""
        import torch

        for start, room in self.rooms(len(values), torch.uint8):
            room.numpy()[:] = memoryview(values)[start : start + len(room)]

    def rooms(self, count: int, dtype: torch.dtype) -> Iterator[tuple[int, torch.Tensor]]:
        """Memory for the next `count` values of the file, to be filled before the next stretch is asked for.

        Args:
            count: how many; what was put before must end at a multiple of a value's size.
            dtype: of the values.

        Yields:
            (how many values the stretches before hold, a stretch).
        """
        done = 0
        while done < count:
            free = self._blocks[self._current][self._filled :]
            taken = min(count - done, len(free) // dtype.itemsize)
            yield done, free[: taken * dtype.itemsize].view(dtype)
            done += taken
            self._filled += taken * dtype.itemsize
            if self._filled == BLOCK_BYTES:
                self._hand_over()

    def _hand_over(self) -> None:
        """Have what is filled of the current block written, and wait until the next block is free."""
        values: Any = self._blocks[self._current][: self._filled].numpy()
        self._written[self._current] = self._pool.submit(self._write, memoryview(values))
        self._current, self._filled = (self._current + 1) % _BLOCKS, 0
        waiting = self._written[self._current]
        if waiting is not None:
            waiting.result()

    def _write(self, values: memoryview) -> None:
        if self._direct and len(values) % _PAGE:
            whole = len(values) - len(values) % _PAGE
            self._write(values[:whole])
            values = values[whole:]
            self._direct = _past_the_cache(self._stream, False)
        done = 0
        while done < len(values):
            try:
                done += write(self._stream, values[done:])
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._direct = _past_the_cache(self._stream, False)
        if not self._direct:
            self._settle(len(values))

    def _settle(self, count: int) -> None:
        """Have what was written through the cache reach the disk in time, and its memory back, to be used again."""
        self._unsynced += count
        if self._unsynced >= _SYNC_BYTES:
            self._unsynced = 0
            os.fsync(self._stream.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _aligned(count: int) -> torch.Tensor:
    """Memory that begins at a page, as writing past the cache asks for."""
    import torch

    memory = torch.empty(count + _PAGE, dtype=torch.uint8)
    start = -memory.data_ptr() % _PAGE
    return memory[start : start + count]


def _past_the_cache(stream: BinaryIO, wanted: bool) -> bool:
    """Switch writing past the cache on or off: whether it is on now, which not every disk and system allows."""
    if not hasattr(os, "O_DIRECT"):
        return False
    import fcntl

    flags = fcntl.fcntl(stream.fileno(), fcntl.F_GETFL)
    try:
        fcntl.fcntl(stream.fileno(), fcntl.F_SETFL, flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT)
    except OSError:
        if not wanted:
            raise
        return False
    return wanted
