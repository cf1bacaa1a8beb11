"""What `%lora_compare` can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_magic.config.fields import Config, option
from lora_magic.errors import LoraError, nearest

NO_MEASURES = "none"
CRITERIA = ("accuracy", "style", "safety")
SHOWN = ("all", "better", "worse", "different", "same", "cut")
SORTED = ("change", "lowest", "highest")
_SELECTING = ("show", "by", "column", "against", "text", "sort", "browse")


@dataclass(frozen=True)
class CompareConfig(Config):
    """Which prompts, which columns, how answers are made, and what is measured."""

    prompts: Any = option(
        None,
        "prompts or rows: a list, a file, a variable or an embedded set (the run's held-out rows unless given)",
        metavar="NAME",
        offers="data",
    )
    adapters: str | None = option(
        None,
        "columns in order: adapters, base, base+system, base+3-shot, base-16bit (base and an adapter unless given)",
        metavar="NAMES",
        rest=True,
        offers="columns",
    )
    rows: int = option(64, "at most this many rows; prompts that are written out are all asked", low=1)
    max_new_tokens: int = option(256, "longest answer in tokens", low=1)
    temperature: float = option(0.0, "0 always takes the likeliest token", low=0, high=10)
    top_p: float = option(1.0, "sample from the likeliest tokens that hold this probability", above=0, high=1)
    system: str | None = option(
        None, "system turn of every column, or of base+system alone where that is one (the run's unless given)",
        metavar="TEXT",
    )  # fmt: skip
    seed: int = option(0, "for sampling and for choosing the examples of base+3-shot", low=0, high=2**32 - 1)
    measures: str | None = option(
        None, "numbers beside the answers, none for no numbers (chosen by the references unless given)",
        metavar="NAMES", rest=True, offers="measures",
    )  # fmt: skip
    embedder: str | None = option(
        None, "sentence embedding model, which adds the measure similarity: a folder, or an id in the Hub's cache",
        metavar="MODEL", offers="folder",
    )  # fmt: skip
    general: Any = option(
        None, "also ask general prompts before and after: a file or variable, or the embedded ones without a name",
        metavar="NAME", offers="data", bare="",
    )  # fmt: skip
    blind: bool = option(False, "vote on the answers without knowing whose they are; then reveal")
    scores: str | None = option(
        None, "with --blind also 1 to 5 for accuracy, style and safety, or some of them", metavar="NAMES", rest=True
    )
    votes: str | None = option(
        None, "folder that votes are kept in (the run's unless given)", metavar="FOLDER", offers="folder"
    )
    show: str = option(
        "all", "rows to show first, the others folded: by a measure, by answers, or cut off", choices=SHOWN
    )
    by: str | None = option(
        None, "measure that --show and --sort go by (the first that tells rows apart unless given)",
        metavar="MEASURE", offers="measures",
    )  # fmt: skip
    column: str | None = option(
        None, "column that --show and --sort judge (the last one unless given)", metavar="NAME", offers="columns"
    )
    against: str | None = option(
        None, "column that it is held against (the baseline unless given)", metavar="NAME", offers="columns"
    )
    text: str | None = option(None, "rows whose prompt, reference or an answer holds this", metavar="TEXT")
    sort: str | None = option(None, "order of rows: by the change, or by the column's own figure", choices=SORTED)
    browse: bool = option(False, "a bar above the rows that sorts and filters them")

    def check(self) -> None:
        """Prompts that are text or rows, at least one that is not blank, a vote and a selection that can be made."""
        self._check_vote()
        self._check_selection()
        for name, value in (("prompts", self.prompts), ("general", self.general)):
            listed = [value] if isinstance(value, str) else value
            if isinstance(value, int | float | Mapping) or (isinstance(value, list | tuple) and not _one_kind(value)):
                raise LoraError(f"{name} must be text, a list of texts or rows.", 'For example ["What is rust?"].')
            if name == "prompts" and isinstance(listed, list | tuple) and not any(_filled(one) for one in listed):
                raise LoraError("There is no prompt.", "Write one a line, or none at all for the held-out rows.")

    def _check_vote(self) -> None:
        if not self.blind:
            for name, value in (("scores", self.scores), ("votes", self.votes)):
                if value is not None:
                    raise LoraError(f"{name} {value} is for a vote.", "Add --blind.")
            return
        if self.columns is not None and len(self.columns) != 2:
            raise LoraError(f"A vote is between two columns, not {len(self.columns)}.", "Such as --adapters base,NAME.")
        for name in self.criteria:
            if name not in CRITERIA:
                remedy = nearest(name, CRITERIA) or f"Known: {', '.join(CRITERIA)}."
                raise LoraError(f'scores cannot be "{name}".', remedy)

    def _check_selection(self) -> None:
        chosen = [name for name in _SELECTING if getattr(self, name) not in (None, False, "all")]
        if self.blind and chosen:
            raise LoraError(f"{chosen[0]} tells whose answers they are.", "Leave it out, or compare without --blind.")
        needs = [name for name in ("by", "sort") if getattr(self, name) is not None]
        needs += [f"show {self.show}"] if self.show in ("better", "worse") else []
        if needs and self.wanted == []:
            raise LoraError(f"{needs[0]} goes by a measure, and measures is none.", "Leave out --measures none.")

    @property
    def criteria(self) -> tuple[str, ...]:
        """What is scored from 1 to 5 beside the vote."""
        return tuple(names(self.scores) or ())

    @property
    def columns(self) -> list[str] | None:
        """The named columns, in order and once each; None when none were named."""
        return names(self.adapters)

    @property
    def wanted(self) -> list[str] | None:
        """The named measures; empty for none at all, None when they are to be chosen."""
        named = names(self.measures)
        return [] if named == [NO_MEASURES] else named


def _one_kind(values: list[Any] | tuple[Any, ...]) -> bool:
    return all(isinstance(one, str) for one in values) or all(isinstance(one, Mapping) for one in values)


def _filled(one: Any) -> bool:
    return bool(one.strip()) if isinstance(one, str) else bool(one)


def names(text: str | None) -> list[str] | None:
    """The names in a list with commas, in order and once each; None for None."""
    if text is None:
        return None
    return list(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
