"""Realistic runs and results, with a text of one's choice wherever a user or a model has a say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_magic.events import Checkpointed, Evaluated, Event, Finished, Recovered, Started, Stepped
from lora_magic.results import Agreement, Comparison, ComparisonRow, LoadResult, MergeResult, Status, TrainResult

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> <a href='javascript:alert(1)'>x</a> "
    "$\\LaTeX$ \\(x\\) **bold** [l](javascript:x) `c` | a | b | \x1b[31mred\x1b[0m \u202eltr\u2066 \x00\r\x07 &lt;"
)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Screen:
    """Keeps every picture; each costs `cost` seconds of `clock`."""

    def __init__(self, clock: Clock | None = None, cost: float = 0.0) -> None:
        self.pictures: list[dict[str, Any]] = []
        self.clock, self.cost = clock or Clock(), cost

    def __call__(self, bundle: dict[str, Any]) -> None:
        self.clock.now += self.cost
        self.pictures.append(bundle)

    @property
    def last(self) -> dict[str, Any]:
        return self.pictures[-1]


def make_events(
    planned: int = 60, steps: int | None = None, reason: str = "completed", text: str = "support"
) -> Iterator[Event]:
    header = (("rank", "8"), ("dtype", f"float16 (T4: no bfloat16) {text}"))
    yield Started(text, text, header, planned, 3.0, 412, 60, 12_156_928, 3_224_906_752)
    yield Evaluated(0, 2.613, 0.5)
    made = steps or planned
    for step in range(1, made + 1):
        loss = 0.6 + 2 * math.exp(-step / planned * 5) + 0.1 * math.sin(3.0 * step)
        yield Stepped(step, loss, 2e-4 * (1 - step / planned), 0.9, 1935.0, 3.4, 0.5 + step, 3 * step / planned)
        if step % 10 == 0:
            yield Evaluated(step, 0.7 + 1.9 * math.exp(-step / planned * 4), 0.5 + step)
            yield Checkpointed(step, text)
    yield Recovered(made, text)
    yield Finished(made, made + 1.0, reason, f"next: {text}")


def make_results(text: str) -> dict[str, Any]:
    """One of each result; `text` stands for whatever may come from users, data or models."""
    load = LoadResult(
        text, text, "transformers", text, 4, "float16", (("float16", text),), 3_700_000, 2_411_725, 2048, text,
        (("imports", 6.5), ("weights", 0.4)),
    )  # fmt: skip
    events = list(make_events(text=text))
    stepped = tuple(event for event in events if isinstance(event, Stepped))
    evaluated = tuple(event for event in events if isinstance(event, Evaluated))
    train = TrainResult(
        text, text, tuple((event.step, event.loss) for event in stepped),
        tuple((event.step, event.loss) for event in evaluated), Path("runs") / "a", Path("runs"), 61.0,
        12_156_928, 3_224_906_752, "completed", 60, (("rank", text),), stepped, evaluated, {"rank": 8}, (text,),
    )  # fmt: skip
    rows = tuple(
        ComparisonRow(f"{number} {text}", text if number % 2 else None, {"base": "a b c " + text, text: text * 9})
        for number in range(60)
    )
    return {
        "load": load,
        "train": train,
        "comparison": Comparison(text, (text,), rows, text, (("decoding", text),), {"base": 1.0, text: 2.0}),
        "merge": MergeResult(
            Path("out"),
            text,
            text,
            "float16",
            6_430_000_000,
            196,
            Agreement(1.0, 1e-9, 3e-5),
            Agreement(0.999, 2e-6, 4e-3),
            Agreement(0.984, 0.012, 0.81),
            None,
            8,
            130,
            41.0,
            (text,),
        ),
        "status": Status(load, text, ((text, "LoRA, rank 8", text),), (("GPU", text),)),
        "nothing": Status(None, "base", (), (("memory", text),)),
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def screen(clock: Clock) -> Screen:
    return Screen(clock)


@pytest.fixture
def events() -> Callable[..., Iterator[Event]]:
    return make_events


@pytest.fixture
def results() -> Callable[[str], dict[str, Any]]:
    return make_results


@pytest.fixture
def hostile() -> str:
    return HOSTILE
