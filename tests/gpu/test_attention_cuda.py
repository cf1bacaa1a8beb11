"""Rows that lie end to end, attended in one call: what one call for each row gives, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lora_magic.backends import attention
from tests.backends import contract

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
of_unsloth = pytest.mark.skipif(contract.BACKEND != "unsloth", reason="LORA_MAGIC_BACKEND is not unsloth")
LENGTHS = [(1,), (5, 5, 5), (1, 200, 3, 64, 77), (300,), (129, 128, 127)]


@pytest.fixture(autouse=True)
def as_on_a_t4() -> Iterator[None]:
    """Without the kernels that Turing lacks."""
    cuda = torch.backends.cuda
    before = cuda.flash_sdp_enabled(), cuda.cudnn_sdp_enabled()
    cuda.enable_flash_sdp(False)
    cuda.enable_cudnn_sdp(False)
    yield
    cuda.enable_flash_sdp(before[0])
    cuda.enable_cudnn_sdp(before[1])


def made(lengths: tuple[int, ...], heads: int, keys: int, size: int, dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(sum(lengths))
    shapes = [(heads, size), (keys, size), (keys, size)]
    return [
        torch.randn(1, sum(lengths), h, d, device="cuda", dtype=dtype).transpose(1, 2).requires_grad_()
        for h, d in shapes
    ]


def by_hand(tensors: list[torch.Tensor], lengths: tuple[int, ...], scale: float | None) -> torch.Tensor:
    """In float64, row by row: softmax of the scores of what stands before."""
    query, key, value = (x.double() for x in tensors)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    outs, start = [], 0
    for length in lengths:
        q, k, v = (x[:, :, start : start + length] for x in (query, key, value))
        scores = q @ k.transpose(-1, -2) * (scale or q.shape[-1] ** -0.5)
        later = torch.ones(length, length, dtype=torch.bool, device="cuda").triu(1)
        outs.append(scores.masked_fill(later, -torch.inf).softmax(-1) @ v)
        start += length
    return torch.cat(outs, 2).transpose(1, 2)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("heads", "keys", "size"), [(8, 2, 64), (4, 4, 128), (6, 1, 32)])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float16, 3e-3), (torch.float32, 2e-3)])
def test_all_rows_at_once_are_each_row_by_itself(
    lengths: tuple[int, ...], heads: int, keys: int, size: int, dtype: torch.dtype, close: float
) -> None:
    tensors = made(lengths, heads, keys, size, dtype)
    out, expected = attention.at_once(*tensors, lengths), by_hand(tensors, lengths, None)
    assert out.shape == (1, sum(lengths), heads, size)
    torch.testing.assert_close(out.double(), expected, atol=close, rtol=close)
    coming = torch.randn_like(out)
    found = torch.autograd.grad(out, tensors, coming)
    wanted = torch.autograd.grad(expected, tensors, coming.double())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=4 * close, rtol=4 * close)


def test_another_scale_and_no_gradients() -> None:
    tensors = made((7, 30), 4, 2, 64, torch.float16)
    with torch.no_grad():
        out = attention.at_once(*tensors, (7, 30), scale=0.3)
    torch.testing.assert_close(out.double(), by_hand(tensors, (7, 30), 0.3), atol=4e-3, rtol=4e-3)


@of_unsloth
def test_unsloth_attends_rows_at_once_and_keeps_its_own_way_for_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_magic.backends.stack import import_stack

    import_stack("unsloth")
    from unsloth.utils import attention_dispatch

    calls: list[tuple[int, ...]] = []
    whole = attention.at_once

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[3])
        return whole(*args, **kwargs)

    monkeypatch.setattr(attention, "at_once", counting)
    tensors = made((7, 30), 4, 2, 64, torch.float16)
    attend = attention_dispatch._sdpa_packed_segments
    plain = {"n_groups": 2, "is_causal": True, "sliding_window": None, "sdpa_kwargs": {}}
    out = attend(*tensors, (7, 0, 30), **plain)
    assert calls == [(7, 30)]
    torch.testing.assert_close(out, attend.for_each_row(*tensors, (7, 30), **plain), atol=2e-3, rtol=2e-3)
    for other in ({"sliding_window": 8}, {"is_causal": False}, {"sdpa_kwargs": {"dropout_p": 0.5}}):
        attend(*tensors, (7, 30), **{**plain, **other})
    assert attend(*tensors, (7, 29), **plain) is None
    attend(*tensors, (7, 30), **{**plain, "sliding_window": 30})
    assert len(calls) == 2
