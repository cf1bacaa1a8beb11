"""Rows in groups: each is computed once, whatever memory holds."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.backends.answers import row_seed
from lora_magic.backends.batches import Batches
from lora_magic.evaluation.answering import _groups

LENGTHS = st.lists(st.integers(1, 500), max_size=60)


@settings(deadline=None)  # letting go of memory imports torch
@given(LENGTHS, st.integers(1, 40), st.integers(500, 6000))
def test_every_row_is_computed_once_and_no_group_is_larger_than_memory(
    lengths: list[int], size: int, room: int
) -> None:
    batches, done = Batches(), []

    def compute(group: list[int]) -> None:
        if len(group) * max(lengths[i] for i in group) > room:
            raise MemoryError
        done.extend(group)

    batches.run(lengths, size, compute)
    assert sorted(done) == list(range(len(lengths)))
    tried = []
    batches.run(lengths, size, tried.append)
    assert all(len(group) <= size for group in tried)
    assert all(len(group) * max(lengths[i] for i in group) <= max(room, 500) or len(group) == 1 for group in tried)


def test_another_error_is_not_taken_for_memory() -> None:
    def broken(group: list[int]) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side"):
        Batches().run([3, 4], 2, broken)


@given(LENGTHS, st.integers(1, 40))
def test_groups_hold_rows_of_like_length_and_begin_with_the_first_row(lengths: list[int], size: int) -> None:
    groups = _groups(lengths, size)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert all(len(group) <= size for group in groups)
    if groups:
        assert groups[0][0] == 0
    spans = sorted((min(lengths[i] for i in group), max(lengths[i] for i in group)) for group in groups)
    assert all(high <= low for (_, high), (low, _) in itertools.pairwise(spans))


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 10_000), unique=True, min_size=2, max_size=50))
def test_rows_have_seeds_of_their_own(seed: int, rows: list[int]) -> None:
    assert len({row_seed(seed, row) for row in rows}) == len(rows)
    assert row_seed(seed, rows[0]) != row_seed((seed + 1) % 2**32, rows[0])
