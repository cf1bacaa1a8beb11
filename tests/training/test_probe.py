"""The rows that a plan is checked with are the run's own largest pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.config import TrainConfig
from lora_magic.dataset.order import epoch_order
from lora_magic.planning.passes import passes
from lora_magic.planning.run_plan import Plan, Way
from lora_magic.training import loop, probe
from lora_magic.training.probe import FULL, largest_pass, longest_rows
from lora_magic.training.stepper import Stepper
from tests.session.test_session import loaded

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)
WAYS = st.builds(
    Way,
    st.just(""),
    st.none() | st.integers(1, 200),
    st.none() | st.integers(1, 8),
    st.just("off"),
    padded=st.booleans(),
)


def tokens(lengths: Sequence[int], part: Sequence[int], way: Way) -> int:
    found = [lengths[i] for i in part]
    return max(found) * len(found) if way.padded else sum(found)


def every_pass(lengths: Sequence[int], way: Way, batch: int, seed: int, steps: int) -> Iterator[list[int]]:
    done = epoch = 0
    while True:
        order = epoch_order(len(lengths), seed=seed, epoch=epoch)
        for start in range(0, len(order), batch):
            step = order[start : start + batch]
            cut = passes([lengths[i] for i in step], tokens=way.tokens, rows=way.rows, padded=way.padded)
            yield from ([step[i] for i in part] for part in cut)
            done += 1
            if done == steps:
                return
        epoch += 1


@settings(deadline=None)
@given(LENGTHS, WAYS, st.integers(1, 9), st.integers(0, 3), st.integers(1, 30))
def test_no_pass_of_the_run_is_larger(lengths: list[int], way: Way, batch: int, seed: int, steps: int) -> None:
    most = max(tokens(lengths, part, way) for part in every_pass(lengths, way, batch, seed, steps))
    chosen = largest_pass(lengths, way, batch, seed=seed, steps=steps)
    assert chosen in list(every_pass(lengths, way, batch, seed, steps))
    found = tokens(lengths, chosen, way)
    assert found == most or (way.tokens is not None and found >= FULL * way.tokens)


@settings(max_examples=30, deadline=None)
@given(LENGTHS, WAYS, st.integers(2, 9))
def test_of_a_run_too_long_to_look_through_the_largest_steps_count(lengths: list[int], way: Way, batch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "LOOKED_AT", 2)
        chosen = largest_pass(lengths, way, batch, seed=0, steps=20)
    found = tokens(lengths, chosen, way)
    most = max(tokens(lengths, part, way) for part in every_pass(lengths, way, batch, 0, 20))
    if way.tokens is None and way.rows is None:
        assert found == most
    else:
        assert found >= tokens(lengths, longest_rows(lengths, way, batch), way) or found >= FULL * min(
            most, way.tokens or most
        )
    assert way.tokens is None or found <= max(way.tokens, max(lengths))
    assert len(chosen) <= min(batch, way.rows or batch)


def test_the_longest_rows_that_fit_a_pass() -> None:
    lengths = [5, 30, 7, 30, 12, 9]
    assert longest_rows(lengths, Way("", None, None, "off"), 3) == [3, 1, 4]
    assert longest_rows(lengths, Way("", None, 2, "off"), 3) == [3, 1]
    assert longest_rows(lengths, Way("", 70, None, "off", padded=False), 6) == [3, 1]
    assert longest_rows(lengths, Way("", 10, None, "off", padded=False), 6) == [3]
    assert longest_rows(lengths, Way("", 95, None, "off"), 6) == [3, 1, 4]


@pytest.mark.parametrize("way", [Way("", None, None, "off"), Way("", None, 3, "off"), Way("", 60, None, "off")])
def test_a_run_s_passes_are_those_that_were_foreseen(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    foreseen: list[Any] = []
    made: list[list[list[int]]] = []
    cut = Stepper._parts

    def parts(self: Stepper, rows: Any, chosen: Sequence[int], *, padded: bool) -> list[list[int]]:
        found = cut(self, rows, chosen, padded=padded)
        made.append([[rows.lengths[i] for i in part] for part in found])
        return found

    def look(base: Any, plan: Plan, prepared: Any, rows: Any, **run: int) -> None:
        chosen = largest_pass(prepared.rows.lengths, plan.ways[0], plan.batch, **run)
        foreseen.append([len(rows[i]["input_ids"]) for i in chosen])

    monkeypatch.setattr(Stepper, "_parts", parts)
    monkeypatch.setattr(loop, "_probe", look)
    monkeypatch.setattr("lora_magic.training.run.plan", lambda *_, **__: Plan((way,), "adamw_torch", 4))
    data = [{"question": "one two three " * (1 + i * i % 7), "answer": "four " * (1 + i % 3)} for i in range(19)]
    config = TrainConfig(name="seen", data=data, epochs=2, eval_split=0, batch=4, seed=5)
    loaded(tiny_folder).train(config, [], {}, lambda line: None)
    assert len(made) == 10
    largest = max((part for step in made for part in step), key=lambda part: max(part) * len(part))
    assert max(foreseen[0]) * len(foreseen[0]) == max(largest) * len(largest)
