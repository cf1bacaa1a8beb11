"""Rows tokenised a second, against trl's own preparation: `python tests/benchmarks/tokenising.py [FILE.jsonl]`.

The file has `question` and `answer` in each line, as GSM8K has; without one the embedded sets are repeated.
All take turns in one process on the same rows with the embedded model's tokenizer: trl's `_prepare_dataset` in
one process (conversational prompts and completions, loss on the completion, no cache), ours with one thread,
and ours with two. A ratio is between the medians. Both must learn the same tokens, which is checked first.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lora_magic.demo
from lora_magic.dataset.tokens import tokenise
from lora_magic.dataset.turns import Example, Turn

ROWS, ROUNDS, MAX_LENGTH = 4000, 5, 1024
DEMO = Path(lora_magic.demo.__file__).parent

Pairs = list[tuple[str, str]]


def pairs(path: Path | None) -> Pairs:
    """Prompts and answers, as many as are measured."""
    files = [path] if path else sorted(DEMO.glob("data/*/train.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    found = [_pair(row) for row in rows]
    return (found * (ROWS // len(found) + 1))[:ROWS]


def _pair(row: dict[str, Any]) -> tuple[str, str]:
    if "messages" in row:
        return row["messages"][-2]["content"], row["messages"][-1]["content"]
    prompt = next(row[key] for key in ("question", "prompt", "instruction", "input") if row.get(key))
    return prompt, next(row[key] for key in ("answer", "completion", "output", "response") if row.get(key))


def trl_preparation(tokenizer: Any, some: Pairs) -> Callable[[], list[list[int]]]:
    """trl's preparation of the rows, to be run; it gives their labels."""
    import datasets
    from trl import SFTConfig, SFTTrainer

    datasets.disable_caching()
    datasets.disable_progress_bars()
    rows = [
        {"prompt": [{"role": "user", "content": prompt}], "completion": [{"role": "assistant", "content": answer}]}
        for prompt, answer in some
    ]
    args = SFTConfig(output_dir="unused", max_length=MAX_LENGTH, report_to="none", use_cpu=True, bf16=False)
    trainer = SimpleNamespace(_tokenizer=tokenizer, chat_template=None, completion_only_loss=True)

    def run() -> list[list[int]]:
        given = datasets.Dataset.from_list(rows)
        began = time.perf_counter()
        made = SFTTrainer._prepare_dataset(trainer, given, tokenizer, args, False, None, "train")
        run.seconds = time.perf_counter() - began  # type: ignore[attr-defined]
        return made["labels"][:] if len(given) == len(some) else []

    return run


def our_preparation(tokenizer: Any, some: Pairs, processes: int) -> Callable[[], Any]:
    """Ours, likewise."""
    examples = [Example((Turn("user", prompt), Turn("assistant", answer))) for prompt, answer in some]

    def run() -> Any:
        began = time.perf_counter()
        made = tokenise(examples, tokenizer, max_length=MAX_LENGTH, processes=processes)
        run.seconds = time.perf_counter() - began  # type: ignore[attr-defined]
        return made

    return run


def main(path: Path | None) -> str:
    """The figures, a line each."""
    from transformers import AutoTokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer, some = AutoTokenizer.from_pretrained(DEMO / "model"), pairs(path)
    ways: dict[str, Any] = {
        "trl, one process": trl_preparation(tokenizer, some),
        "ours, one thread": our_preparation(tokenizer, some, 1),
        "ours, two threads": our_preparation(tokenizer, some, 2),
    }
    theirs, ours = ways["trl, one process"](), ways["ours, one thread"]()
    trained = [[label for label in labels if label != -100] for labels in theirs]
    if trained != [[label for label in row.labels if label != -100] for row in ours.rows]:
        raise SystemExit("trl and lora_magic do not train on the same tokens; the figures would mean nothing.")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            run()
            seconds[name].append(run.seconds)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    lines = [
        f"{name}: {len(some) / took:,.0f} rows/s ({min(seconds[name]):.2f} to {max(seconds[name]):.2f} s), "
        f"{middle['trl, one process'] / took:.2f}x"
        for name, took in middle.items()
    ]
    return "\n".join([f"{len(some):,} rows, {sum(map(len, theirs)):,} tokens, {ROUNDS} rounds", *lines])


if __name__ == "__main__":
    print(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
