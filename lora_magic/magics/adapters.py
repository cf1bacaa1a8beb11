"""`%lora_adapters`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config import AdaptersConfig
from lora_magic.config.fields import Config
from lora_magic.magics.magic import Magic


class LoraAdapters(Magic):
    """List adapters, and have one come, go or be made of others."""

    name: ClassVar[str] = "lora_adapters"
    config_class: ClassVar[type[Config]] = AdaptersConfig
    about: ClassVar[str] = (
        "List the adapters on the base and on disk, with what their updates use of their rank; "
        "import one, combine several, or remove one."
    )
    example: ClassVar[str] = "%lora_adapters --combine support=0.7,tone=0.3 --as both"
