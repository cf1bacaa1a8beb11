"""From a run's settings to tokens with labels, before any model is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.config import TrainConfig
from lora_magic.dataset.examples import Example, examples
from lora_magic.dataset.sources import Source, read
from lora_magic.dataset.split import split
from lora_magic.dataset.tokens import Tokenised, tokenise
from lora_magic.errors import LoraError

MOST_HELD_OUT = 256


@dataclass(frozen=True)
class Prepared:
    """What a run trains on.

    Attributes:
        source: the data's name.
        training: token rows with labels.
        held_out: token rows to measure on, or None.
        held_out_examples: the same rows as chat turns, for the comparison.
        notes: lines worth reading.
    """

    source: str
    training: Tokenised
    held_out: Tokenised | None
    held_out_examples: tuple[Example, ...]
    notes: tuple[str, ...]


def prepare(
    config: TrainConfig,
    tokenizer: Any,
    max_length: int,
    variables: Mapping[str, object],
    embedded: Mapping[str, Path],
) -> Prepared:
    """Read, recognise, split and tokenise.

    Args:
        config: data, eval_split and system are read.
        tokenizer: the base's.
        max_length: longest row in tokens.
        variables: the notebook's, by name.
        embedded: folders of the embedded data sets, by name.

    Raises:
        LoraError: nothing to read, nothing usable, or nothing left to train on.
    """
    source = (
        config.data if isinstance(config.data, Source) else read(config.data, variables=variables, embedded=embedded)
    )
    rows, form, notes = examples(source.rows, system=config.system)
    training, held_out = _sides(config, source, rows)
    if not training:
        raise LoraError(f"{source.name}: no rows are left to train on.", "Give more rows, or --eval-split 0.")
    cut = tokenise(training, tokenizer, max_length=max_length)
    kept, problems = _held_out_tokens(held_out, tokenizer, max_length)
    if kept is None and config.early_stop:
        problems = (*problems, "no rows are held out, so the run cannot stop early")
    said = (f"{source.name}: {len(rows):,} rows, {form.name}", *source.notes, *notes, *cut.notes, *problems)
    return Prepared(source.name, cut, kept, tuple(held_out), said)


def _held_out_tokens(rows: list[Example], tokenizer: Any, max_length: int) -> tuple[Tokenised | None, tuple[str, ...]]:
    if not rows:
        return None, ()
    try:
        made = tokenise(rows, tokenizer, max_length=max_length)
    except LoraError as error:
        return None, (f"the held-out rows cannot be measured on: {error.problem}",)
    return made, tuple(f"held out: {note}" for note in made.notes)


def _sides(config: TrainConfig, source: Source, rows: list[Example]) -> tuple[list[Example], list[Example]]:
    if config.eval_split == 0:
        return rows, []
    if source.held_out:
        return rows, examples(source.held_out, system=config.system)[0][:MOST_HELD_OUT]
    return split(rows, config.eval_split)
