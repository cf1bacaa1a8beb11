"""What `%lora_studio` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.config.fields import Config


@dataclass(frozen=True)
class StudioConfig(Config):
    """Nothing to choose: its steps have forms."""
