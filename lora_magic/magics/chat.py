"""`%lora_chat`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config import ChatConfig
from lora_magic.config.fields import Config
from lora_magic.magics.magic import Magic


class LoraChat(Magic):
    """Talk with the base and adapters side by side."""

    name: ClassVar[str] = "lora_chat"
    config_class: ClassVar[type[Config]] = ChatConfig
    about: ClassVar[str] = (
        "Talk with the base and adapters side by side, turn by turn. A turn can be kept as a row to compare on. In a "
        "terminal an empty line ends it."
    )
    example: ClassVar[str] = "%lora_chat --temperature 0.7"
