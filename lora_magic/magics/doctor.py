"""`%lora_doctor`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config import DoctorConfig
from lora_magic.config.fields import Config
from lora_magic.magics.magic import Magic


class LoraDoctor(Magic):
    """Say what this machine lacks for a run."""

    name: ClassVar[str] = "lora_doctor"
    config_class: ClassVar[type[Config]] = DoctorConfig
    about: ClassVar[str] = (
        "Check GPU, driver, packages, disk, memory and token for what a run needs. Each is fine or comes with the "
        "one command that mends it. `python -m lora_magic doctor` does the same in a terminal."
    )
    example: ClassVar[str] = "%lora_doctor"
