"""What `%lora_data` found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lora_magic.results.shown import Shown


@dataclass(frozen=True, eq=False)
class DataExample:
    """One row as the model will see it.

    Attributes:
        row: its number in the source, from 1.
        turns: (role, content) pairs.
        token_ids: all its tokens, as cut to the longest row.
        trained: as long: whether the loss is taken on the token.
        tokens: as long: each token as text for reading, special ones spelled out.
        cut: tokens that the longest row cut off.
        special: as long: whether the tokenizer counts it as a special token; empty to go by its look.
    """

    row: int
    turns: tuple[tuple[str, str], ...]
    token_ids: tuple[int, ...]
    trained: tuple[bool, ...]
    tokens: tuple[str, ...] = ()
    cut: int = 0
    special: tuple[bool, ...] = ()


@dataclass(frozen=True, eq=False)
class DataIssue:
    """One kind of thing that is wrong or worth knowing about the rows.

    Attributes:
        kind: such as "exact duplicates".
        severity: "error" (training on it would be wrong), "warning" or "note".
        count: rows it concerns.
        effect: what it does to training, a sentence.
        remedy: what to do about it, a sentence.
        examples: (row number from 1, excerpt) pairs, a few.
        fixed_by: what `--fix` does about it; "" for nothing.
    """

    kind: str
    severity: str
    count: int
    effect: str
    remedy: str
    examples: tuple[tuple[int, str], ...] = ()
    fixed_by: str = ""


@dataclass(frozen=True, eq=False)
class DataReport(Shown):
    """What a training run would make of some rows.

    Attributes:
        name: the file, folder, variable or set.
        format: such as "question/answer".
        why: how the format was recognised, a sentence.
        columns: (what it holds, column) pairs of the columns used.
        unused: columns that are not.
        rows: rows in the source, unusable ones too.
        training_rows, held_out_rows: rows on either side of the split.
        tokenizer: whose tokens and chat template these are.
        template: "the model's own", a file, or the name of the stated default.
        max_length: longest row in tokens.
        token_counts: tokens of every row looked at, before any cut.
        trained_fraction: share of the tokens of the rows looked at that the loss is taken on.
        cut_rows: rows that are cut at `max_length`. lost_tokens: trained tokens that this loses.
        dropped_rows: rows with no trained token left, which are not trained on.
        looked_at: rows that tokens and checks were made of; fewer than `rows` in a large source.
        examples: rows looked at, token by token; made when read.
        shown: how many of them are drawn.
        issues: what was found, gravest first.
        tasks: (value, rows, mean tokens) of a column that says which kind of task a row is; empty without one.
        notes: what was decided on the way, a sentence each.
        fixed: the cleaned copy and the record of its changes, or None.
    """

    name: str
    format: str
    why: str
    columns: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]
    rows: int
    training_rows: int
    held_out_rows: int
    tokenizer: str
    template: str
    max_length: int
    token_counts: Sequence[int] = field(repr=False)
    trained_fraction: float
    cut_rows: int
    lost_tokens: int
    dropped_rows: int
    looked_at: int
    examples: Sequence[DataExample] = field(repr=False)
    shown: int = 3
    issues: tuple[DataIssue, ...] = ()
    tasks: tuple[tuple[str, int, float], ...] = ()
    notes: tuple[str, ...] = ()
    fixed: FixedCopy | None = None


@dataclass(frozen=True, eq=False)
class FixedCopy:
    """A cleaned copy of a source.

    Attributes:
        path: the copy, JSON Lines with the source's own columns.
        changes_path: JSON Lines, one a change: row, kind, and what it was.
        rows: rows in the copy.
        changes: (kind, rows) pairs.
    """

    path: Path
    changes_path: Path
    rows: int
    changes: tuple[tuple[str, int], ...]
