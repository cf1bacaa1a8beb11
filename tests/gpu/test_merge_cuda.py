"""A merge whose arithmetic runs on the card, against the same on the processor."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_magic.errors import LoraError
from lora_magic.merging import Settings, find_originals, merge, sink, stream
from lora_magic.merging.tensors import Reader
from lora_magic.results import MergeResult
from tests.merging.conftest import Workshop

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

PROMPT = [1, 5, 9, 33, 2]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("llama", {}),
    "dora": ("llama", {"use_dora": True}),
    "biases": ("qwen", {"bias": "all"}),
    "embedding and head": ("llama", {"target_modules": ["embed_tokens", "lm_head"]}),
    "transposed dora": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
}


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "workshop")


def on_both(
    monkeypatch: pytest.MonkeyPatch, adapter: Path, base: Path, root: Path, settings: Settings
) -> tuple[MergeResult, Path, Path]:
    """Merge on the card, verified, then on the processor: (the card's result, the two folders)."""
    assert stream.free_device() == "cuda"
    card = merge(adapter, str(base), root / "card", settings, probes=[PROMPT])
    with monkeypatch.context() as without:
        without.setattr("torch.cuda.is_available", lambda: False)
        merge(adapter, str(base), root / "processor", settings)
    return card, root / "card", root / "processor"


def read(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("case", CASES)
def test_card_and_processor_write_the_same(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    kind, settings = CASES[case]
    base = shop.base(kind, dtype="bfloat16", tie=kind == "gpt2")
    adapter = shop.adapter(base, **settings)
    torch.set_float32_matmul_precision("high")
    try:
        ours, *folders = on_both(monkeypatch, adapter, base, tmp_path, Settings("float32"))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert ours.merged is not None and ours.merged.largest < 1e-3
    card, processor = (read(folder) for folder in folders)
    assert card.keys() == processor.keys()
    assert max(float((card[name] - processor[name]).abs().max()) for name in card) < 1e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_many_pieces_files_and_blocks(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(stream, "PIECE_BYTES", 1_000)
    monkeypatch.setattr(sink, "BLOCK_BYTES", 4_096)
    base = shop.base("llama", dtype="bfloat16", shard="40KB")
    adapter = shop.adapter(base, use_dora=True)
    _, *folders = on_both(monkeypatch, adapter, base, tmp_path, Settings(dtype, shard_size=60_000))
    card, processor = (read(folder) for folder in folders)
    step = torch.finfo(getattr(torch, dtype)).eps
    for name, values in processor.items():
        assert card[name].dtype == values.dtype == getattr(torch, dtype)
        apart = (card[name].float() - values.float()).abs()
        assert bool((apart <= step * values.float().abs() + 1e-6).all()), name
        assert float((apart > 0).float().mean()) < 0.01, name


def test_four_bits_on_the_card(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bitsandbytes")
    base = shop.base("llama", dtype="bfloat16")
    settings = Settings("bfloat16", packed=True)
    ours, *folders = on_both(monkeypatch, shop.adapter(base), base, tmp_path, settings)
    assert ours.stored is not None and ours.stored.kl > 0
    with Reader() as reader:
        card, processor = (
            {name: reader.read(stored) for name, stored in find_originals(str(folder)).weights.items()}
            for folder in folders
        )
    for name, values in processor.items():
        different = (card[name].float() - values.float()).abs() > 1e-2 * float(values.float().abs().max())
        assert float(different.float().mean()) < 0.01, name


def test_overflow_on_the_card_is_named(shop: Workshop, tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base, target_modules=["q_proj"])
    wide = shop.copy(base)
    state = load_file(wide / "model.safetensors")
    name = "model.layers.1.self_attn.q_proj.weight"
    state[name][3, 4] = 1e5
    save_file(state, wide / "model.safetensors")
    with pytest.raises(LoraError, match=r"layers\.1\.self_attn\.q_proj\.weight holds 1e\+05, which overflows float16"):
        merge(adapter, str(wide), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_card_holds_pieces_alone(shop: Workshop, tmp_path: Path) -> None:
    """Of 0.5 GB of float32 weights: a few pieces of 8 MiB, and what its libraries keep."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=8_000, hidden_size=2_048, intermediate_size=8_192, num_hidden_layers=2, num_attention_heads=16,
        num_key_value_heads=4, dtype="bfloat16",
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    adapter = shop.adapter(tmp_path / "base")
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    merge(adapter, str(tmp_path / "base"), tmp_path / "out", Settings("bfloat16"))
    assert torch.cuda.max_memory_allocated() - before < 160 * 2**20
