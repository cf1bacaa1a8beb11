"""4-bit weights that stand in 16 bits for a run: the same values, and the packed ones come back."""

from types import SimpleNamespace
from typing import Any

import bitsandbytes
import pytest
import torch

from lora_magic.backends.expanded import Expanded

STACK = SimpleNamespace(torch=torch, bitsandbytes=bitsandbytes)


@pytest.fixture
def packed() -> Any:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(64, 128),
        torch.nn.Sequential(
            *(bitsandbytes.nn.Linear4bit(a, b, bias=biased, quant_type="nf4", compute_dtype=torch.float32)
              for a, b, biased in ((128, 128, True), (128, 64, False)))
        ),
    )  # fmt: skip
    return layers.to("cpu").requires_grad_(False)


def test_outputs_stay_and_the_packed_layers_come_back(packed: Any) -> None:
    x, before = torch.randn(3, 64), list(packed.modules())
    expected = packed(x)
    state = {name: value.clone() for name, value in packed.state_dict().items()}
    expanded = Expanded(STACK)
    expanded.put_on(packed)
    assert expanded and not any(isinstance(m, bitsandbytes.nn.Linear4bit) for m in packed.modules())
    assert not any(p.requires_grad for p in packed.parameters())
    torch.testing.assert_close(packed(x), expected, rtol=1e-5, atol=1e-5)
    expanded.take_off()
    assert not expanded and list(packed.modules()) == before
    assert torch.equal(packed(x), expected)
    assert all(torch.equal(packed.state_dict()[name], value) for name, value in state.items())


def test_a_layer_in_two_places_stays_one_and_computes_as_it_did(packed: Any) -> None:
    inner = packed[1]
    twice = torch.nn.ModuleList([inner[0], torch.nn.Sequential(inner[0], inner[1])])
    inner[0].compute_dtype = torch.bfloat16
    expanded = Expanded(STACK)
    expanded.put_on(twice)
    assert twice[0] is twice[1][0] and twice[0].weight.dtype is torch.bfloat16
    expanded.take_off()
    assert twice[0] is twice[1][0] is inner[0]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt()])
def test_where_it_is_broken_off_all_is_as_it_was(
    packed: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before, whole, calls = list(packed.modules()), bitsandbytes.functional.dequantize_4bit, []

    def full(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise error
        return whole(*args, **kwargs)

    monkeypatch.setattr(bitsandbytes.functional, "dequantize_4bit", full)
    expanded = Expanded(STACK)
    with pytest.raises(type(error)):
        expanded.put_on(packed)
    assert list(packed.modules()) == before and not expanded
