"""What `%lora_merge` can be asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lora_magic.config.fields import REQUIRED, Config, option
from lora_magic.config.load import DTYPES
from lora_magic.errors import LoraError

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SMALLEST_SHARD = 10**6


@dataclass(frozen=True)
class MergeConfig(Config):
    """Which adapter goes into which folder."""

    name: str = option(
        REQUIRED,
        "an adapter in memory, or a folder with one",
        metavar="NAME|FOLDER",
        positional=True,
        offers="adapter or folder",
    )
    out: str = option(REQUIRED, "the folder to make", metavar="OUT", positional=True, offers="folder")
    dtype: str = option("float16", "of the written weights", choices=DTYPES[1:])
    shard_size: str = option("4GB", "size that a file has at most, such as 500MB", metavar="SIZE")
    verify: int = option(4, "held-out prompts that the merged model is compared on; 0 for none", metavar="N", low=0)
    overwrite: bool = option(False, "replace a folder that is there already")
    low_disk: bool = option(False, "fetch the base from the Hub a file at a time and drop each when it is merged")
    to: str | None = option(None, "write linear layers in NF4 instead", choices=("4bit",))
    base: str | None = option(
        None,
        "folder or Hub id of the original weights (by the adapter's record unless given)",
        metavar="MODEL",
        offers="model",
    )

    @property
    def shard_bytes(self) -> int:
        """`shard_size` in bytes."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?i?B)?\s*", self.shard_size, re.IGNORECASE)
        return int(float(found[1]) * _UNITS[(found[2] or "B").upper()]) if found else 0

    def check(self) -> None:
        """An adapter and a folder that have names, and a shard size that can be read and holds something."""
        for what, given in (("NAME|FOLDER", self.name), ("OUT", self.out)):
            if not given.strip():
                raise LoraError(f"{what} is empty.", "For example %lora_merge support out/support-16bit.")
        if self.shard_bytes < _SMALLEST_SHARD:
            raise LoraError(
                f"shard-size must be a size of at least 1MB, got {self.shard_size!r}.", "Write, say, 4GB or 500MB."
            )
