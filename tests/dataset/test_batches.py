"""From examples to batches: the held-out part, the order, padding, and what importing costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.dataset.collate import Collator, Features
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
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6), step=st.sampled_from([None, 1, 8]))
def test_collator(lengths: list[int], step: int | None) -> None:
    import torch

    rows: list[Features] = [{"input_ids": list(range(1, n + 1)), "labels": [-100] * (n - 1) + [n]} for n in lengths]
    batch = Collator(0, step)(rows)
    longest = max(lengths)
    width = longest if not step else -(-longest // step) * step
    assert set(batch) == {"input_ids", "labels", "attention_mask"}
    assert all(value.shape == (len(rows), width) and value.dtype == torch.int64 for value in batch.values())
    for i, row in enumerate(rows):
        n = lengths[i]
        assert batch["input_ids"][i].tolist() == row["input_ids"] + [0] * (width - n)
        assert batch["labels"][i].tolist() == row["labels"] + [-100] * (width - n)
        assert batch["attention_mask"][i].tolist() == [1] * n + [0] * (width - n)


def test_importing_loads_nothing_heavy() -> None:
    rooms = "sources, files, formats, examples, template, spans, tokens, split, collate, order, prepare, store, encode"
    heavy = {"torch", "pandas", "datasets", "transformers", "pyarrow", "numpy", "jinja2"}
    code = f"import sys; from lora_magic.dataset import {rooms}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
