"""What the magics and their twin functions return: plain values that show themselves.

No result holds a model, a tensor or a session, so keeping one in `Out` keeps no memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lora_magic.events import Evaluated, Stepped


class Shown:
    """A result that a notebook shows as HTML or PNG and a terminal as text."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Jupyter's hook; the drawing lives in `lora_magic.display`, which loads when first needed."""
        from lora_magic.display import bundle

        return bundle(self)

    def __str__(self) -> str:
        from lora_magic.display import text

        return text(self)


@dataclass(frozen=True, eq=False)
class LoadResult(Shown):
    """The base that is loaded now.

    Attributes:
        model: what the user asked for (`demo`, an id or a folder).
        architecture: the model class, such as `LlamaForCausalLM`.
        backend: "transformers" or "unsloth".
        device: such as "CPU (2 cores)" or "Tesla T4".
        bits: 4, 8, 16 or 32 a weight.
        dtype: what it computes in, such as "float16".
        reasons: (choice, why) pairs, such as ("float16", "T4: no bfloat16").
        parameters: of the base, counted unpacked.
        memory_bytes: what its weights take now.
        max_length: longest row in tokens.
        chat_template: "the model's own", or the name of the stated default.
        seconds: (phase, seconds) pairs: download, imports, weights.
    """

    model: str
    architecture: str
    backend: str
    device: str
    bits: int
    dtype: str
    reasons: tuple[tuple[str, str], ...]
    parameters: int
    memory_bytes: int
    max_length: int
    chat_template: str
    seconds: tuple[tuple[str, float], ...]


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


@dataclass(frozen=True, eq=False)
class TrainResult(Shown):
    """A finished (or interrupted) run.

    Attributes:
        name: the adapter's name, ready for `use`, `compare` and `merge`.
        model: the base it was trained on.
        losses: (step, training loss) pairs, nats a trained token.
        eval_losses: (step, held-out loss) pairs; step 0 is before training.
        adapter_path: the folder with adapter_config.json and adapter_model.safetensors.
        run_dir: the run's record.
        seconds: wall time of the training itself.
        trainable_parameters, total_parameters: counted on the model.
        reason: "completed", "interrupted" or "early stop".
        planned_steps: steps it was to make.
        header: label and value pairs, as in `Started`.
        steps, evaluations: the events themselves, for tables and plots.
        config: every setting as used.
        notes: lines worth reading, such as rows that were cut.
    """

    name: str
    model: str
    losses: tuple[tuple[int, float], ...]
    eval_losses: tuple[tuple[int, float], ...]
    adapter_path: Path
    run_dir: Path
    seconds: float
    trainable_parameters: int
    total_parameters: int
    reason: str
    planned_steps: int
    header: tuple[tuple[str, str], ...] = ()
    steps: tuple[Stepped, ...] = field(default=(), repr=False)
    evaluations: tuple[Evaluated, ...] = field(default=(), repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """True when the user stopped it before its planned end."""
        return self.reason == "interrupted"


@dataclass(frozen=True, eq=False)
class ComparisonRow:
    """One prompt and every column's answer.

    Attributes:
        prompt: what was asked (the last user turn).
        reference: the answer in the data, or None for a prompt of the user's own.
        outputs: answer by column name ("base" or an adapter's name), in column order.
        cut: names of the columns whose answer ended at the token limit.
    """

    prompt: str
    reference: str | None
    outputs: Mapping[str, str]
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Comparison(Shown):
    """Base and adapters side by side on the same prompts, seed and decoding.

    Attributes:
        model: the base.
        adapters: column names in order.
        rows: the prompts with their answers.
        source: where the prompts came from, such as "60 held-out rows of demo-json".
        decoding: label and value pairs, such as ("tokens at most", "128").
        seconds: generation time by column name.
    """

    model: str
    adapters: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    source: str
    decoding: tuple[tuple[str, str], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MergeResult(Shown):
    """A merged model on disk, with what the merge and its roundings changed.

    All differences are the largest absolute difference of any next-token logit over the probe prompts.

    Attributes:
        path: the folder, loadable by transformers alone.
        adapter: what was merged.
        base: the folder or id of the original weights.
        dtype: of the written weights.
        bytes_written: size of the safetensors files.
        merged_tensors: how many weights the adapter changed.
        max_logit_difference: merged in float32 against float32 base + adapter; None when not measured.
        stored_logit_difference: the written folder (in its dtype) against float32 base + adapter.
        trained_logit_difference: the written folder against the adapter on the base as it was trained
            (4-bit, say); None when that base is not loaded.
        quantisation_logit_difference: float32 base against the loaded base, no adapter on either.
        top_token_agreement: share of probe positions where the written folder and the adapter as trained
            agree on the next token.
        probes: prompts measured on.
        seconds: wall time.
        notes: lines worth reading, such as why something was not measured.
    """

    path: Path
    adapter: str
    base: str
    dtype: str
    bytes_written: int
    merged_tensors: int
    max_logit_difference: float | None
    stored_logit_difference: float | None
    trained_logit_difference: float | None
    quantisation_logit_difference: float | None
    top_token_agreement: float | None
    probes: int
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Status(Shown):
    """What the session holds.

    Attributes:
        base: the loaded base, or None.
        active: the adapter in use, or "base".
        adapters: (name, rank and method, path) of each adapter in memory.
        memory: label and value pairs.
    """

    base: LoadResult | None
    active: str
    adapters: tuple[tuple[str, str, str], ...]
    memory: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class RunSummary:
    """What a run's record says, as far as it can be read.

    Attributes:
        name: of its folder.
        path: its folder.
        began: when, in local time; None when nothing tells.
        model, data: what it was trained on; empty when the record does not say.
        config: the settings as used; empty when config.yaml cannot be read.
        losses: (step, training loss) pairs, nats a trained token.
        eval_losses: (step, held-out loss) pairs; step 0 is before training.
        step: optimiser steps made.
        planned_steps: steps it was to make; None when the record does not say.
        seconds: wall time until the last line of the record.
        reason: "completed", "interrupted", "early stop" or "failed"; "unfinished" when the record ends without
            saying so, because the kernel died or the run still goes on.
        message: what the run said at its end, such as why it failed.
        adapter_path: the folder of its adapter, or None when there is none.
        notes: what could not be read, and other lines worth reading.
    """

    name: str
    path: Path
    began: datetime | None = None
    model: str = ""
    data: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    losses: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    eval_losses: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    step: int = 0
    planned_steps: int | None = None
    seconds: float = 0.0
    reason: str = "unfinished"
    message: str = ""
    adapter_path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> tuple[int, float] | None:
        """The lowest held-out loss with its step, or None where none is a number."""
        numbers = [point for point in self.eval_losses if math.isfinite(point[1])]
        return min(numbers, key=lambda point: point[1], default=None)


@dataclass(frozen=True, eq=False)
class Runs(Shown):
    """Recorded runs with their curves over each other.

    Attributes:
        runs: the newest first, or in the order in which they were asked for.
        folder: where they were looked for.
        notes: what else lies there that is no run.
    """

    runs: tuple[RunSummary, ...]
    folder: Path
    notes: tuple[str, ...] = ()
