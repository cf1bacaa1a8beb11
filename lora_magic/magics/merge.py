"""`%lora_merge`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config import MergeConfig
from lora_magic.config.fields import Config
from lora_magic.magics.magic import Magic


class LoraMerge(Magic):
    """Merge an adapter into a new model folder."""

    name: ClassVar[str] = "lora_merge"
    config_class: ClassVar[type[Config]] = MergeConfig
    about: ClassVar[str] = (
        "Merge an adapter into the base's original, unquantised weights. The new folder is verified before it "
        "gets its name, and loads with transformers alone."
    )
    example: ClassVar[str] = "%lora_merge default out/default-16bit"
