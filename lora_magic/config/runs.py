"""What `%lora_runs` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.config.fields import Config, option
from lora_magic.errors import LoraError


@dataclass(frozen=True)
class RunsConfig(Config):
    """Which recorded runs."""

    names: str | None = option(
        None, "runs in order, with commas; all in ./lora_runs unless given",
        metavar="NAMES", positional=True, rest=True, offers="run",
    )  # fmt: skip

    def check(self) -> None:
        """At least one name where any are given."""
        if self.listed == []:
            raise LoraError("names holds no name.", "Leave it out to list all runs.")

    @property
    def listed(self) -> list[str] | None:
        """The named runs, in order and once each; None for all."""
        if self.names is None:
            return None
        return list(dict.fromkeys(filter(None, (name.strip() for name in self.names.split(",")))))
