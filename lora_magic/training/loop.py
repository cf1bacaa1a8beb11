"""One training loop: the trainer's arguments, its run, and how it ended."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.backends.base import Base
from lora_magic.backends.garbage import old_objects_set_aside
from lora_magic.backends.stack import import_stack
from lora_magic.config import TrainConfig
from lora_magic.dataset.collate import StepRows, gather
from lora_magic.dataset.prepare import Prepared
from lora_magic.dataset.tokens import Tokenised
from lora_magic.errors import Interrupted
from lora_magic.events import Event, Recovered
from lora_magic.planning.hardware import used_gib
from lora_magic.planning.length import epoch_steps, run_steps, whole
from lora_magic.planning.run_plan import Plan
from lora_magic.seeding import seeded
from lora_magic.training.best import Best
from lora_magic.training.callback import Progressed, bridge
from lora_magic.training.interrupt import Interrupt, Stopped
from lora_magic.training.probe import largest_pass
from lora_magic.training.stepper import Stepper

EVALUATIONS = 6
MEASURED_AT_ONCE = 32
"""Held-out rows that are sorted by length together; how many are computed at once is the plan's."""


@dataclass(frozen=True)
class Schedule:
    """How long a run is, in optimiser steps.

    Attributes:
        steps: until the end.
        epochs: passes over the rows that makes.
        eval_every: steps between held-out losses, or 0 for none.
        warmup: steps that warm up.
    """

    steps: int
    epochs: float
    eval_every: int
    warmup: int


def schedule(config: TrainConfig, training_rows: int, held_out_rows: int) -> Schedule:
    """The run's length from its settings and the number of rows."""
    steps = config.max_steps or run_steps(training_rows, config.batch, config.epochs)
    every = config.eval_every or max(1, math.ceil(steps / EVALUATIONS))
    warmup = round(config.warmup) if config.warmup >= 1 else whole(config.warmup * steps)
    epochs = steps / epoch_steps(training_rows, config.batch)
    return Schedule(steps, epochs, min(every, steps) if held_out_rows else 0, min(warmup, steps))


def arguments(config: TrainConfig, length: Schedule, plan: Plan, base: Base, folder: Path) -> Any:
    """trl's SFTConfig for this run; data preparation, saving, logging elsewhere and bars are all off."""
    facts = base.facts
    on_gpu = facts.hardware.kind == "cuda"
    made = import_stack().SFTConfig(
        output_dir=str(folder), per_device_train_batch_size=plan.batch, per_device_eval_batch_size=MEASURED_AT_ONCE,
        gradient_accumulation_steps=1,
        max_steps=length.steps, learning_rate=config.lr, lr_scheduler_type=config.scheduler,
        warmup_steps=length.warmup, optim=plan.optimizer, weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm, seed=config.seed, data_seed=config.seed, use_cpu=not on_gpu,
        fp16=on_gpu and facts.dtype == "float16", bf16=facts.dtype == "bfloat16",
        gradient_checkpointing=False,
        eval_strategy="steps" if length.eval_every else "no", eval_steps=length.eval_every or None,
        eval_on_start=bool(length.eval_every), logging_steps=1, logging_nan_inf_filter=False, save_strategy="no",
        report_to="none", disable_tqdm=True, dataloader_pin_memory=False, remove_unused_columns=False,
        max_length=None, packing=False, loss_type="nll", dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    made._n_gpu = min(made.n_gpu, 1)  # the base lives on one card, however many are visible
    return made


def run(
    base: Base,
    key: str,
    config: TrainConfig,
    prepared: Prepared,
    plan: Plan,
    length: Schedule,
    folder: Path,
    progressed: Progressed,
    emit: Callable[[Event], None],
) -> Best | None:
    """Train the attached adapter `key` to the end, to an early stop or to an interrupt.

    The adapter is left as of the last finished step, or as of the best one where early stopping was asked for.

    Args:
        progressed: filled as the run goes; its `reason` says how it ended.
        emit: hands events to the listeners.

    Returns:
        The keeper of the best adapter, or None without early stopping.

    Raises:
        Interrupted: stopped before the first step.
    """
    best = Best(config.early_stop) if config.early_stop and length.eval_every else None
    try:
        with Interrupt() as interrupt, seeded(config.seed):
            callback = bridge(import_stack(), progressed, emit, interrupt, best, lambda: used_gib(base.facts.hardware))
            rows = _dataset(prepared.training)
            stepper = Stepper(
                base, key, plan, lambda what: emit(Recovered(progressed.last_step + 1, what)), interrupt.safe_point,
                _probe(base, plan, prepared.training, rows, seed=config.seed, steps=length.steps),
            )  # fmt: skip
            trainer = base.trainer(
                key, args=arguments(config, length, plan, base, folder), train_dataset=rows,
                eval_dataset=_dataset(prepared.held_out) if length.eval_every else None,
                data_collator=gather, callbacks=[callback], stepper=stepper,
            )  # fmt: skip
            callback.trainer = trainer
            with old_objects_set_aside():
                trainer.train()
    except Stopped:
        progressed.reason = "interrupted"
    finally:
        base.after_training()
    if progressed.reason == "interrupted" and progressed.last_step == 0:
        raise Interrupted("The run was stopped before its first step.", "Model and adapters are as they were.")
    if progressed.reason == "interrupted" and progressed.last_step == length.steps:
        progressed.reason = "completed"
    if best is not None and progressed.reason != "interrupted":
        best.restore()
    return best


def _probe(base: Base, plan: Plan, tokens: Tokenised, rows: Any, *, seed: int, steps: int) -> StepRows | None:
    """The run's largest pass; None on a CPU, where a process that runs out of memory is not asked."""
    if base.facts.hardware.kind == "cpu":
        return None
    chosen = largest_pass(tokens.rows.lengths.tolist(), plan.ways[0], plan.batch, seed=seed, steps=steps)
    return StepRows([rows[i] for i in chosen])


def _dataset(tokens: Tokenised | None) -> Any:
    """The rows as the trainer wants them, over the flat arrays themselves: nothing is copied."""
    import pyarrow
    from datasets import Dataset
    from datasets.table import InMemoryTable

    if tokens is None:
        return Dataset.from_dict({"input_ids": [], "labels": []})
    rows = tokens.rows
    offsets = pyarrow.array(rows.offsets)
    columns = {
        name: pyarrow.LargeListArray.from_arrays(offsets, pyarrow.array(values))
        for name, values in (("input_ids", rows.tokens), ("labels", rows.labels()))
    }
    return Dataset(InMemoryTable(pyarrow.table(columns)), fingerprint=uuid.uuid4().hex)
