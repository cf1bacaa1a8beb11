"""What a training run would make of some rows, before there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress, islice, repeat
from pathlib import Path
from typing import Any, cast, overload

from lora_magic.config import DataConfig
from lora_magic.dataset.encode import threads_for
from lora_magic.dataset.examples import Example
from lora_magic.dataset.hygiene import check, tasks, write_fixed
from lora_magic.dataset.prepare import Sides, read_sides
from lora_magic.dataset.row_lengths import spread
from lora_magic.dataset.sources import Source
from lora_magic.dataset.template import chat_template, read_template
from lora_magic.dataset.tokens import Tokenised, TrainOn, tokenise
from lora_magic.errors import LoraError
from lora_magic.results import DataExample, DataIssue, DataReport, FixedCopy

LOOKED_AT = 20_000
"""Rows of a larger source that are tokenised and checked, evenly spread over it."""

FIRST = 100
_LONGEST_CLUSTER = 8


def report(
    config: DataConfig,
    tokenizer: Any,
    of_model: str,
    max_length: int,
    variables: Mapping[str, object],
    embedded: Mapping[str, Path],
) -> DataReport:
    """Reads, recognises, splits, tokenises and checks rows as a run would, and cleans them where asked to.

    Args:
        config: which rows, and how they are read.
        tokenizer: whose tokens and chat template count.
        of_model: what that model is called.
        max_length: longest row in tokens.
        variables: the notebook's, by name.
        embedded: folders of the embedded data sets, by name.

    Raises:
        LoraError: nothing to read, nothing usable, nothing to train on, or a cleaned copy that cannot be written.
    """
    template = read_template(config.template, tokenizer) if config.template else None
    sides = read_sides(config, variables, embedded)
    looked_at = _sample(sides)
    made = tokenise(
        looked_at, tokenizer, max_length=max_length, train_on=cast("TrainOn", config.train_on),
        processes=threads_for(len(looked_at)), template=template,
    )  # fmt: skip
    source, rows = sides.source, sides.rows
    training, held_out = _used(sides, looked_at, made)
    notes = [*source.notes, *rows.notes, *sides.notes, *made.notes]
    if len(looked_at) < len(sides.training) + len(sides.held_out):
        notes.insert(0, f"tokens and checks are of {len(looked_at):,} rows, evenly spread over the source")
    return DataReport(
        name=source.name, format=rows.format.name, why=rows.format.why, columns=rows.format.columns,
        unused=rows.format.unused, rows=len(source.rows), training_rows=training, held_out_rows=held_out,
        tokenizer=of_model,
        template=config.template or chat_template(tokenizer)[1], max_length=max_length,
        token_counts=[int(length) for length in made.lengths if length], trained_fraction=_share(made),
        cut_rows=made.cut, lost_tokens=made.lost_tokens, dropped_rows=made.dropped + made.refused,
        looked_at=len(looked_at), examples=LazyExamples(looked_at, made, tokenizer), shown=config.show,
        issues=_issues(config, sides, looked_at, made, max_length), tasks=_tasks(sides, looked_at, made),
        notes=tuple(notes), fixed=_fixed(config, source),
    )  # fmt: skip


def _sample(sides: Sides) -> list[Example]:
    """Training rows, all or the first and evenly spread ones, and the held-out rows, in the source's order."""
    number = len(sides.training)
    sampled = chain(repeat(True, FIRST), spread(number - FIRST, LOOKED_AT))
    chosen = compress(sides.training, sampled) if number > LOOKED_AT else sides.training
    found = [*chosen, *sides.held_out]
    return found if sides.apart else sorted(found, key=lambda example: example.row)


def _used(sides: Sides, looked_at: Sequence[Example], made: Tokenised) -> tuple[int, int]:
    """Rows that a run trains on and measures on; of sampled training rows as their share of usable ones tells."""
    held_out, kept = {id(example) for example in sides.held_out}, set(made.positions.tolist())
    sampled = len(looked_at) - len(held_out)
    of_held_out = sum(id(looked_at[position]) in held_out for position in kept)
    share = (len(kept) - of_held_out) / sampled if sampled else 0.0
    return round(len(sides.training) * share), of_held_out


