"""Measure the peak memory and time of training steps over many settings of one model, on a CUDA machine, offline.

    python -m tests.benchmarks.gpu.measure_memory MODEL_FOLDER --backend unsloth [--out ROWS.jsonl] [--limit-gib 14.56]

Each setting (length x micro-batch x checkpointing) takes two optimiser steps on random tokens in float16 with NF4
weights, r=16 on seven projections (with `--dora` or `--dropout` as well) and 8-bit AdamW; a line of JSON tells the peak
that torch allocated and the second step's seconds. Running out of memory makes a row, too. Rows go to `memory.jsonl`
beside this file unless `--out` says otherwise; `fit_memory.py` reads them. The model is loaded once for each kind of
checkpointing.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.benchmarks.gpu import machine

SIZES = ((256, 8), (512, 2), (512, 8), (1024, 2), (1024, 4), (2048, 1), (2048, 2), (2048, 4))
KINDS = {"unsloth": ("off", "on", "offload"), "transformers": ("off", "on")}
RANK = 16


def load_unsloth(folder: str, kind: str, options: argparse.Namespace) -> Any:
    """The model with an adapter, as Unsloth's documentation loads it."""
    import torch
    from unsloth import FastLanguageModel

    from lora_magic.backends import attention

    attention.put_in()
    checkpointing: Any = {"off": False, "on": True, "offload": "unsloth"}[kind]
    model, _ = FastLanguageModel.from_pretrained(
        model_name=folder, max_seq_length=2048, dtype=torch.float16, load_in_4bit=True,
        use_gradient_checkpointing=checkpointing,
    )  # fmt: skip
    model = FastLanguageModel.get_peft_model(
        model, r=RANK, target_modules=machine.PROJECTIONS, lora_alpha=RANK, lora_dropout=options.dropout,
        bias="none", use_dora=options.dora, use_gradient_checkpointing=checkpointing, random_state=3407,
    )  # fmt: skip
    return FastLanguageModel.for_training(model)


def load_transformers(folder: str, kind: str, options: argparse.Namespace) -> Any:
    """The model with an adapter, by transformers and peft alone."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float16,
    )  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float16, device_map={"": 0}, quantization_config=four_bits
    )
    base.requires_grad_(False)
    if kind == "on":
        base.gradient_checkpointing_enable({"use_reentrant": False})
        base.enable_input_require_grads()
    config = LoraConfig(
        r=RANK, lora_alpha=RANK, target_modules=machine.PROJECTIONS, task_type="CAUSAL_LM",
        lora_dropout=options.dropout, use_dora=options.dora,
    )  # fmt: skip
    return get_peft_model(base, config).train()


def batch(length: int, micro_batch: int, vocabulary: int, padded: bool) -> dict[str, Any]:
    """Random rows of `length` tokens: end to end with their lengths, or a rectangle with a mask.

    One row of the rectangle is a token shorter, since a mask without holes would be dropped.
    """
    import torch

    ids = torch.randint(10, min(8000, vocabulary), (micro_batch, length), device="cuda")
    if padded:
        mask, labels = torch.ones_like(ids), ids.clone()
        mask[0, -1], labels[0, -1] = 0, -100
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
    labels = ids.clone()
    labels[:, 0] = -100
    positions = torch.arange(length, device="cuda").repeat(micro_batch)
    lengths = torch.full((micro_batch,), length, dtype=torch.int32)
    flat = {"input_ids": ids.view(1, -1), "labels": labels.view(1, -1), "position_ids": positions.view(1, -1)}
    return {**flat, "packed_seq_lengths": lengths}


def two_steps(model: Any, rows: dict[str, Any], accumulation: int) -> float:
    """Seconds of the second of two optimiser steps."""
    import bitsandbytes
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    optimizer = bitsandbytes.optim.AdamW8bit(trained, lr=1e-5)
    scaler = torch.amp.GradScaler("cuda")
    seconds = 0.0
    for _ in range(2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(accumulation):
            with torch.autocast("cuda", torch.float16):
                loss = model(**rows, use_cache=False).loss / accumulation
            scaler.scale(loss).backward()
            del loss
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    return seconds


def clear(model: Any) -> None:
    """Forget gradients and what a failed step left."""
    import torch

    if model is not None:
        model.zero_grad(set_to_none=True)
    gc.collect()
    torch.cuda.empty_cache()


def measured(model: Any, kind: str, options: argparse.Namespace, vocabulary: int) -> Iterator[dict[str, Any]]:
    """One row for each size."""
    import torch

    padded = options.padded or options.backend == "transformers"
    for length, micro_batch in SIZES:
        clear(model)
        before = torch.cuda.memory_allocated() / machine.GIB
        torch.cuda.reset_peak_memory_stats()
        failed, seconds = "", None
        try:
            seconds = two_steps(model, batch(length, micro_batch, vocabulary, padded), options.accumulation)
        except torch.OutOfMemoryError:
            failed = "out of memory"
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"[:300]
        yield {
            "backend": options.backend, "checkpointing": kind, "length": length, "micro_batch": micro_batch,
            "accumulation": options.accumulation, "padded": padded, "rank": RANK, "bits": 4,
            "method": "dora" if options.dora else "lora", "dropout": options.dropout,
            "expanded": options.expanded,
            "optimizer": "adamw-8bit", "attention": "flash" if options.flash else "efficient",
            "at_rest_gib": round(before, 3), "peak_gib": round(torch.cuda.max_memory_allocated() / machine.GIB, 3),
            "seconds": seconds and round(seconds, 4), "oom": failed == "out of memory", "failed": failed,
        }  # fmt: skip


def main() -> None:
    """Measure all sizes under each kind of checkpointing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--backend", choices=tuple(KINDS), default="unsloth")
    parser.add_argument("--kinds", nargs="+", choices=KINDS["unsloth"])
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--dora", action="store_true")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--expanded", action="store_true", help="weights are dequantised once")
    parser.add_argument("--padded", action="store_true", help="rows as a rectangle under Unsloth, too")
    parser.add_argument("--flash", action="store_true", help="leave on the attention that a T4 lacks")
    parser.add_argument("--limit-gib", type=float, default=machine.LIMIT_GIB, help="of the allocator; 0 is none")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "memory.jsonl")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    if options.backend == "unsloth":
        import unsloth  # noqa: F401  patches what is imported after it
    import bitsandbytes
    import torch

    from lora_magic.backends.expanded import Expanded

    machine.hold(options.limit_gib, flash=options.flash)
    load = load_unsloth if options.backend == "unsloth" else load_transformers
    shape = machine.shape(options.model)
    about = {**machine.record(), "limit_gib": options.limit_gib, "command": " ".join(sys.argv[1:]), "model": shape}
    expanded = Expanded(SimpleNamespace(torch=torch, bitsandbytes=bitsandbytes))
    for kind in options.kinds or KINDS[options.backend]:
        model = load(str(options.model), kind, options)
        if options.expanded:
            expanded.put_on(model)
        for row in measured(model, kind, options, shape["vocab_size"]):
            machine.append(options.out, {**about, **row})
        del model
        expanded.take_off()
        clear(None)


if __name__ == "__main__":
    main()
