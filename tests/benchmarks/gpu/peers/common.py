"""What the peers share: options, rows, a clock, and the one line of JSON that each prints."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import time
from pathlib import Path
from types import MethodType
from typing import Any

from tests.benchmarks.gpu import machine

BEGAN = time.time()
WAITED = [0.0]
BATCH = 8
RANK = 16


def options(description: str, **more: dict[str, Any]) -> argparse.Namespace:
    """The options of a peer, `more` among them by name, and an environment without network or statistics."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", help="a folder")
    parser.add_argument("data", type=Path, help="JSON Lines of question/answer or instruction/input/output")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--mask", choices=("all", "answers"), default="all", help="train on all tokens or on answers")
    parser.add_argument("--length", type=int, default=0, help="rows of exactly this many tokens, rows joined and cut")
    parser.add_argument("--limit-gib", type=float, default=machine.LIMIT_GIB, help="of the allocator; 0 is none")
    parser.add_argument("--turn", type=Path, help="import at once, then wait for this file's lock: one peer at a time")
    for name, kind in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **kind)
    os.environ["HF_HUB_OFFLINE"] = os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    return parser.parse_args()


def turn(asked: argparse.Namespace) -> None:
    """Wait until the card is this process's alone, where it was told to; its lock goes with the process."""
    if asked.turn is None:
        return
    asked_at, file = time.time(), asked.turn.open("a")
    fcntl.flock(file, fcntl.LOCK_EX)
    asked.lock = file
    WAITED[0] = time.time() - asked_at


def messages(row: dict[str, str]) -> list[dict[str, str]]:
    """A row as a user's turn and the assistant's."""
    question = row.get("question") or "\n\n".join(part for part in (row.get("instruction"), row.get("input")) if part)
    answer = row.get("answer") or row["output"]
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def rows(asked: argparse.Namespace, tokenizer: Any) -> list[dict[str, Any]]:
    """As many rows as the steps take: text as the documentation has it, or tokens with labels where the mask is fixed.

    Tokens and labels are the same for every peer: "answers" leaves out the prompt, "all" nothing.
    """
    lines = [json.loads(line) for line in asked.data.read_text(encoding="utf-8").splitlines()]
    wanted = asked.steps * BATCH
    if asked.mask == "all" and not asked.length:
        texts = (tokenizer.apply_chat_template(messages(row), tokenize=False) for row in lines[:wanted])
        return [{"text": text} for text in texts]
    made = [labelled(messages(row), asked.mask, tokenizer) for row in (lines if asked.length else lines[:wanted])]
    return joined(made, asked.length)[:wanted] if asked.length else made


def labelled(turns: list[dict[str, str]], mask: str, tokenizer: Any) -> dict[str, list[int]]:
    """Tokens of a conversation, and labels that leave the prompt out under "answers"."""
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    prompt = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) if mask == "answers" else 0
    return {"input_ids": ids, "labels": [-100] * start + ids[start:]}


def joined(made: list[dict[str, list[int]]], length: int) -> list[dict[str, list[int]]]:
    """Rows of exactly `length` tokens, cut from all of them end to end."""
    ids = [token for row in made for token in row["input_ids"]]
    labels = [label for row in made for label in row["labels"]]
    return [
        {"input_ids": ids[start : start + length], "labels": labels[start : start + length]}
        for start in range(0, len(ids) - length + 1, length)
    ]


def float_adapter(model: Any) -> None:
    """Trained weights in float32: trl makes a quantised model's bfloat16, which float16's scaler cannot take."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


class Clock:
    """Times, input tokens without padding and losses at the end of each optimiser step."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = []
        self.losses: list[float] = []
        self._tokens: Any = 0

    def count(self, inputs: dict[str, Any]) -> None:
        """Add a micro-batch's tokens; without a mask it has no padding."""
        mask = inputs.get("attention_mask")
        self._tokens = self._tokens + (mask.sum() if mask is not None else inputs["input_ids"].numel())

    def step(self) -> None:
        """The step is over, on the card too."""
        import torch

        torch.cuda.synchronize()
        self.steps.append((time.time(), int(self._tokens)))

    def watch(self, trainer: Any) -> None:
        """Have a transformers Trainer tell of its micro-batches, steps and losses."""
        from transformers import TrainerCallback

        clock, inner = self, trainer.training_step

        def training_step(trainer: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            clock.count(inputs)
            return inner(model, inputs, *args, **kwargs)

        class Watch(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.step()

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
                if "loss" in (logs or {}):
                    clock.losses.append(float(logs["loss"]))

        trainer.training_step = MethodType(training_step, trainer)
        trainer.add_callback(Watch())

    def report(self, peer: str, asked: argparse.Namespace, **more: Any) -> None:
        """Print the line: the rate counts from the middle step's end to the last one's."""
        import torch

        middle = len(self.steps) // 2 - 1
        (began, before), (ended, after) = self.steps[middle], self.steps[-1]
        line = {
            **machine.record(), "peer": peer, **more, "mask": asked.mask, "length": asked.length,
            "data": asked.data.name, "model": machine.shape(Path(asked.model)), "limit_gib": asked.limit_gib,
            "steps": len(self.steps), "tokens_a_second": round((after - before) / (ended - began), 1),
            "seconds_a_step": round((ended - began) / (len(self.steps) - 1 - middle), 4),
            "peak_gib": round(torch.cuda.max_memory_allocated() / machine.GIB, 3),
            "first_step_s": round(self.steps[0][0] - BEGAN - WAITED[0], 1),
            "losses": [round(x, 4) for x in self.losses],
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def eight_examples(made: list[dict[str, Any]], tokenizer: Any) -> int:
    """Tokens that about eight rows take: a packed row of that length is a step of eight examples."""
    lengths = [len(row["input_ids"] if "input_ids" in row else tokenizer(row["text"])["input_ids"]) for row in made]
    return round(BATCH * sum(lengths) / len(lengths))


def sft_settings(steps: int, **more: Any) -> dict[str, Any]:
    """trl's settings of all peers: micro-batches of 2, four of them a step, float16, 8-bit AdamW."""
    return {
        "output_dir": "peer-output", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4,
        "max_steps": steps, "warmup_steps": 0, "learning_rate": 2e-4, "lr_scheduler_type": "linear",
        "optim": "adamw_8bit", "weight_decay": 0.001, "fp16": True, "bf16": False, "logging_steps": 1,
        "save_strategy": "no", "report_to": "none", "max_length": 2048, "seed": 3407, **more,
    }  # fmt: skip
