"""How many rows a run would train on and how long they are, from a sample of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, cast

from lora_magic.config.data import DataOptions
from lora_magic.dataset.encode import threads_for
from lora_magic.dataset.examples import Example
from lora_magic.dataset.prepare import read_sides
from lora_magic.dataset.template import read_template
from lora_magic.dataset.tokens import TrainOn, tokenise

LOOKED_AT = 2_000
"""Rows of a larger source that are counted, evenly spread over it: a mean within about 2% where lengths spread as
widely as they are long on average."""
CHARACTERS_A_TOKEN = 4.0
"""English text with the vocabularies of today's models, roughly."""
TOKENS_A_TURN = 8
"""What a chat template writes around a turn, roughly."""


@dataclass(frozen=True)
class RowLengths:
    """What a run's rows are like.

    Attributes:
        name: of the source.
        rows: that are trained on; of a sample, as its share of usable ones tells.
        mean: tokens of a row, as cut to the longest length.
        longest: tokens of the longest row looked at, as cut.
        looked_at: rows that were counted.
    """

    name: str
    rows: int
    mean: float
    longest: int
    looked_at: int


def row_lengths(
    options: DataOptions,
    tokenizer: Any | None,
    max_length: int,
    variables: Mapping[str, object],
    embedded: Mapping[str, Path],
) -> RowLengths:
    """Reads and splits rows as a run would, and counts the tokens of up to 2,000 of them.

    Args:
        options: which rows, and how they are read.
        tokenizer: whose tokens count; None takes four characters for a token.
        max_length: longest row in tokens.
        variables: the notebook's, by name.
        embedded: folders of the embedded data sets, by name.

    Raises:
        LoraError: nothing to read, nothing usable, or nothing to train on.
    """
    sides = read_sides(options, variables, embedded)
    rows = len(sides.training)
    chosen = list(compress(sides.training, spread(rows, LOOKED_AT)))
    if tokenizer is None:
        counts = [min(_guessed(example), max_length) for example in chosen]
    else:
        template = read_template(options.template, tokenizer) if options.template else None
        made = tokenise(
            chosen, tokenizer, max_length=max_length, train_on=cast("TrainOn", options.train_on),
            processes=threads_for(len(chosen)), template=template,
        )  # fmt: skip
        counts = made.rows.lengths.tolist()
        rows = round(rows * len(counts) / len(chosen))
    return RowLengths(sides.source.name, rows, sum(counts) / len(counts), max(counts), len(chosen))


def spread(rows: int, most: int) -> Iterator[bool]:
    """Which of so many rows to look at: one of each stretch, at a place that no pattern in the rows can meet."""
    step, chance = -(-rows // most), random.Random(0)
    for start in range(0, rows, step):
        size = min(step, rows - start)
        place = chance.randrange(size)
        yield from (number == place for number in range(size))


def _guessed(example: Example) -> int:
    characters = sum(len(turn.content) for turn in example.turns)
    return max(1, round(characters / CHARACTERS_A_TOKEN) + TOKENS_A_TURN * len(example.turns))
