"""`%lora_train` and `%%lora_train`."""

from __future__ import annotations

from typing import Any, ClassVar

from lora_magic.config import TrainConfig
from lora_magic.config.body import holds_examples, settings
from lora_magic.config.fields import Config
from lora_magic.magics.data import examples_of
from lora_magic.magics.magic import Magic


class LoraTrain(Magic):
    """Train an adapter; the body holds settings in YAML or examples as JSON Lines."""

    name: ClassVar[str] = "lora_train"
    config_class: ClassVar[type[Config]] = TrainConfig
    about: ClassVar[str] = (
        "Train a LoRA adapter on the loaded base. As %%lora_train the body is empty, settings in YAML "
        "(`lr: 2e-4`), or examples as JSON Lines. Interrupt to stop early and keep the adapter."
    )
    example: ClassVar[str] = "%lora_train --data demo-json --lr 2e-3 --epochs 5"
    takes_body: ClassVar[bool] = True

    def from_body(self, body: str, given: dict[str, Any]) -> dict[str, Any]:
        """Settings, or the examples as data."""
        if not holds_examples(body):
            return self.config_class.by_field(settings(body))
        return {"data": examples_of(body, given)}
