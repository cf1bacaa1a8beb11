"""Python, memory, disk and token: what the machine itself brings to a run."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from lora_magic.files import free_bytes, readable_bytes
from lora_magic.results.doctor import FAILS, FINE, NOTE, Check

GIB = 2**30
LEAST_DISK = 200 * 2**20
"""Bytes below which a run's checkpoints and adapter do not fit: twice an adapter of 25 M parameters in float32."""
ENOUGH_DISK = 8 * GIB
"""Bytes for the 16-bit weights of a 3B model, which a merge writes."""
LEAST_MEMORY = GIB
"""Bytes that the imports alone take."""
ENOUGH_MEMORY = 4 * GIB
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def checks() -> Iterator[Check]:
    """Python, RAM, the disks of runs and of downloads, and whether there is a token for the Hub."""
    yield Check("Python", platform.python_version(), FINE, sys.executable or "")
    memory = available_memory()
    if memory is not None:
        yield _memory(*memory)
    yield from _disks()
    yield token()


def available_memory() -> tuple[int, int] | None:
    """Bytes of RAM that are available and that there are; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        read = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        return read["MemAvailable"], read["MemTotal"]
    except (OSError, ValueError, KeyError):
        pass
    try:
        import psutil

        told = psutil.virtual_memory()
        return int(told.available), int(told.total)
    except Exception:  # noqa: BLE001  missing or broken, and no other way to ask
        return None


def _memory(available: int, total: int) -> Check:
    found = f"{readable_bytes(available)} of {readable_bytes(total)} free"
    if available < LEAST_MEMORY:
        return Check("RAM", found, FAILS, "the imports alone take 1 GiB", "restart other kernels")
    if available < ENOUGH_MEMORY:
        return Check("RAM", found, NOTE, "enough for models up to 1B", "restart other kernels")
    return Check("RAM", found, FINE)


def _disks() -> Iterator[Check]:
    cache = cache_folder()
    try:
        here = Path.cwd()
    except OSError:
        yield Check("disk", "", FAILS, "the current folder is gone", "change into another folder")
        return
    if os.access(here, os.W_OK | os.X_OK):
        yield _disk("disk", here, "runs are written here")
    else:
        yield Check("disk", "", FAILS, f"runs are written into {here}, which is closed to you", "use another folder")
    if not _same_disk(cache, here):
        yield _disk("disk of downloads", cache, f"models are kept in {cache}", needed=False)


def _disk(what: str, folder: Path, told: str, needed: bool = True) -> Check:
    try:
        free = free_bytes(folder)
    except OSError as error:
        return Check(what, "", FAILS if needed else NOTE, f"{folder}: {error.strerror}", "choose another folder")
    found = f"{readable_bytes(free)} free"
    if free < LEAST_DISK:
        state = FAILS if needed else NOTE
        return Check(what, found, state, f"a run needs {readable_bytes(LEAST_DISK)}; {told}", _freeing())
    if free < ENOUGH_DISK:
        return Check(what, found, NOTE, f"a merged 3B model takes 6.4 GB; {told}", _freeing())
    return Check(what, found, FINE, told)


def _freeing() -> str:
    return "hf cache prune" if shutil.which("hf") else "delete what you do not need"


def cache_folder() -> Path:
    """Where the Hub's client keeps what it downloads, read as it reads it."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    hub = os.environ.get("HF_HOME") or f"{home}/huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or f"{hub}/hub").expanduser()


def _same_disk(one: Path, other: Path) -> bool:
    try:
        while not one.exists():
            one = one.parent
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def token() -> Check:
    """Whether a token for the Hub is there; its value is not read."""
    named = next((name for name in TOKENS if os.environ.get(name, "").strip()), None)
    if named is not None:
        return Check("Hub token", "present", FINE, f"in the environment as {named}")
    file = Path(os.environ.get("HF_TOKEN_PATH") or cache_folder().parent / "token").expanduser()
    try:
        if file.stat().st_size:
            return Check("Hub token", "present", FINE, f"in {file}")
    except OSError:
        pass
    if "google.colab" in sys.modules:
        return Check("Hub token", "asked for when needed", FINE, "from Colab's secret HF_TOKEN")
    return Check("Hub token", "none", FINE, "gated and private models alone need one")
