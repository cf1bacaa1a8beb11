"""`%lora_use` and `%lora_status`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config import StatusConfig, UseConfig
from lora_magic.config.fields import Config
from lora_magic.magics.magic import Magic


class LoraUse(Magic):
    """Switch adapters."""

    name: ClassVar[str] = "lora_use"
    config_class: ClassVar[type[Config]] = UseConfig
    about: ClassVar[str] = "Answer with another adapter, or with the base alone, from now on."
    example: ClassVar[str] = "%lora_use base"


class LoraStatus(Magic):
    """Say what is loaded."""

    name: ClassVar[str] = "lora_status"
    config_class: ClassVar[type[Config]] = StatusConfig
    about: ClassVar[str] = "Say what is loaded, which adapters are in memory, and what that takes."
    example: ClassVar[str] = "%lora_status"
