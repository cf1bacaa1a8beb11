"""What a comparison takes: columns together against each alone, 32 rows against one, and how large its view is.

    python -m tests.benchmarks.comparison [--model demo] [--bits 4] [--tokens 48] [--repeats 5]

Columns share tokenisation alone, so together they should take at most 1.1 times the sum of each alone. Decoding on a
card is bound by launches and not by rows, so 32 rows should take at most 3 times one row there; on a CPU they do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import chdir
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from lora_magic.config import CompareConfig, LoadConfig, TrainConfig
from lora_magic.display.comparison import comparison_html
from lora_magic.display.progress import Progress
from lora_magic.results import Comparison
from lora_magic.session import Session
from tests.evaluation.made import comparison

ROWS = 32
COLUMNS = ("base", "one", "two")
PROMPTS = [f"What is {a} plus {b}?" for a in range(1, 9) for b in range(1, 5)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.comparison", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=48, help="every answer has this many, or ends before")
    parser.add_argument("--repeats", type=int, default=5, help="the middle one of the ratios counts")
    return parser.parse_args()


def _session(options: argparse.Namespace) -> Session:
    session = Session()
    session.load(LoadConfig(options.model, bits=options.bits), Progress("loading"))
    for seed, name in enumerate(COLUMNS[1:]):
        config = TrainConfig(name=name, data="demo-tone", max_steps=2, seed=seed)
        session.train(config, [], {}, lambda line: None)
    return session


def _compare(session: Session, columns: tuple[str, ...], prompts: list[str], tokens: int) -> Comparison:
    given = {"prompts": prompts, "adapters": ",".join(columns), "max_new_tokens": tokens, "measures": "none"}
    return session.compare(CompareConfig.of(given), Progress("comparing"))


def _turns(repeats: int, runs: Mapping[str, Callable[[], object]]) -> list[dict[str, float]]:
    """Seconds of each run, turn by turn: a ratio within a turn is of runs that a busy machine slowed alike."""
    turns = []
    for _ in range(repeats):
        taken = {}
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            taken[name] = time.perf_counter() - began
        turns.append(taken)
    return turns


def _told(what: str, ratios: list[float], most: str) -> None:
    print(f"{what:<45} {median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f}; at most {most})")


def main() -> None:
    """Measure, and print one figure a line."""
    options = _arguments()
    if Path(options.model).exists():
        options.model = str(Path(options.model).absolute())
    with TemporaryDirectory() as folder, chdir(folder):
        _measure(options)


def _measure(options: argparse.Namespace) -> None:
    session = _session(options)
    _compare(session, COLUMNS, PROMPTS, options.tokens)
    runs = {name: partial(_compare, session, (name,), PROMPTS, options.tokens) for name in COLUMNS}
    runs["together"] = partial(_compare, session, COLUMNS, PROMPTS, options.tokens)
    runs["one row"] = partial(_compare, session, COLUMNS, PROMPTS[:1], options.tokens)
    turns = _turns(options.repeats, runs)
    facts = session.base.facts
    print(f"{facts.model} at {facts.bits} bits on {facts.hardware.title}, {facts.backend}, {options.tokens} tokens")
    for name in runs:
        seconds = [turn[name] for turn in turns]
        rows = 1 if name == "one row" else ROWS
        columns = 1 if name in COLUMNS else len(COLUMNS)
        print(f"{name:<9} {columns} columns x {rows:>2} rows {median(seconds):7.2f} s")
    together = [turn["together"] / sum(turn[name] for name in COLUMNS) for turn in turns]
    _told("all columns against the sum of each alone:", together, "1.1")
    _told(f"{ROWS} rows against one:", [turn["together"] / turn["one row"] for turn in turns], "3 on a card")
    for words in (40, 200, 400):
        made = comparison(200, words, COLUMNS)
        began = time.perf_counter()
        size = len(comparison_html(made).encode())
        print(
            f"view of 200 rows x 3, answers of {words} words: {size / 1e6:.2f} MB (at most 1.5), "
            f"drawn in {time.perf_counter() - began:.1f} s"
        )


if __name__ == "__main__":
    main()
