"""What `%lora_plan` can be asked for: a model, a card, and the options of a run that its memory and time depend on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.config.data import DataOptions
from lora_magic.config.fields import Config, option
from lora_magic.config.load import LoadConfig
from lora_magic.config.train import TrainConfig
from lora_magic.errors import LoraError

CHECKPOINTING = ("auto", "off", "some", "on", "offload", "unsloth")
CARDS = Path(__file__).parents[1] / "planning" / "cards.json"


def _options(config_class: type[Config]) -> dict[str, dict[str, Any]]:
    """What `option` was given for each field of a config."""
    return {field.name: {"default": field.default, **field.metadata} for field in dataclasses.fields(config_class)}


def _cards() -> tuple[str, ...]:
    """The names of the cards that there are figures for, and "a100" for the smaller of two."""
    known = json.loads(CARDS.read_text(encoding="utf-8"))
    return ("a100", *(name for name, card in known.items() if isinstance(card, dict)))


_LOAD, _TRAIN = _options(LoadConfig), _options(TrainConfig)


@dataclass(frozen=True, kw_only=True)
class PlanConfig(DataOptions):
    """Which model, on which card, trained how and on what."""

    model: str = option(**_LOAD["model"])
    gpu: str | None = option(None, "the card (the one here unless given, else a T4)", metavar="CARD", choices=_cards())
    data: Any = option(**{**_TRAIN["data"], "help": "rows whose tokens are counted, as in %%lora_train"})
    rows: int | None = option(None, "training rows (those of --data unless given)", metavar="N", low=1)
    tokens_per_row: float | None = option(
        None, "tokens of a row on average (counted in --data unless given)", metavar="N", low=1, high=10_000_000
    )
    batch: int = option(**_TRAIN["batch"])
    micro_batch: int | None = option(**_TRAIN["micro_batch"])
    checkpointing: str | None = option(
        None, "which blocks are computed again in the backward pass (chosen unless given)", choices=CHECKPOINTING
    )
    optimizer: str = option(**_TRAIN["optimizer"])
    rank: int = option(**_TRAIN["rank"])
    target: str = option(**_TRAIN["target"])
    method: str = option(**_TRAIN["method"])
    dropout: float = option(**_TRAIN["dropout"])
    bias: str = option(**_TRAIN["bias"])
    epochs: float = option(**_TRAIN["epochs"])
    max_steps: int | None = option(**_TRAIN["max_steps"])
    bits: int | str = option(**_LOAD["bits"])
    backend: str = option(
        **{**_LOAD["backend"], "help": "what runs the model; auto is Unsloth where it has the model's family"}
    )
    revision: str | None = option(**_LOAD["revision"])
    price: float | None = option(None, "what the card costs an hour, in any currency", metavar="AN_HOUR", above=0)

    def __post_init__(self) -> None:
        if isinstance(self.gpu, str):
            object.__setattr__(self, "gpu", self.gpu.lower().replace("rtx-", "rtx"))
        super().__post_init__()

    def check(self) -> None:
        """A micro-batch that divides the batch."""
        super().check()
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise LoraError(
                f"batch {self.batch} cannot be cut into micro-batches of {self.micro_batch}.",
                "Choose a micro-batch that divides it.",
            )

    @property
    def load(self) -> LoadConfig:
        """The model as `%lora_load` is asked for it."""
        return LoadConfig(self.model, bits=self.bits, backend=self.backend, revision=self.revision)
