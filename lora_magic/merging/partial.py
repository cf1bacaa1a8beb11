"""A hidden folder beside the output in which a merge works, and in which the next one finds what a killed one did.

It lies at `.NAME.merging`. What was finished in it counts only for the very same merge: its recipe, a hash over
everything that the written bytes depend on, is kept there. When all is written the files go to their place
through a folder that gets its name in one step.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lora_magic.errors import LoraError
from lora_magic.files import atomic_folder, disk_errors, mend, refuse_occupied
from lora_magic.merging.hub import Unreachable

_RECIPE, _OWNER = "recipe", "process.json"
_PARKED = "originals"


class Work:
    """The hidden folder.

    Args:
        target: the output, links resolved.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.root = target.with_name(f".{target.name}.merging")
        self.folder = self.root / "model"
        self.parked = self.root / _PARKED

    def begin(self, recipe: str) -> int:
        """Keep what an earlier run of the same merge finished there, and nothing else.

        Args:
            recipe: what the bytes depend on.

        Returns:
            How many weight files are finished.
        """
        known = self.root / _RECIPE
        if not known.is_file() or known.read_text() != recipe:
            shutil.rmtree(self.folder, ignore_errors=True)
            known.write_text(recipe)
        self.folder.mkdir(exist_ok=True)
        finished = 0
        for path in self.folder.iterdir():
            if path.suffix == ".safetensors":
                finished += 1
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        return finished

    def has_something(self) -> bool:
        """Whether a next run would find files here that it need not make or fetch again."""
        made = (place.rglob("*") for place in (self.folder, self.parked))
        return any(path.is_file() for found in made for path in found)

    def put_in_place(self, overwrite: bool) -> None:
        """Give the finished files their name, all at once."""
        with atomic_folder(self.target, overwrite=overwrite) as partial:
            for path in sorted(self.folder.rglob("*")):
                place = partial / path.relative_to(self.folder)
                if path.is_dir():
                    place.mkdir()
                else:
                    _linked(path, place)


def _linked(source: Path, target: Path) -> None:
    """A second name of a file, or a move where the disk knows no second names."""
    try:
        os.link(source, target)
    except OSError:
        source.rename(target)


@contextmanager
def work_folder(target: Path, overwrite: bool) -> Iterator[Work]:
    """The hidden folder for a merge into `target`, alone in it.

    When the block raises, the folder is removed and everything is as it was, but when the network failed half-way
    what was done stays for the next run, as it does when the process is killed.

    Args:
        target: the output.
        overwrite: replace what is there.

    Raises:
        LoraError: another process merges into `target`, it is occupied and `overwrite` is false, or the disk
            refuses.
    """
    with disk_errors(target):
        target = target.expanduser().resolve()
        mend(target)
        refuse_occupied(target, overwrite)
        work = Work(target)
        missing = [folder for folder in target.parents if not folder.exists()]
        work.root.mkdir(parents=True, exist_ok=True)
        _own(work.root / _OWNER, target)
        try:
            yield work
            work.put_in_place(overwrite)
        except BaseException as error:
            if not (isinstance(error, Unreachable) and work.has_something()):
                _remove(work.root, missing)
            raise
        _remove(work.root, [])


def _remove(root: Path, created: list[Path]) -> None:
    shutil.rmtree(root, ignore_errors=True)
    for folder in created:
        with suppress(OSError):
            folder.rmdir()


def _own(path: Path, target: Path) -> None:
    """Note this process as the one that works here.

    Raises:
        LoraError: another one does.
    """
    number = 0
    with suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
        noted = json.loads(path.read_text())
        if psutil.Process(int(noted["process"])).create_time() == noted["began"]:
            number = int(noted["process"])
    if number not in (0, os.getpid()):
        raise LoraError(f"Process {number} is merging into {target} now.", "Wait for it, or choose another folder.")
    path.write_text(json.dumps({"process": os.getpid(), "began": psutil.Process().create_time()}))
