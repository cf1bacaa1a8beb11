"""`%lora_chat` and `%%lora_chat`."""

from __future__ import annotations

from typing import Any, ClassVar

from lora_magic.config import ChatConfig
from lora_magic.config.fields import Config
from lora_magic.errors import LoraError
from lora_magic.magics.magic import Magic


class LoraChat(Magic):
    """Talk with the base and adapters side by side; the body holds what is said first, a text a line."""

    name: ClassVar[str] = "lora_chat"
    config_class: ClassVar[type[Config]] = ChatConfig
    about: ClassVar[str] = (
        "Talk with the base and adapters side by side, turn by turn; as %%lora_chat the body's lines are said first. A "
        "turn can be kept as a row to compare on. In a terminal an empty line ends it."
    )
    example: ClassVar[str] = "%lora_chat --temperature 0.7"
    takes_body: ClassVar[bool] = True

    def from_body(self, body: str, given: dict[str, Any]) -> dict[str, Any]:
        """A text a line."""
        if "say" in given:
            raise LoraError("Something is said in the cell and in --say.", "Give one of the two.")
        return {"say": body.splitlines()}
