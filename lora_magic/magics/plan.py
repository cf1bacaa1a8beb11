"""`%lora_plan`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config import PlanConfig
from lora_magic.config.fields import Config
from lora_magic.magics.magic import Magic


class LoraPlan(Magic):
    """Say what a run would take."""

    name: ClassVar[str] = "lora_plan"
    config_class: ClassVar[type[Config]] = PlanConfig
    about: ClassVar[str] = (
        "Say what a run would take on a card, and the fastest way to compute it that fits. Reads the model's "
        "config.json alone, no weights; takes the options of %%lora_train that memory and time depend on."
    )
    example: ClassVar[str] = "%lora_plan demo --gpu t4 --rows 1000"