def _share(made: Tokenised) -> float:
    total = len(made.rows.tokens)
    return float(made.trained.sum() / total) if total else 0.0


def _issues(
    config: DataConfig, sides: Sides, looked_at: Sequence[Example], made: Tokenised, max_length: int
) -> tuple[DataIssue, ...]:
    return check(
        looked_at, sides.held_out, made.lengths.tolist(), rank=config.rank, max_length=max_length,
        skipped=sides.rows.skipped, skipped_count=sides.rows.skipped_count,
    )  # fmt: skip


def _tasks(sides: Sides, looked_at: Sequence[Example], made: Tokenised) -> tuple[tuple[str, int, float], ...]:
    apart = {id(example) for example in sides.held_out} if sides.apart else set()
    tokens = {
        example.row: int(length)
        for example, length in zip(looked_at, made.lengths, strict=True)
        if id(example) not in apart
    }
    first = list(islice(sides.source.rows, max(tokens, default=0) if len(tokens) < LOOKED_AT else LOOKED_AT))
    return tasks(first, tokens, used=[column for _, column in sides.rows.format.columns])


def _fixed(config: DataConfig, source: Source) -> FixedCopy | None:
    if config.fix is None:
        return None
    named = source.kind in ("file", "folder", "pattern")
    origin = Path(source.reference) if named else None
    out = Path(config.fix) if config.fix else _beside(origin, source)
    return write_fixed(source.rows, config.columns, out, overwrite=config.overwrite, source_path=origin)


def _beside(origin: Path | None, source: Source) -> Path:
    """Where the cleaned copy goes unless a file is named: beside a file, else in the working folder."""
    if origin is not None and origin.is_file():
        return origin.with_name(f"{origin.name.partition('.')[0]}.fixed.jsonl")
    if source.kind in ("variable", "embedded"):
        return Path(f"{source.reference}.fixed.jsonl")
    raise LoraError("The cleaned copy needs a name.", "Write --fix NAME.jsonl.")


class LazyExamples(Sequence[DataExample]):
    """The rows looked at, token by token; each is made when it is asked for.

    Args:
        looked_at: the examples.
        made: their tokens; examples that no token of can be trained on are not among the rows.
        tokenizer: spells the tokens.
    """

    def __init__(self, looked_at: Sequence[Example], made: Tokenised, tokenizer: Any) -> None:
        self._looked_at, self._made, self._tokenizer = looked_at, made, tokenizer
        self._special = set(tokenizer.all_special_ids)
        self._special |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}

    def __len__(self) -> int:
        return len(self._made.rows)

    @overload
    def __getitem__(self, index: int) -> DataExample: ...
    @overload
    def __getitem__(self, index: slice) -> list[DataExample]: ...
    def __getitem__(self, index: int | slice) -> DataExample | list[DataExample]:
        """A row, or a list of them."""
        if isinstance(index, slice):
            return [self._example(place) for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._example(index % len(self))

    def __iter__(self) -> Iterator[DataExample]:
        return map(self._example, range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self):,} rows>"

    def _example(self, place: int) -> DataExample:
        row = self._made.rows[place]
        position = int(self._made.positions[place])
        example = self._looked_at[position]
        return DataExample(
            row=example.row, turns=tuple((turn.role, turn.content) for turn in example.turns),
            token_ids=tuple(row.input_ids), trained=tuple(label >= 0 for label in row.labels),
            tokens=tuple(spelled(self._tokenizer, row.input_ids)),
            cut=int(self._made.lengths[position]) - len(row.input_ids),
            special=tuple(token in self._special for token in row.input_ids),
        )  # fmt: skip


def spelled(tokenizer: Any, ids: Iterable[int]) -> list[str]:
    """Each token as text; where several share a character, the first has it and the others are empty."""
    texts: list[str] = []
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = tokenizer.decode(waiting, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if text.endswith("\ufffd") and len(waiting) < _LONGEST_CLUSTER:
            continue
        texts += [text, *[""] * (len(waiting) - 1)]
        waiting = []
    return [*texts, *(tokenizer.decode([token]) for token in waiting)]
