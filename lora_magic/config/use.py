"""What `%lora_use` and `%lora_status` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.config.fields import REQUIRED, Config, option


@dataclass(frozen=True)
class UseConfig(Config):
    """Which adapter answers from now on."""

    name: str = option(
        REQUIRED, "an adapter in memory, or base for none", metavar="NAME|base", positional=True, offers="adapter"
    )


@dataclass(frozen=True)
class StatusConfig(Config):
    """Nothing to choose."""
