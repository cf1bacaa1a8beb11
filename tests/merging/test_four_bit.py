"""Merging into NF4, and into a base that is known in NF4 only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.errors import LoraError
from lora_magic.merging import Settings, find_originals, merge
from lora_magic.merging.nf4 import part_shapes, quantised
from lora_magic.merging.tensors import ITEM_BYTES

PACKED = Settings("bfloat16", packed=True, shard_size=60_000)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 70), columns=st.sampled_from([32, 64, 96, 128]), seed=st.integers(0, 99))
def test_parts_are_as_long_as_said_and_unpack_to_what_bitsandbytes_makes(rows: int, columns: int, seed: int) -> None:
    from bitsandbytes.functional import QuantState, dequantize_4bit, quantize_4bit

    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).half()
    parts = quantised(weight)
    for name, (code, shape) in part_shapes(weight.numel()).items():
        assert tuple(parts[name].shape) == shape and parts[name].element_size() == ITEM_BYTES[code]
    state = QuantState.from_dict({name: part for name, part in parts.items() if name}, torch.device("cpu"))
    theirs = dequantize_4bit(*quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4"))
    assert torch.equal(dequantize_4bit(parts[""], state), theirs)


def test_folder_in_four_bits_loads_and_says_nearly_the_same(
    shop: Any, tmp_path: Path, probes: list[list[int]], read_folder: Callable[[Path], dict[str, Any]]
) -> None:
    base = shop.base("qwen", shard="40KB")
    adapter = shop.adapter(base, target_modules=["q_proj", "v_proj", "down_proj"])
    result = merge(adapter, str(base), tmp_path / "out", PACKED, probes=probes)
    assert result.dtype == "NF4" and result.merged is not None and result.merged.largest < 1e-3
    assert result.stored is not None and result.stored.largest > 1e-3 and result.stored.kl > 1e-5
    model = shop.load(tmp_path / "out")
    assert type(model.model.layers[0].mlp.down_proj).__name__ == "Linear4bit"
    assert type(model.lm_head).__name__ == "Linear"
    written = read_folder(tmp_path / "out")
    assert len([name for name in written if name.endswith("bitsandbytes__nf4")]) == 2 * 7
    for module in model.modules():
        module.support_avx512bf16_for_cpu = False  # its repacking wants rows of whole blocks
    adapted = shop.adapted(base, adapter)
    apart = [(shop.logits(model, ids).float() - shop.logits(adapted, ids).float()).abs().max() for ids in probes]
    assert float(max(apart)) == pytest.approx(result.stored.largest, rel=0.05)
    assert "NF4" in (tmp_path / "out" / "README.md").read_text()


def test_transposed_layers_are_not_packed(shop: Any, tmp_path: Path) -> None:
    base = shop.base("gpt2", tie=True)
    adapter = shop.adapter(base, target_modules=["c_attn"], fan_in_fan_out=True)
    with pytest.raises(LoraError, match="lies transposed, which is not written in 4 bits"):
        merge(adapter, str(base), tmp_path / "out", PACKED)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def packed_base(shop: Any, tmp_path: Path) -> Path:
    """A llama that transformers saved in NF4."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    base = shop.base("llama")
    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    model = AutoModelForCausalLM.from_pretrained(base, quantization_config=how, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "packed")
    shutil.copy(base / "tokenizer.json", tmp_path / "packed")
    return tmp_path / "packed"


def test_base_known_only_in_four_bits(
    shop: Any, tmp_path: Path, packed_base: Path, probes: list[list[int]], read_folder: Callable[[Path], dict[str, Any]]
) -> None:
    adapter = shop.adapter(shop.base("llama"))
    result = merge(adapter, str(packed_base), tmp_path / "out", Settings("float32"), probes=probes)
    assert any("known only in 4 bits" in note for note in result.notes)
    assert result.merged is not None and result.merged.largest < 1e-3
    written = read_folder(tmp_path / "out")
    assert {str(tensor.dtype) for tensor in written.values()} == {"torch.float32"}
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    original = shop.load(shop.base("llama")).state_dict()
    name = "model.layers.0.self_attn.k_proj.weight"
    error = (written[name] - original[name]).abs()
    assert 0 < float(error.max()) < 0.2 * float(original[name].abs().max())


def test_name_that_tells_of_the_original(shop: Any, tmp_path: Path, packed_base: Path) -> None:
    named = packed_base.rename(packed_base.with_name("tiny-unsloth-bnb-4bit"))
    with pytest.raises(LoraError, match=r"holds 4-bit weights; its 16-bit original is probably .*/tiny") as caught:
        find_originals(str(named))
    assert f"--base {named.parent / 'tiny'}." in caught.value.remedy
    assert find_originals(str(named), take_packed=True).packed
    result = merge(
        shop.adapter(shop.base("llama")), str(named), tmp_path / "out", Settings(take_packed=True), name="support"
    )
    assert any("known only in 4 bits" in note for note in result.notes)
