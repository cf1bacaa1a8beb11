"""Comparisons of any size, made without a model."""

from __future__ import annotations

import random
from typing import Any

from lora_magic.results import Comparison, ComparisonRow

WORDS = "the base answer model says that a fox or hen went over to see some old red barn with wheat on it".split()


def prose(seed: int, words: int) -> str:
    """Text of so many words."""
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words))


def comparison(rows: int = 12, words: int = 30, names: tuple[str, ...] = ("base", "mine"), **more: Any) -> Comparison:
    """Answers that share most of their words."""
    made = []
    for number in range(rows):
        base = prose(number, words)
        outputs = {name: base if name == "base" else base.replace("fox", name) for name in names}
        made.append(ComparisonRow(f"Prompt {number}?", base, outputs))
    return Comparison("demo", names, tuple(made), f"{rows} rows", (("seed", "0"),), dict.fromkeys(names, 1.0), **more)
