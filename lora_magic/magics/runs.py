"""`%lora_runs`."""

from __future__ import annotations

from typing import ClassVar

from lora_magic.config.fields import Config
from lora_magic.config.runs import RunsConfig
from lora_magic.magics.magic import Magic


class LoraRuns(Magic):
    """List recorded runs."""

    name: ClassVar[str] = "lora_runs"
    config_class: ClassVar[type[Config]] = RunsConfig
    about: ClassVar[str] = (
        "List the recorded runs with what differs between them, and draw their curves over each other. Needs no model."
    )
    example: ClassVar[str] = "%lora_runs support,support-2"
