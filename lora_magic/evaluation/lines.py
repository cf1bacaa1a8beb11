"""Lines added to a file one by one, each on disk before the next is made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_magic.files import disk_errors


def append_line(path: Path, said: Mapping[str, Any]) -> None:
    """Add an object to a JSON Lines file, synced; a line that a killed process left without its end is ended first.

    Args:
        path: the file; it and its folder are made where they are missing.
        said: plain values.

    Raises:
        LoraError: the disk refuses.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            broken = False
            if end:
                file.seek(end - 1)
                broken = file.read(1) != b"\n"
            file.write(b"\n" * broken + _line(said) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def holds_line(path: Path, said: Mapping[str, Any]) -> bool:
    """Whether `append_line` has added this very object already.

    Args:
        path: the file; none holds nothing.
        said: plain values.

    Raises:
        LoraError: it cannot be read.
    """
    with disk_errors(path):
        return path.exists() and _line(said) in path.read_bytes().split(b"\n")


def _line(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
