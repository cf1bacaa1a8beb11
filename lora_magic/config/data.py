"""What `%lora_data` can be asked for, and what it shares with `%%lora_train`: which rows, read how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_magic.config.fields import REQUIRED, Config, option
from lora_magic.errors import LoraError, nearest

TRAIN_ON = ("assistant", "last", "all")
ROWS = "a file, a folder, a pattern, a notebook variable, an embedded data set or a Hub id (NAME:CONFIG:SPLIT)"
MAPPED = ("system", "prompt", "completion", "messages", "text")


@dataclass(frozen=True, kw_only=True)
class DataOptions(Config):
    """Where the rows are, what their columns mean, and how they become tokens."""

    data: Any = option(REQUIRED, ROWS, metavar="X", offers="data")
    map: str | None = option(
        None,
        "which column is what, where it is not found by itself: " + "|".join(MAPPED) + "=COLUMN",
        metavar="prompt=Q,completion=A",
        rest=True,
    )
    system: str | None = option(None, "system turn put before rows that have none", metavar="TEXT")
    template: str | None = option(
        None, "a file with the chat template to use in place of the model's own", metavar="FILE", offers="file"
    )
    train_on: str = option("assistant", "which tokens: all answers, the last answer, or every token", choices=TRAIN_ON)
    max_length: int | None = option(None, "longest row in tokens (the base's unless given)", low=8)
    eval_split: float = option(0.05, "share of the rows held out (16 to 256 rows); 0 is none", low=0, high=0.2)
    eval_data: Any = option(
        None, "held-out rows of your own, as in --data, in place of a share", metavar="X", offers="data"
    )

    def __post_init__(self) -> None:
        given: object = self.map
        if isinstance(given, Mapping):
            object.__setattr__(self, "map", ",".join(f"{k}={v}" for k, v in given.items()))
        super().__post_init__()

    def check(self) -> None:
        """A mapping that can be one."""
        _ = self.columns

    @property
    def columns(self) -> dict[str, str]:
        """Column names by what they hold, from `map`; empty when everything is to be found by itself.

        Raises:
            LoraError: not `what=COLUMN` pairs with commas, or a `what` that is unknown or there twice.
        """
        found: dict[str, str] = {}
        for pair in filter(None, (p.strip() for p in (self.map or "").split(","))):
            what, equals, column = (part.strip() for part in pair.partition("="))
            if not (what and equals and column):
                raise LoraError(f'map: "{pair}" is not a pair.', "Write prompt=COLUMN,completion=COLUMN.")
            if what not in MAPPED:
                raise LoraError(f'map: "{what}" is nothing that a column can be.', nearest(what, MAPPED) or _known())
            if what in found:
                raise LoraError(f'map names "{what}" twice ({found[what]} and {column}).', "Give it one column.")
            found[what] = column
        return found


def _known() -> str:
    return f"Known: {', '.join(MAPPED)}."


@dataclass(frozen=True, kw_only=True)
class DataConfig(DataOptions):
    """Which rows to look at, as which model reads them, and whether to clean them."""

    data: Any = option(REQUIRED, ROWS, metavar="X", positional=True, offers="data")
    model: str | None = option(
        None, "whose tokenizer and template count (the loaded base's, else demo's)", metavar="MODEL", offers="model"
    )
    show: int = option(3, "how many rows to show token by token", low=0, high=50)
    rank: int = option(8, "rank of the run that is planned; many parameters want many rows", low=1, high=4096)
    fix: str | None = option(
        None, "write a cleaned copy, and a record of every change beside it", metavar="FILE", offers="file", bare="",
    )  # fmt: skip
    overwrite: bool = option(False, "replace a cleaned copy that is there already")
