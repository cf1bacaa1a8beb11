"""A file written in blocks past the system's cache, through it, and on a disk that changes its mind."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_magic.merging import sink

KINDS = {torch.uint8: 1, torch.bfloat16: 2, torch.float32: 4, torch.int64: 8}

Write = Callable[[BinaryIO, memoryview], int]


def refused(stream: BinaryIO, wanted: bool) -> bool:
    """A disk that cannot be written past the cache."""
    return False


def few_at_once(stream: BinaryIO, values: memoryview) -> int:
    """A system that takes fewer bytes than it is given, pages and halves of them."""
    return stream.write(values[: min(len(values), 6_144)])


def unwilling(stream: BinaryIO, values: memoryview) -> int:
    """A disk that lets a file be opened to be written past the cache, and refuses the first write."""
    import fcntl

    if fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_DIRECT:
        raise OSError(errno.EINVAL, "not like this")
    return stream.write(values)


WAYS: dict[str, tuple[str, object]] = {
    "as it is": ("BLOCK_BYTES", 8_192),
    "through the cache": ("_past_the_cache", refused),
    "few bytes at once": ("write", few_at_once),
    "refused at the first write": ("write", unwilling),
}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.integers(0, 1_300),
    parts=st.lists(st.tuples(st.integers(0, 9_000), st.sampled_from(list(KINDS))), max_size=5),
    synced=st.sampled_from([1, 10_000, 2**26]),
)
def test_file_is_what_was_put(
    tmp_path_factory: pytest.TempPathFactory,
    way: str,
    head: int,
    parts: list[tuple[int, torch.dtype]],
    synced: int,
) -> None:
    name, replacement = WAYS[way]
    if way == "refused at the first write" and not hasattr(os, "O_DIRECT"):
        pytest.skip("this system writes nothing past its cache")
    path = tmp_path_factory.mktemp("sink") / "file"
    wanted = bytes(number % 249 for number in range(8 * head))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sink, "BLOCK_BYTES", 8_192)
        patched.setattr(sink, "_SYNC_BYTES", synced)
        patched.setattr(sink, name, replacement)
        with sink.Sink(path) as opened:
            opened.put(wanted)
            for count, dtype in sorted(parts, key=lambda part: -KINDS[part[1]]):
                values = torch.arange(count, dtype=torch.float64).remainder(251).to(dtype)
                for start, room in opened.rooms(count, dtype):
                    room.copy_(values[start : start + len(room)])
                wanted += bytes(values.view(torch.uint8).numpy()) if count else b""
    assert path.read_bytes() == wanted


@pytest.mark.parametrize("limit", [0, 40_000, 99_999])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, limit: int) -> None:
    """What the writing thread meets is raised where the values are put, also when it was the very last write."""
    written = 0

    def full(stream: BinaryIO, values: memoryview) -> int:
        nonlocal written
        if written + len(values) > limit:
            raise OSError(number, "no more")
        written += len(values)
        return stream.write(values)

    monkeypatch.setattr(sink, "BLOCK_BYTES", 4_096)
    monkeypatch.setattr(sink, "write", full)
    with pytest.raises(OSError, match="no more") as caught, sink.Sink(tmp_path / "file") as opened:
        opened.put(bytes(100_000))
    assert caught.value.errno == number


def test_an_interrupt_lets_go_of_the_file(tmp_path: Path) -> None:
    opened = sink.Sink(tmp_path / "file")
    with pytest.raises(KeyboardInterrupt), opened:
        opened.put(b"some")
        raise KeyboardInterrupt
    assert (tmp_path / "file").read_bytes() == b""
    with pytest.raises(RuntimeError, match="shutdown"):
        opened.put(bytes(sink.BLOCK_BYTES))
