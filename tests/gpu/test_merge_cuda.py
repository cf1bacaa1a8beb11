"""A merge whose arithmetic runs on the card, against the same on the processor."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lora_magic.merging import Settings, merge
from tests.merging.conftest import Workshop

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dora", [False, True])
def test_card_and_processor_write_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dora: bool) -> None:
    shop = Workshop(tmp_path)
    base = shop.base("llama", dtype="bfloat16")
    adapter = shop.adapter(base, use_dora=dora)
    torch.set_float32_matmul_precision("high")
    try:
        ours = merge(adapter, str(base), tmp_path / "card", Settings("float32"), probes=[[1, 5, 9, 33, 2]])
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    merge(adapter, str(base), tmp_path / "processor", Settings("float32"))
    assert ours.merged is not None and ours.merged.largest < 1e-3
    card, processor = (load_file(tmp_path / where / "model.safetensors") for where in ("card", "processor"))
    assert max(float((card[name] - processor[name]).abs().max()) for name in card) < 1e-5
