"""What `%lora_doctor` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.config.fields import Config


@dataclass(frozen=True)
class DoctorConfig(Config):
    """Nothing to choose."""
