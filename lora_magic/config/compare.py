"""What `%lora_compare` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lora_magic.config.fields import Config, option
from lora_magic.errors import LoraError


@dataclass(frozen=True)
class CompareConfig(Config):
    """Which prompts, which columns, and how answers are made."""

    prompts: Any = option(None, "a prompt or a list of them; the last run's held-out rows unless given", metavar="LIST")
    adapters: str | None = option(
        None,
        "columns in order, base among them (base and the last run's adapter unless given)",
        metavar="NAMES",
        rest=True,
        offers="adapters",
    )
    rows: int = option(64, "at most this many held-out rows", low=1)
    max_new_tokens: int = option(256, "longest answer in tokens", low=1)
    temperature: float = option(0.0, "0 always takes the likeliest token", low=0, high=10)
    top_p: float = option(1.0, "sample from the likeliest tokens that hold this probability", above=0, high=1)
    system: str | None = option(None, "system turn for prompts of your own (the run's unless given)", metavar="TEXT")
    seed: int = option(0, "for sampling", low=0, high=2**32 - 1)

    def check(self) -> None:
        """Prompts that are text, and at least one that is not blank."""
        prompts = [self.prompts] if isinstance(self.prompts, str) else self.prompts
        if prompts is None:
            return
        if not isinstance(prompts, list | tuple) or not all(isinstance(p, str) for p in prompts):
            raise LoraError("prompts must be text or a list of texts.", 'For example ["What is rust?"].')
        if not any(p.strip() for p in prompts):
            raise LoraError("There is no prompt.", "Write one a line, or none at all for the held-out rows.")

    @property
    def questions(self) -> list[str] | None:
        """The user's own prompts, blank ones left out; None for the held-out rows."""
        if self.prompts is None:
            return None
        listed = [self.prompts] if isinstance(self.prompts, str) else self.prompts
        return [p for p in listed if p.strip()]

    @property
    def columns(self) -> list[str] | None:
        """The named columns, in order and once each; None when none were named."""
        if self.adapters is None:
            return None
        return list(dict.fromkeys(filter(None, (n.strip() for n in self.adapters.split(",")))))
