"""`%lora_compare` and `%%lora_compare`."""

from __future__ import annotations

from typing import Any, ClassVar

from lora_magic.config import CompareConfig
from lora_magic.config.body import holds_examples
from lora_magic.config.fields import Config
from lora_magic.errors import LoraError
from lora_magic.magics.magic import Magic


class LoraCompare(Magic):
    """Base and adapters side by side; the body holds a prompt a line, or rows as JSON Lines."""

    name: ClassVar[str] = "lora_compare"
    config_class: ClassVar[type[Config]] = CompareConfig
    about: ClassVar[str] = (
        "Base and adapters side by side, with numbers: on held-out rows, on --prompts, or as %%lora_compare on the "
        "body's prompts, one a line (or rows as JSON Lines)."
    )
    example: ClassVar[str] = "%lora_compare --adapters base,base+3-shot,default"
    takes_body: ClassVar[bool] = True

    def works_bare(self) -> bool:
        """There is an adapter to compare the base with."""
        from lora_magic import api

        return bool(api.session().adapters)

    def from_body(self, body: str, given: dict[str, Any]) -> dict[str, Any]:
        """A prompt a line, or rows."""
        if "prompts" in given:
            raise LoraError("There are prompts in the cell and in --prompts.", "Give one of the two.")
        if holds_examples(body):
            from lora_magic.dataset.sources import from_text

            return {"prompts": from_text(body)}
        return {"prompts": [line.strip() for line in body.splitlines() if line.strip()]}
