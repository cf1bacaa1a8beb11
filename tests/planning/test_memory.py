"""The memory formulas: what autograd really keeps, published figures, and how peaks move."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.planning.architecture import read
from lora_magic.planning.memory import PARTS, fused_rows, held_activations, kept_by_block, parts, peak, weights
from lora_magic.planning.setting import Setting
from tests.planning.configs import GEMMA_2_2B, LLAMA_1B, LLAMA_3B, LLAMA_8B, PUBLISHED, QWEN3_4B
from tests.planning.counting import SMALL, kept

GIB = 2**30


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma", "phi3"])
def test_a_block_keeps_exactly_what_autograd_saves_under_transformers_and_peft(family: str) -> None:
    config, rank, rows, length = {**SMALL, "model_type": family}, 4, 2, 32
    two, three = (kept({**config, "num_hidden_layers": n}, rows, length, r=rank) for n in (2, 3))
    model = read({**config, "num_hidden_layers": 1})
    setting = Setting(rows * length, length, backend="transformers", rank=rank, padded=True)
    copies_of_the_adapter = 2 * model.adapter(rank)
    offsets = 4 * model.norms if family == "gemma" else 0  # its norms scale by 1 + weight
    assert three - two == pytest.approx(kept_by_block(model, setting) + copies_of_the_adapter + offsets, rel=1e-3)


def test_nf4_weights_of_llama_8b_are_what_bitsandbytes_packs() -> None:
    """A block of one layer's linear weights, packed by bitsandbytes itself."""
    import bitsandbytes
    import torch

    rows, columns = 512, 1024
    _, state = bitsandbytes.functional.quantize_4bit(
        torch.randn(rows, columns), quant_type="nf4", compress_statistics=True, blocksize=64
    )
    packed = rows * columns // 2 + state.absmax.numel() + 4 * state.state2.absmax.numel()
    model = read(LLAMA_8B)
    halves = 2 * (model.embedding + model.small)
    assert (weights(model, 4) - halves) / model.linear == pytest.approx(packed / (rows * columns), rel=1e-6)
    assert weights(model, 4) / GIB == pytest.approx(5.31, abs=0.01)


@pytest.mark.parametrize(
    ("tokens", "hidden", "vocabulary", "rows"),
    [(4096, 4096, 128_256, 512), (200, 4096, 128_256, 200), (8192, 4096, 32_000, 2048), (8192, 2304, 256_000, 512)],
)
def test_rows_of_the_fused_loss(tokens: int, hidden: int, vocabulary: int, rows: int) -> None:
    assert fused_rows(tokens, hidden, vocabulary) == rows


@pytest.mark.parametrize(
    ("config", "tokens", "checkpointing", "gib"),
    [
        (LLAMA_8B, 4096, "offload", 6.7),  # two rows of 2,048 tokens under Unsloth's own checkpointing
        (LLAMA_3B, 500, "offload", 2.7),   # two GSM8K rows
        (LLAMA_8B, 500, "offload", 6.2),
    ],
)  # fmt: skip
def test_peaks_are_near_those_measured_on_a_card(config: Any, tokens: int, checkpointing: str, gib: float) -> None:
    """Measured on an H200 with Unsloth 2026.10.9, r=16, float16; the calibrated tolerance is another matter."""
    setting = Setting(tokens, min(tokens, 2048), checkpointing, accumulation=4)
    assert peak(read(config), setting) / GIB == pytest.approx(gib, rel=0.12)


MODELS = st.sampled_from(list(PUBLISHED.values())).map(read)
SETTINGS = st.builds(
    Setting,
    tokens=st.integers(1, 16_384), longest=st.integers(1, 2048),
    checkpointing=st.sampled_from(["off", "on", "offload"]), kept=st.integers(0, 60),
    bits=st.sampled_from([4, 8, 16]), rank=st.integers(1, 256),
    optimizer=st.sampled_from(["adamw", "adamw-8bit", "paged-adamw-8bit", "adafactor", "sgd"]),
    accumulation=st.integers(1, 8), backend=st.sampled_from(["unsloth", "transformers"]),
    attention=st.sampled_from(["efficient", "flash", "math"]), padded=st.booleans(),
    method=st.sampled_from(["lora", "dora"]), dropout=st.sampled_from([0.0, 0.1]),
    bias=st.sampled_from(["none", "lora_only", "all"]),
)  # fmt: skip


@given(MODELS, SETTINGS)
def test_parts_are_named_not_negative_and_add_up(model: Any, setting: Setting) -> None:
    found = parts(model, setting)
    assert tuple(found) == PARTS
    assert all(math.isfinite(v) and v >= 0 for v in found.values())
    assert peak(model, setting) == pytest.approx(sum(found.values()))


@settings(max_examples=200)
@given(MODELS, SETTINGS, st.integers(1, 4096), st.integers(1, 64))
def test_more_tokens_rank_bits_or_micro_batches_never_take_less(
    model: Any, setting: Setting, more: int, rank: int
) -> None:
    base = peak(model, setting)
    assert peak(model, setting.but(tokens=setting.tokens + more)) >= base
    assert peak(model, setting.but(longest=setting.longest + more)) >= base
    assert peak(model, setting.but(rank=setting.rank + rank)) >= base
    assert peak(model, setting.but(accumulation=setting.accumulation + 1)) >= base


@given(MODELS)
def test_weights_grow_with_bits(model: Any) -> None:
    sizes = [weights(model, bits) for bits in (4, 8, 16, 32)]
    assert sizes == sorted(sizes)


@given(MODELS, SETTINGS)
def test_checkpointing_never_holds_more_and_kept_blocks_lie_between(model: Any, setting: Setting) -> None:
    off = held_activations(model, setting.but(checkpointing="off"))
    kept, on = (held_activations(model, setting.but(checkpointing="on", kept=k)) for k in (model.layers // 2, 0))
    assert on <= kept <= off
    assert held_activations(model, setting.but(checkpointing="offload", kept=0)) <= on


def test_what_lies_where() -> None:
    model = read(LLAMA_1B)
    free = parts(model, Setting(4096, 2048))
    paged = parts(model, Setting(4096, 2048, optimizer="paged-adamw-8bit"))
    assert free["optimiser"] > 0 == paged["optimiser"]
    assert free["activations"] > parts(model, Setting(4096, 2048, "offload"))["activations"]
    everything = parts(model, Setting(512, 512, "on", full=True, bits=32, optimizer="adamw", backend="transformers"))
    assert everything["weights"] == everything["gradients"] == 4 * model.parameters
    assert everything["optimiser"] == 8 * model.parameters and everything["adapter"] == 0
    assert parts(read(GEMMA_2_2B), Setting(4096, 2048, backend="transformers"))["logits"] > 10 * GIB
    assert kept_by_block(read(QWEN3_4B), Setting(8, 8)) > 0
