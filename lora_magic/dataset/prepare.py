"""From a run's settings to tokens with labels, before any model is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lora_magic.config.data import DataOptions
from lora_magic.dataset import split as parts
from lora_magic.dataset.encode import threads_for
from lora_magic.dataset.examples import Example, examples
from lora_magic.dataset.sources import Source, read
from lora_magic.dataset.template import read_template
from lora_magic.dataset.tokens import Tokenised, TrainOn, tokenise
from lora_magic.errors import LoraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lora_magic.dataset.examples import Examples
    from lora_magic.dataset.files import Rows

MOST_HELD_OUT = 256


@dataclass(frozen=True)
class Prepared:
    """What a run trains on.

    Attributes:
        source: where the rows came from.
        training: token rows with labels.
        held_out: token rows to measure on, or None.
        held_out_examples: the same rows as chat turns, for the comparison.
        notes: lines worth reading.
        content_hash: of all rows that can be used, in hex; the same in any order, another for other contents.
        template: the chat template of the user's own, for generation as well; None for the model's own.
    """

    source: Source
    training: Tokenised
    held_out: Tokenised | None
    held_out_examples: tuple[Example, ...]
    notes: tuple[str, ...]
    content_hash: str
    template: str | None = None


def prepare(
    options: DataOptions,
    tokenizer: Any,
    max_length: int,
    variables: Mapping[str, object],
    embedded: Mapping[str, Path],
) -> Prepared:
    """Read, recognise, split and tokenise.

    Args:
        options: which rows, and how they are read.
        tokenizer: the base's.
        max_length: longest row in tokens.
        variables: the notebook's, by name.
        embedded: folders of the embedded data sets, by name.

    Raises:
        LoraError: nothing to read, nothing usable, or nothing left to train on.
    """
    template = read_template(options.template, tokenizer) if options.template else None
    sides = read_sides(options, variables, embedded)
    made = tokenise(
        sides.training, tokenizer, max_length=max_length, train_on=cast("TrainOn", options.train_on),
        processes=threads_for(len(sides.training)), template=template,
    )  # fmt: skip
    kept, problems = _held_out_tokens(sides.held_out, options, tokenizer, max_length, template)
    source, rows = sides.source, sides.rows
    found = f"{source.name}: {len(source.rows):,} rows, {rows.format.name}"
    notes = (found, *source.notes, *rows.notes, *sides.notes, *made.notes, *problems)
    return Prepared(source, made, kept, tuple(sides.held_out), notes, sides.content_hash, template)


@dataclass(frozen=True)
class Sides:
    """A source's examples, parted into what is trained on and what is measured on.

    Attributes:
        source: where the rows came from.
        rows: all of its usable examples.
        training: those that are trained on; never empty.
        held_out: those that are measured on, at most 256.
        apart: whether the held-out rows are no part of `rows`, with row numbers of their own.
        content_hash: see `Prepared`.
        notes: what was found about the held-out rows.
    """

    source: Source
    rows: Examples
    training: parts.Examples
    held_out: list[Example]
    apart: bool
    content_hash: str
    notes: tuple[str, ...] = ()


def read_sides(options: DataOptions, variables: Mapping[str, object], embedded: Mapping[str, Path]) -> Sides:
    """Reads and recognises rows, and holds some of them out.

    Held out are the user's own rows for that, else the source's, else a share; with `--eval-split 0` none.

    Args:
        options: which rows, and how they are read.
        variables: the notebook's, by name.
        embedded: folders of the embedded data sets, by name.

    Raises:
        LoraError: nothing to read, nothing usable, or nothing left to train on.
    """
    source = _source(options.data, variables, embedded)
    rows = _examples(source.rows, options)
    keys = parts.content_keys(rows)
    if options.eval_data is not None:
        return _with_own(source, rows, keys, _source(options.eval_data, variables, embedded), options)
    if options.eval_split and source.held_out is not None:
        return _with_own(source, rows, keys, Source(f"{source.name}: held out", source.held_out), options)
    training, held_out = parts.split(rows, options.eval_split, keys) if options.eval_split else (rows, [])
    if not len(training):
        raise LoraError(f"{source.name}: no rows are left to train on.", "Give more rows, or --eval-split 0.")
    return Sides(source, rows, training, held_out, False, parts.content_hash(keys), _asked_twice(training, held_out))


def _source(data: object, variables: Mapping[str, object], embedded: Mapping[str, Path]) -> Source:
    return data if isinstance(data, Source) else read(data, variables=variables, embedded=embedded)


def _examples(rows: Rows, options: DataOptions) -> Examples:
    return examples(rows, system=options.system, columns=options.columns)


def _with_own(source: Source, rows: Examples, keys: NDArray[np.void], own: Source, options: DataOptions) -> Sides:
    """The sides where held-out rows came by themselves; the first 256 of them are measured on."""
    found = _examples(own.rows, options)
    held_out = list(islice(found, MOST_HELD_OUT))
    held_out_keys = parts.content_keys(held_out)
    notes = [f"held out: {note}" for note in (*own.notes, *found.notes)]
    if len(found) > len(held_out):
        notes.append(f"held out: the first {len(held_out)} of {len(found):,} rows of {own.name}")
    both = parts.shared_rows(keys, held_out_keys)
    if both:
        rows_are = "row is" if both == 1 else "rows are"
        notes.append(f"{both:,} training {rows_are} also held out: the held-out loss looks better than it is")
    notes += _asked_twice(rows, held_out)
    return Sides(source, rows, rows, held_out, True, parts.content_hash(keys, held_out_keys), tuple(notes))


def _asked_twice(training: parts.Examples, held_out: list[Example]) -> tuple[str, ...]:
    """A note on held-out rows whose question is trained on with another answer.

    Rows that are made anew each time are not looked at: it would be one more reading of a large file.
    """
    if getattr(training, "is_lazy", not isinstance(training, Sequence)):
        return ()
    asked, whole = {row.context for row in training if not row.is_text}, {row.turns for row in training}
    twice = sum(not row.is_text and row.context in asked and row.turns not in whole for row in held_out)
    if not twice:
        return ()
    said = "1 held-out row asks" if twice == 1 else f"{twice:,} held-out rows ask"
    return (f"{said} what is trained on with another answer: their numbers may look better than they are",)


def _held_out_tokens(
    rows: list[Example], options: DataOptions, tokenizer: Any, max_length: int, template: str | None
) -> tuple[Tokenised | None, tuple[str, ...]]:
    if not rows:
        return None, ()
    train_on = cast("TrainOn", options.train_on)
    try:
        made = tokenise(rows, tokenizer, max_length=max_length, train_on=train_on, template=template)
    except LoraError as error:
        return None, (f"the held-out rows cannot be measured on: {error.problem}",)
    return made, tuple(f"held out: {note}" for note in made.notes)
