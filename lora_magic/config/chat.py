"""What `%lora_chat` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lora_magic.config.compare import names
from lora_magic.config.fields import Config, option
from lora_magic.errors import LoraError


@dataclass(frozen=True)
class ChatConfig(Config):
    """Who answers, how answers are made, and where kept turns go."""

    adapters: str | None = option(
        None, "who answers, in order: adapters, base, base+system, base+3-shot (base and an adapter unless given)",
        metavar="NAMES", rest=True, offers="adapters",
    )  # fmt: skip
    system: str | None = option(
        None, "system turn of all, or of base+system alone where that is one (the run's unless given)", metavar="TEXT"
    )
    max_new_tokens: int = option(256, "longest answer in tokens", low=1)
    temperature: float = option(0.0, "0 always takes the likeliest token", low=0, high=10)
    top_p: float = option(1.0, "sample from the likeliest tokens that hold this probability", above=0, high=1)
    seed: int = option(0, "for sampling and for choosing the examples of base+3-shot", low=0, high=2**32 - 1)
    keep: str = option(
        "kept.jsonl", "file that kept turns are added to, as rows for %lora_compare --prompts", metavar="FILE",
        offers="file",
    )  # fmt: skip
    say: Any = option(
        None, "what is said first: a text, or a list of texts; /keep keeps the turn before it", metavar="TEXT"
    )

    def check(self) -> None:
        """What is said is text, and not blank."""
        said = [self.say] if isinstance(self.say, str) else self.say
        if said is None:
            return
        if not isinstance(said, list | tuple) or not all(isinstance(one, str) for one in said):
            raise LoraError("say must be a text or a list of texts.", 'For example ["What is rust?"].')
        if not any(one.strip() for one in said):
            raise LoraError("There is nothing to say.", "Write one text a line, or none at all.")

    @property
    def texts(self) -> list[str]:
        """What is said first, in order and without blank texts."""
        said = [self.say] if isinstance(self.say, str) else self.say or ()
        return [text.strip() for text in said if text.strip()]

    @property
    def columns(self) -> list[str] | None:
        """Who answers, in order and once each; None when nobody was named."""
        return names(self.adapters)
