"""`%lora_compare` and `%%lora_compare`."""

from __future__ import annotations

from typing import Any, ClassVar

from lora_magic.config import CompareConfig
from lora_magic.config.fields import Config
from lora_magic.magics.magic import Magic


class LoraCompare(Magic):
    """Base and adapters side by side; the body holds a prompt a line."""

    name: ClassVar[str] = "lora_compare"
    config_class: ClassVar[type[Config]] = CompareConfig
    about: ClassVar[str] = (
        "Base and adapters side by side: on the last run's held-out rows, or as %%lora_compare on the body's "
        "prompts, one a line."
    )
    example: ClassVar[str] = "%lora_compare --adapters base,default"
    takes_body: ClassVar[bool] = True
    body_fields: ClassVar[tuple[str, ...]] = ("prompts",)

    def from_body(self, body: str, given: dict[str, Any]) -> dict[str, Any]:
        """A prompt a line."""
        return {"prompts": [line.strip() for line in body.splitlines() if line.strip()]}
