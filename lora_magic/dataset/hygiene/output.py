"""Where a cleaned copy may go, and how it gets there whole: two files, line by line, renamed at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatch
from glob import has_magic, iglob
from pathlib import Path
from typing import Any, BinaryIO

from lora_magic.errors import LoraError
from lora_magic.files import disk_errors

_SUFFIXES = (".jsonl", ".ndjson")


def changes_path(out: Path) -> Path:
    """Where the record of a copy's changes goes: `STEM.changes.jsonl` beside it."""
    return out.with_name(f"{out.stem}.changes.jsonl")


def refuse_targets(out: Path, overwrite: bool, source: Path | None) -> None:
    """Refuses a place that a cleaned copy must not or cannot take.

    Args:
        out: the copy to be; its record goes beside it.
        overwrite: whether a copy and a record that are there may be replaced.
        source: the file, folder or pattern that the rows come from, or None.

    Raises:
        LoraError: `out` is not named as JSON Lines, is (or lies in) the source, is a folder, or is there already.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise LoraError(
            f"The cleaned copy is JSON Lines, and {out.name} is not called so.", f"Call it {out.stem}.jsonl."
        )
    for target in (out, changes_path(out)):
        with disk_errors(target):
            if source is not None and _is_source(target, source.expanduser()):
                problem = f"{target} is, or lies in, the source itself, which is never written to."
                raise LoraError(problem, "Choose another name, outside the source.")
            if target.is_dir():
                raise LoraError(f"{target} is a folder.", "Choose another name.")
            if not overwrite and (target.exists() or target.is_symlink()):
                raise LoraError(f"{target} is there already.", "Choose another name, or replace it: --overwrite.")


def _is_source(target: Path, source: Path) -> bool:
    """Whether writing `target` would change what `source` (a file, a folder or a pattern) reads."""
    real = target.resolve()
    if has_magic(str(source)) and not source.exists():
        patterns = (str(source.absolute()), str(source.absolute()).replace("**/", ""))
        matches = any(fnmatch(str(path), pattern) for path in (real, target.absolute()) for pattern in patterns)
        return matches or any(_same_file(real, Path(path)) for path in iglob(str(source), recursive=True))  # noqa: PTH207
    there = source.resolve()
    if there.is_dir():
        return there in real.parents or any(_same_file(real, path) for path in there.rglob("*") if path.is_file())
    return real == there or _same_file(real, there)


def _same_file(one: Path, other: Path) -> bool:
    """The same file under two names: a link, a hard link, another case on a disk that does not tell cases apart."""
    try:
        return one.samefile(other)
    except OSError:
        return False


class Lines:
    """A file of JSON Lines that is being written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, value: Mapping[str, Any]) -> None:
        """Adds one line; halves of surrogate pairs, which are not UTF-8, are written as JSON's escapes."""
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        try:
            data = text.encode()
        except UnicodeEncodeError:
            data = json.dumps(value, allow_nan=False).encode()
        self._stream.write(data + b"\n")


@contextmanager
def both(out: Path, changes: Path) -> Iterator[tuple[Lines, Lines]]:
    """Writes a copy and its record: both whole at the end of the block, or neither touched when it raises.

    The record is put in place first, so that a copy never lies there without it.

    Raises:
        LoraError: the disk refuses.
    """
    targets = [changes.resolve(), out.resolve()]
    partials = [target.with_name(f".{target.name}.partial-{os.getpid()}") for target in targets]
    with disk_errors(out):
        try:
            out.resolve().parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                streams = [stack.enter_context(partial.open("wb")) for partial in partials]
                yield Lines(streams[1]), Lines(streams[0])
                for stream in streams:
                    stream.flush()
                    os.fsync(stream.fileno())
            for partial, target in zip(partials, targets, strict=True):
                partial.replace(target)
        except BaseException:
            for partial in partials:
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
            raise
