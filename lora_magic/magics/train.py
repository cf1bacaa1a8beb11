"""`%lora_train` and `%%lora_train`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config import TrainConfig
from lora_magic.config.fields import Config
from lora_magic.magics.data import TakesExamples


class LoraTrain(TakesExamples):
    """Train an adapter; the body holds settings in YAML or examples as JSON Lines."""

    name: ClassVar[str] = "lora_train"
    config_class: ClassVar[type[Config]] = TrainConfig
    about: ClassVar[str] = (
        "Train a LoRA adapter on the loaded base. As %%lora_train the body is empty, settings in YAML "
        "(`lr: 2e-4`), or examples as JSON Lines. Interrupt to stop early and keep the adapter."
    )
    example: ClassVar[str] = "%lora_train --data demo-json --lr 2e-3 --epochs 5"
