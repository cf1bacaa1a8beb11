"""From examples to batches: the held-out part, the order, padding, and what importing costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.dataset.collate import gather
from lora_magic.dataset.order import epoch_order
from lora_magic.dataset.split import split
from lora_magic.dataset.turns import Example, Turn
from lora_magic.errors import LoraError


def example(number: int) -> Example:
    return Example((Turn("user", f"question {number}"), Turn("assistant", f"answer {number}")))


@pytest.mark.parametrize(
    ("rows", "share", "held_out"),
    [
        (1000, 0.05, 50),
        (100, 0.05, 16),
        (50, 0.05, 10),
        (10, 0.05, 2),
        (9, 0.05, 0),
        (0, 0.05, 0),
        (20_000, 0.05, 256),
        (1000, 0.9, 200),
        (1000, 0, 0),
    ],
)
def test_size(rows: int, share: float, held_out: int) -> None:
    train, spare = split([example(i) for i in range(rows)], share)
    assert (len(train), len(spare)) == (rows - held_out, held_out)


@settings(max_examples=100, deadline=None)
@given(numbers=st.lists(st.integers(0, 60), max_size=150), shuffled=st.randoms(), share=st.floats(0, 0.99))
def test_split_is_by_content(numbers: list[int], shuffled: object, share: float) -> None:
    rows = [example(number) for number in numbers]
    train, spare = split(rows, share)
    assert not set(train) & set(spare)
    assert len(train) + len(spare) == len(rows) and len(spare) <= len(rows) / 5
    assert train == [row for row in rows if row in set(train)]
    shuffled.shuffle(rows)  # type: ignore[attr-defined]
    assert set(split(rows, share)[1]) == set(spare)


def test_split_is_the_same_tomorrow() -> None:
    spare = split([example(i) for i in range(60)], 0.05)[1]
    assert " ".join(row.prompt.split()[1] for row in spare) == "11 15 18 19 20 24 27 29 30 38 41 58"


@pytest.mark.parametrize("share", [-0.1, 1, 5, float("nan")])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(LoraError, match="held-out share"):
        split([example(0)], share)


def test_epoch_order() -> None:
    assert sorted(epoch_order(100, seed=3, epoch=1)) == list(range(100))
    assert epoch_order(8, seed=0, epoch=0) == [5, 0, 3, 6, 4, 7, 2, 1]
    orders = {tuple(epoch_order(50, seed=seed, epoch=epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert epoch_order(0, seed=0, epoch=0) == []


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6), data=st.data())
def test_rows_lie_in_a_rectangle_or_end_to_end(lengths: list[int], data: st.DataObject) -> None:
    numbers = iter(range(1, 1000))
    made = [[next(numbers) for _ in range(n)] for n in lengths]
    masked = [[-100 if i % 3 == 1 else token for i, token in enumerate(ids)] for ids in made]
    step = gather([{"input_ids": ids, "labels": labels} for ids, labels in zip(made, masked, strict=True)])["rows"]
    chosen = data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1, unique=True))
    ids = [token for i in chosen for token in made[i]]
    labels = [label for i in chosen for label in (-100, *masked[i][1:])]

    square = step.padded(chosen, 0)
    whole = square["attention_mask"].bool()
    assert whole.sum(1).tolist() == [lengths[i] for i in chosen]
    assert square["input_ids"].shape == (len(chosen), max(lengths[i] for i in chosen))
    assert square["input_ids"][whole].tolist() == ids and (square["input_ids"][~whole] == 0).all()
    assert square["labels"][whole].tolist() == labels and (square["labels"][~whole] == -100).all()

    flat = step.end_to_end(chosen)
    assert flat["input_ids"].tolist() == [ids] and flat["labels"].tolist() == [labels]
    assert flat["position_ids"].tolist() == [[place for i in chosen for place in range(lengths[i])]]
    assert flat["packed_seq_lengths"].tolist() == [lengths[i] for i in chosen]
    assert step.trained(chosen) == sum(label != -100 for label in labels)


def test_importing_loads_nothing_heavy() -> None:
    rooms = "sources, files, formats, examples, template, spans, tokens, split, collate, order, prepare, store, encode"
    heavy = {"torch", "pandas", "datasets", "transformers", "pyarrow", "numpy", "jinja2"}
    code = f"import sys; from lora_magic.dataset import {rooms}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
