"""A loop written by hand on Unsloth's model: rows end to end in micro-batches of a given size, checkpointing as given.

python -m tests.benchmarks.gpu.peers.unsloth_loop MODEL DATA.jsonl --micro-batch 8 --checkpointing off --optimizer adamw

With `--at-once` rows are attended in one call, with `--expanded` weights are dequantised once, by this project's own
functions: what is left between the loop and us is then the trainer around them.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from lora_magic.backends import attention
from lora_magic.backends.expanded import Expanded
from tests.benchmarks.gpu import machine
from tests.benchmarks.gpu.peers import common

KINDS: dict[str, Any] = {"off": False, "on": True, "unsloth": "unsloth"}


def flattened(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    """Rows end to end: positions start again at each, and no row's first token is a target."""
    import torch

    ids = [token for row in rows for token in row["input_ids"]]
    labels = [label for row in rows for label in (-100, *row["labels"][1:])]
    positions = [place for row in rows for place in range(len(row["input_ids"]))]
    made = {"input_ids": ids, "labels": labels, "position_ids": positions}
    lengths = torch.tensor([len(row["input_ids"]) for row in rows], dtype=torch.int32)
    on_card = {name: torch.tensor([values], device="cuda") for name, values in made.items()}
    return {**on_card, "packed_seq_lengths": lengths}


def micro_batches(rows: list[dict[str, list[int]]], size: int) -> Iterator[tuple[dict[str, Any], int]]:
    """A step's micro-batches, each with the number of targets of the whole step."""
    targets = sum(label != -100 for row in rows for label in row["labels"][1:])
    for start in range(0, len(rows), size):
        yield flattened(rows[start : start + size]), targets


def prepared(asked: Any, tokenizer: Any) -> list[dict[str, list[int]]]:
    """Rows as tokens and labels, from text too."""
    made = common.rows(asked, tokenizer)
    if "text" not in made[0]:
        return [{**row, "input_ids": row["input_ids"][:2048], "labels": row["labels"][:2048]} for row in made]
    ids = [tokenizer(row["text"], add_special_tokens=False)["input_ids"][:2048] for row in made]
    return [{"input_ids": row, "labels": list(row)} for row in ids]


def main() -> None:
    """Train and print the line."""
    asked = common.options(
        __doc__ or "", micro_batch={"type": int, "default": common.BATCH},
        checkpointing={"choices": tuple(KINDS), "default": "off"},
        optimizer={"choices": ("adamw", "adamw-8bit"), "default": "adamw"},
        skip_layers={"type": int, "default": 0, "help": "blocks that keep their activations under checkpointing"},
        at_once={"action": "store_true"}, expanded={"action": "store_true"},
    )  # fmt: skip
    import unsloth  # noqa: F401  before all it patches

    common.turn(asked)
    machine.hold(asked.limit_gib)
    import bitsandbytes
    import torch
    from unsloth import FastLanguageModel

    checkpointing = KINDS[asked.checkpointing]
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=asked.model, max_seq_length=2048, dtype=torch.float16, load_in_4bit=True,
        use_gradient_checkpointing=checkpointing,
    )  # fmt: skip
    model = FastLanguageModel.get_peft_model(
        model, r=common.RANK, target_modules=machine.PROJECTIONS, lora_alpha=common.RANK, lora_dropout=0, bias="none",
        use_gradient_checkpointing=checkpointing, random_state=3407, checkpoint_skip_layers=asked.skip_layers,
    )  # fmt: skip
    model = FastLanguageModel.for_training(model)
    common.float_adapter(model)
    if asked.at_once:
        attention.put_in()
    if asked.expanded:
        Expanded(SimpleNamespace(torch=torch, bitsandbytes=bitsandbytes)).put_on(model)
    rows, clock = prepared(asked, tokenizer), common.Clock()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer: Any = bitsandbytes.optim.AdamW8bit(trained, lr=2e-4, weight_decay=0.001)
    if asked.optimizer == "adamw":
        optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.001, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / asked.steps)
    scaler = torch.amp.GradScaler("cuda")
    for module in model.modules():  # where Unsloth's loss looks for the scale of float16 gradients
        module.accelerator_scaler = scaler
    scaler.scale(torch.zeros((), device="cuda"))
    torch.cuda.reset_peak_memory_stats()
    for start in range(0, asked.steps * common.BATCH, common.BATCH):
        total = torch.zeros((), device="cuda")
        for inputs, targets in micro_batches(rows[start : start + common.BATCH], asked.micro_batch):
            with torch.autocast("cuda", torch.float16):
                loss = model(**inputs, num_items_in_batch=targets, use_cache=False).loss
            scaler.scale(loss).backward()
            total += loss.detach()
            clock.count(inputs)
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        clock.losses.append(float(total))
        clock.step()
    clock.report(
        "unsloth loop", asked, micro_batch=asked.micro_batch, checkpointing=asked.checkpointing,
        skip_layers=asked.skip_layers, optimizer=asked.optimizer, at_once=asked.at_once, expanded=asked.expanded,
    )  # fmt: skip


if __name__ == "__main__":
    main()
