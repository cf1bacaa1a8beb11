"""`%lora_train` and `%%lora_train`."""

from __future__ import annotations

from typing import Any, ClassVar

from lora_magic.config import TrainConfig
from lora_magic.config.body import holds_examples, settings
from lora_magic.config.fields import Config
from lora_magic.errors import LoraError
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
            return {key.replace("-", "_"): value for key, value in settings(body).items()}
        if "data" in given:
            raise LoraError(f"There are examples in the cell and --data {given['data']}.", "Give one of the two.")
        from lora_magic.dataset.sources import Source, rows_from_text

        return {"data": Source("the cell", rows_from_text(body, "the cell"), None, ())}
