"""What `%lora_merge` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.config.fields import REQUIRED, Config, option
from lora_magic.config.load import DTYPES


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
    overwrite: bool = option(False, "replace a folder that is there already")
