"""What a comparison takes: columns together against each alone, 32 rows against one, and how large its view is.

    python -m tests.benchmarks.comparison [--model demo] [--bits 4] [--tokens 48] [--repeats 5]

Columns share tokenisation alone, so together they should take at most 1.1 times the sum of each alone. Decoding on a
card is bound by launches and not by rows, so 32 rows should take at most 3 times one row there; on a CPU they do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial

from lora_magic.config import CompareConfig, LoadConfig, TrainConfig
from lora_magic.display.comparison import comparison_html
from lora_magic.display.progress import Progress
from lora_magic.results import Comparison
from lora_magic.session import Session
from tests.evaluation.test_view_comparison import comparison

ROWS = 32
COLUMNS = ("base", "one", "two")
PROMPTS = [f"What is {a} plus {b}?" for a in range(1, 9) for b in range(1, 5)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.comparison", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=48, help="every answer has this many, or ends before")
    parser.add_argument("--repeats", type=int, default=5, help="the fastest counts")
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


def _fastest(repeats: int, runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each run at its fastest; the runs take turns, so that a busy machine slows all of them."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - began)
    return {name: min(seconds) for name, seconds in taken.items()}


def main() -> None:
    """Measure, and print one figure a line."""
    options = _arguments()
    session = _session(options)
    _compare(session, COLUMNS, PROMPTS, options.tokens)
    runs = {name: partial(_compare, session, (name,), PROMPTS, options.tokens) for name in COLUMNS}
    runs["together"] = partial(_compare, session, COLUMNS, PROMPTS, options.tokens)
    runs["one row"] = partial(_compare, session, COLUMNS, PROMPTS[:1], options.tokens)
    fastest = _fastest(options.repeats, runs)
    together, one = fastest["together"], fastest["one row"]
    alone = [fastest[name] for name in COLUMNS]
    facts = session.base.facts
    print(f"{facts.model} at {facts.bits} bits on {facts.hardware.title}, {facts.backend}, {options.tokens} tokens")
    count = len(COLUMNS)
    print(f"{count} columns x {ROWS} rows together  {together:.2f} s")
    print(f"each alone, added up          {sum(alone):.2f} s: together is {together / sum(alone):.2f} x (at most 1.1)")
    print(
        f"{count} columns x 1 row            {one:.2f} s: {ROWS} rows are {together / one:.2f} x (at most 3 on a card)"
    )
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
