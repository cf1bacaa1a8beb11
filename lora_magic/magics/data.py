"""`%lora_data` and `%%lora_data`."""

from __future__ import annotations

from typing import Any, ClassVar

from lora_magic.config import DataConfig
from lora_magic.config.body import holds_examples, settings
from lora_magic.config.fields import Config
from lora_magic.errors import LoraError
from lora_magic.magics.magic import Magic


class TakesExamples(Magic):
    """A magic whose cell holds settings in YAML or examples as JSON Lines."""

    takes_body: ClassVar[bool] = True

    def from_body(self, body: str, given: dict[str, Any]) -> dict[str, Any]:
        """Settings, or the examples as data."""
        if not holds_examples(body):
            return self.config_class.by_field(settings(body))
        return {"data": _examples_of(body, given)}


class LoraData(TakesExamples):
    """Show what a run would make of some rows; the body holds settings in YAML or examples as JSON Lines."""

    name: ClassVar[str] = "lora_data"
    config_class: ClassVar[type[Config]] = DataConfig
    about: ClassVar[str] = (
        "Show rows as a model will see them: their format, which tokens are trained on, how long they are and what "
        "is wrong with them. Takes the options of %%lora_train that concern data."
    )
    example: ClassVar[str] = "%lora_data demo-json"


def _examples_of(body: str, given: dict[str, Any]) -> Any:
    """The examples in a cell's body as a source of rows.

    Raises:
        LoraError: they are not JSON Lines, or data was named on the line as well.
    """
    from lora_magic.dataset.sources import from_text

    if "data" in given:
        raise LoraError(f"There are examples in the cell and --data {given['data']}.", "Give one of the two.")
    return from_text(body)
