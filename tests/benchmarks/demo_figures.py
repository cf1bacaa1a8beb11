"""The embedded model's figures, through the public functions.

    python -m tests.benchmarks.demo_figures [--seed 0 1 2] [--set demo-json …]

Prints the base's share of right answers to its own held-out questions, then a line for each set and seed: what the
base and the adapter pass on the held-out rows, and the seconds that training took.
"""

import argparse
import os
import tempfile

import lora_magic
from lora_magic.demo import DATASETS
from tests.demo import figures


def base_share(bits: int) -> float:
    """The share of held-out questions that the base answers rightly."""
    questions = figures.read(DATASETS["demo-json"].parent / "base-questions.jsonl")
    lora_magic.load("demo", bits=bits)
    rows = lora_magic.compare([row["question"] for row in questions], adapters="base", max_new_tokens=48).rows
    pairs = zip(questions, rows, strict=True)
    return sum(figures.has_word(row["answer"], made.outputs["base"]) for row, made in pairs) / len(questions)


def adapter_line(name: str, seed: int) -> str:
    """One adapter, before and after."""
    trained = lora_magic.train(f"{name} {seed}", data=name, rank=8, lr=2e-3, epochs=5, seed=seed)
    made = lora_magic.compare()
    test = figures.read(DATASETS[name] / "test.jsonl")
    before, after = (figures.shares(name, test, [row.outputs[column] for row in made.rows]) for column in made.adapters)
    told = ", ".join(f"{label} {before[label]:.0%} → {after[label]:.0%}" for label in after)
    return f"{name} seed {seed}: {told}; {trained.seconds:.1f} s for {len(trained.losses)} steps"


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--set", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    options = parser.parse_args()
    os.chdir(tempfile.mkdtemp())
    lines = [f"base, its own held-out questions: {base_share(bits):.1%} right in {bits} bits" for bits in (16, 4)]
    lines += [adapter_line(name, seed) for name in options.set for seed in options.seed]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
