"""How long switching between adapters takes, in milliseconds: python -m tests.benchmarks.switching [MODEL]."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import chdir

from lora_magic.config import LoadConfig, TrainConfig, UseConfig
from lora_magic.display.progress import Progress
from lora_magic.session import Session

ADAPTERS, SWITCHES = 5, 40


def main() -> None:
    """Train five adapters for a step each on one base, then switch among them and the base."""
    model = sys.argv[1] if len(sys.argv) > 1 else "demo"
    session = Session()
    with chdir(tempfile.mkdtemp()):
        session.load(LoadConfig(model), Progress("loading"))
        for number in range(ADAPTERS):
            config = TrainConfig(name=f"a{number}", data="demo-json", max_steps=1, eval_split=0)
            session.train(config, [], {}, lambda line: None)
        names = [*session.adapters, "base"]
        taken = []
        for turn in range(SWITCHES):
            began = time.perf_counter()
            session.use(UseConfig(names[turn % len(names)]))
            taken.append(1000 * (time.perf_counter() - began))
    print(f"{model}, {ADAPTERS} adapters: {statistics.median(taken):.1f} ms a switch, {max(taken):.1f} at most")


if __name__ == "__main__":
    main()
