"""Writing to disk so that what is there is whole: a temporary name, a sync, a rename.

A process killed at any moment leaves the old content or the new one, never a mixture. Two folders change names in
one step where system and disk can do that. Elsewhere it takes two renames: killed between them, the old folder lies
beside its place as `.NAME.old-PID`, and the next one that is written there brings it back first.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lora_magic.errors import LoraError

_counter = itertools.count()

# Of Linux's renameat2(2): the paths are relative to the current folder; the two names are exchanged.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2

_REASONS = {
    errno.ENOSPC: ("no space is left for", "Free some space or choose a folder on another disk."),
    errno.EDQUOT: ("the disk quota is used up for", "Free some space or choose a folder on another disk."),
    errno.EACCES: ("permission is missing for", "Choose a folder that you may write to."),
    errno.EPERM: ("permission is missing for", "Choose a folder that you may write to."),
    errno.EROFS: ("the disk is read-only for", "Choose a folder that you may write to."),
    errno.EFBIG: (
        "this disk or process does not allow files as large as",
        "Write smaller files or use another disk.",
    ),
    errno.ENAMETOOLONG: ("the name is too long for this disk:", "Choose a shorter name."),
    errno.ENOTDIR: ("a part of this path is a file, not a folder:", "Choose another name."),
    errno.EISDIR: ("a folder lies where a file should go:", "Choose another name."),
    errno.ENOENT: ("there is no such file or folder:", "Check the path."),
    errno.EIO: ("the disk failed at", "Check the disk or the network drive, then run again."),
}

_SKIPPED_FOLDER_SYNCS = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF, errno.EPERM})


def readable_bytes(count: int) -> str:
    """`count` bytes as people read them, such as `1.5 GiB` or `820 MiB`."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 100 * size else f"{count / size:,.0f} {unit}"
    return f"{count} bytes"


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write on the filesystem that holds, or will hold, `path`."""
    folder = path.expanduser().resolve()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(path: Path, needed: int, what: str) -> None:
    """Refuse early when `what` cannot fit where `path` will lie.

    Args:
        path: the file or folder to be written.
        needed: bytes that it takes.
        what: its name in the message, such as "the merged model".

    Raises:
        LoraError: fewer than `needed` bytes are free.
    """
    free = free_bytes(path)
    if free < needed:
        raise LoraError(
            f"{what} needs {readable_bytes(needed)} and {readable_bytes(free)} is free at {path}.",
            "Free some space or choose a folder on another disk.",
        )


def _system_errno(error: Exception) -> int | None:
    """The operating system's number in `error`, also where a compiled library left it in the text only."""
    if isinstance(error, OSError):
        return error.errno
    if type(error).__name__ == "SafetensorError":
        found = re.search(r"os error (\d+)", str(error))
        return int(found[1]) if found else None
    return None


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors inside the block into one line with a remedy.

    Args:
        path: named in the message when the error itself names no file.

    Raises:
        LoraError: for any OSError with an error number (full disk, permission, read-only, quota, …), and
            for safetensors' errors that carry one. Errors of the network, which have none, pass through.
    """
    try:
        yield
    except Exception as error:
        number = _system_errno(error)
        if number is None:
            raise
        named = getattr(error, "filename", None)
        where = named if isinstance(named, str) and named else str(path)
        reason, remedy = _REASONS.get(number, (f"{os.strerror(number)}:", "Check the path and the disk."))
        raise LoraError(f"{reason[0].upper()}{reason[1:]} {where}.", remedy) from error


def _sync(path: Path) -> None:
    """Force one file or folder to the disk; drives that cannot sync a folder are let off."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in _SKIPPED_FOLDER_SYNCS:
            raise
    finally:
        os.close(handle)


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            if not Path(root, name).is_symlink():
                _sync(Path(root, name))
        _sync(Path(root))


def _sync_entry(folder: Path) -> None:
    """Sync the folder that holds a renamed name, where the system can open a folder at all."""
    with suppress(OSError):
        _sync(folder)


def refuse_occupied(target: Path, overwrite: bool) -> None:
    """Refuse early what `atomic_folder` would refuse.

    Raises:
        LoraError: `target` is a file, or a folder with something in it while `overwrite` is false.
    """
    if target.exists() and not target.is_dir():
        raise LoraError(f"{target} is a file; a folder is to be written there.", "Choose another name.")
    if not overwrite and target.is_dir() and any(target.iterdir()):
        raise LoraError(f"{target} exists and is not empty.", "Choose another name, or overwrite it: --overwrite.")


def _make_parents(folder: Path) -> list[Path]:
    """Create `folder` and return the folders that were missing, innermost first."""
    missing = list(itertools.takewhile(lambda part: not part.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders take each other's name in one step: False, and nothing done, where that cannot be."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def _put_in_place(partial: Path, target: Path) -> None:
    """Rename `partial` to `target`, and remove what lay there."""
    if target.exists() and _exchanged(partial, target):
        _sync_entry(target.parent)
        shutil.rmtree(partial, ignore_errors=True)
    else:
        _put_in_two_steps(partial, target)


def _put_in_two_steps(partial: Path, target: Path) -> None:
    """The same where names cannot be exchanged: what lay there goes aside first and comes back if that fails."""
    aside = target.with_name(f".{target.name}.old-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        if target.exists():
            target.rename(aside)
        partial.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        elif not partial.exists():
            shutil.rmtree(aside, ignore_errors=True)
        raise
    _sync_entry(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def mend(target: Path) -> None:
    """Remove what killed writers of a folder left beside it, and bring back what one of them had put aside.

    Args:
        target: the folder, links resolved. What a process that is still there works on stays.
    """
    import psutil

    pattern = re.compile(rf"\.{re.escape(target.name)}\.(old|partial)-(\d+)")
    for path in sorted(target.parent.iterdir()) if target.parent.is_dir() else ():
        found = pattern.fullmatch(path.name)
        if not found or not path.is_dir() or path.is_symlink():
            continue
        number = int(found[2])
        if number != os.getpid() and psutil.pid_exists(number):
            continue
        if found[1] == "old" and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Write a whole folder or nothing.

    The block writes into a hidden sibling, `.NAME.partial-PID`. When it ends, every file is synced and the
    sibling is renamed to `target`. When it raises anything, an interrupt included, the sibling is removed and
    `target` is as it was. What killed processes left of earlier attempts is removed first. A symlink is followed:
    the folder behind it is the one that is replaced.

    Args:
        target: the folder to be; its missing parents are created.
        overwrite: replace a folder that is there and not empty.

    Yields:
        The temporary folder to write into.

    Raises:
        LoraError: `target` is occupied and `overwrite` is false, or the disk refuses.
    """
    with disk_errors(target):
        target = target.expanduser().resolve()
        mend(target)
        refuse_occupied(target, overwrite)
        partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
        created: list[Path] = []
        try:
            created = _make_parents(target.parent)
            partial.mkdir()
            yield partial
            _sync_tree(partial)
            refuse_occupied(target, overwrite)
            _put_in_place(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            for folder in created:
                with suppress(OSError):
                    folder.rmdir()
            raise


def atomic_file(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing, keeping the mode of a file that was there.

    Args:
        path: the file; its missing parents are created, a symlink is followed.
        content: text is written as UTF-8 with its line ends unchanged.

    Raises:
        LoraError: the disk refuses; the old file is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    with disk_errors(path):
        path = path.expanduser().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}-{next(_counter)}")
        try:
            with partial.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            if path.exists():
                shutil.copymode(path, partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_entry(path.parent)
