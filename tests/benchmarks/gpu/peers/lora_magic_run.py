"""This project on the same rows as the peers: `load` and `train`, the plan left to itself.

python -m tests.benchmarks.gpu.peers.lora_magic_run MODEL DATA.jsonl [--mask answers] [--backend transformers]

Rows of one length (`--length`) are text here, cut by tokens at that length; every token is trained on in them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.gpu import machine
from tests.benchmarks.gpu.peers import common

BACKENDS = ("unsloth", "transformers")


def data(asked: argparse.Namespace, tokenizer: Any) -> list[dict[str, str]]:
    """The peers' rows before a template is put on them, or text that is a little longer than a row may be."""
    if not asked.length:
        lines = asked.data.read_text(encoding="utf-8").splitlines()[: asked.steps * common.BATCH]
        turns = (common.messages(json.loads(line)) for line in lines)
        return [{"question": question["content"], "answer": answer["content"]} for question, answer in turns]
    longer = argparse.Namespace(**{**vars(asked), "length": asked.length + 32})
    return [{"text": tokenizer.decode(row["input_ids"])} for row in common.rows(longer, tokenizer)]


class Listener:
    """Tells the clock of each step: its tokens from the rate that the run reports."""

    def __init__(self, clock: common.Clock) -> None:
        self._clock, self._seconds, self._tokens = clock, 0.0, 0.0

    def __call__(self, event: Any) -> None:
        """Take one of the run's events."""
        from lora_magic.events import Stepped

        if isinstance(event, Stepped):
            self._tokens += event.tokens_per_second * (event.seconds - self._seconds)
            self._clock.steps.append((time.time(), round(self._tokens)))
            self._clock.losses.append(event.loss)
            self._seconds = event.seconds


def main() -> None:
    """Train and print the line."""
    asked = common.options(
        __doc__ or "", backend={"choices": BACKENDS, "default": "unsloth"},
        micro_batch={"type": int, "help": "pins it"}, checkpointing={"default": "auto", "help": "pins it"},
    )  # fmt: skip
    asked.data, asked.model = asked.data.resolve(), str(Path(asked.model).resolve())
    os.chdir(tempfile.mkdtemp())
    from lora_magic.backends.stack import import_stack
    from lora_magic.config import LoadConfig, TrainConfig
    from lora_magic.display.progress import Progress
    from lora_magic.session import Session

    import_stack(asked.backend)
    common.turn(asked)
    machine.hold(asked.limit_gib)
    import torch

    session = Session()
    with Progress("loading") as progress:
        session.load(LoadConfig(asked.model, backend=asked.backend, bits=4, dtype="float16"), progress)
    clock = common.Clock()
    config = TrainConfig(
        name="measured", data=data(asked, session.base.tokenizer), rank=common.RANK, alpha=common.RANK,
        batch=common.BATCH, max_steps=asked.steps, eval_split=0, warmup=0, scheduler="linear", weight_decay=0.001,
        train_on="all" if asked.mask == "all" else "assistant", max_length=asked.length or 2048,
        micro_batch=asked.micro_batch, checkpointing=asked.checkpointing,
    )  # fmt: skip
    torch.cuda.reset_peak_memory_stats()
    told: list[str] = []
    result = session.train(config, [Listener(clock)], {}, told.append)
    header = dict(result.header)
    clock.report(
        f"lora_magic ({asked.backend})", asked, plan=next((line for line in told if line.startswith("plan: ")), ""),
        planned_peak=header.get("planned peak", ""),
    )  # fmt: skip


if __name__ == "__main__":
    main()
