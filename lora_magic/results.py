"""What the magics and their twin functions return: plain values that show themselves.

No result holds a model, a tensor or a session, so keeping one in `Out` keeps no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
