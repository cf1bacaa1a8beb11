"""`%lora_load`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config import LoadConfig
from lora_magic.config.fields import Config
from lora_magic.magics.magic import Magic


class LoraLoad(Magic):
    """Load a base."""

    name: ClassVar[str] = "lora_load"
    config_class: ClassVar[type[Config]] = LoadConfig
    about: ClassVar[str] = "Load a base model. The one before is freed; its adapters stay on disk."
    example: ClassVar[str] = "%lora_load demo"
