"""A million rows looked at and prepared: `python -m tests.benchmarks.million_rows [look|prepare] [ROWS]`.

Prints seconds, and the peak resident memory of this process beside what it was before the rows.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _write(path: Path, rows: int) -> None:
    words = "the quick brown fox jumps over a lazy dog while seven grey geese watch from the old stone wall".split()
    with path.open("w", encoding="utf-8") as file:
        for i in range(rows):
            said = " ".join(words[(i * 7 + k * k) % len(words)] for k in range(30))
            file.write(json.dumps({"question": f"What is {i}? {said}", "answer": f"{said}, {i * 3}."}) + "\n")


def main(task: str = "look", rows: str = "1000000") -> None:
    """Write the rows, go through them, print the figures."""
    import lora_magic
    from lora_magic.config import DataConfig
    from lora_magic.dataset.prepare import prepare
    from lora_magic.demo import MODEL_DIR

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        _write(path, int(rows))
        lora_magic.data("demo-json")
        before, began = _peak_gib(), time.monotonic()
        if task == "look":
            print(f"{lora_magic.data(path).looked_at:,} rows looked at")
        else:
            from transformers import AutoTokenizer

            made = prepare(DataConfig(data=str(path)), AutoTokenizer.from_pretrained(MODEL_DIR), 2048, {}, {})
            print(f"{len(made.training.rows):,} rows of {len(made.training.rows.tokens):,} tokens")
        size = path.stat().st_size / 2**20
        print(f"{size:,.0f} MiB in {time.monotonic() - began:.0f} s; peak {_peak_gib():.2f} GiB, {before:.2f} before")


if __name__ == "__main__":
    main(*sys.argv[1:])
