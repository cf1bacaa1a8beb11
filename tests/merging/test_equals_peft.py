"""Our streamed merge against peft's `merge_and_unload` on the same float32 base."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from lora_magic.merging import Settings, find_originals, merge, merged_tensors, read_adapter, stream

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("llama", {"target_modules": ALL}),
    "rslora": ("llama", {"use_rslora": True}),
    "dora": ("llama", {"use_dora": True, "target_modules": ALL}),
    "rsdora": ("llama", {"use_dora": True, "use_rslora": True}),
    "rank pattern": ("llama", {"rank_pattern": {"q_proj": 2, r".*\.1\.mlp\.down_proj": 7}}),
    "alpha pattern": ("llama", {"alpha_pattern": {"down_proj": 3}, "use_rslora": True}),
    "both patterns": (
        "qwen",
        {"rank_pattern": {"layers.0.self_attn.q_proj": 2}, "alpha_pattern": {"q_proj": 5}},
    ),
    "bias all": ("qwen", {"bias": "all"}),
    "bias lora_only": ("qwen", {"bias": "lora_only", "target_modules": ["q_proj", "v_proj"]}),
    "lora_bias": ("qwen", {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]}),
    "dora with biases": ("qwen", {"use_dora": True, "bias": "all"}),
    "head saved": ("llama", {"modules_to_save": ["lm_head"]}),
    "both ends saved": ("llama", {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "norm saved": ("llama", {"modules_to_save": ["input_layernorm"]}),
    "embedding": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
    "embedding dora": ("llama", {"target_modules": ["embed_tokens", "q_proj"], "use_dora": True}),
    "head": ("llama", {"target_modules": ["lm_head", "q_proj"]}),
    "transposed": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "transposed dora": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
}


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    return max(float((ours[name].float() - theirs[name].float()).abs().max()) for name in ours)


@pytest.mark.parametrize("case", CASES)
def test_weights_equal_pefts(shop: Any, case: str) -> None:
    kind, settings = CASES[case]
    base = shop.base(kind, tie=kind == "gpt2")
    adapter = shop.adapter(base, **settings)
    ours = dict(merged_tensors(find_originals(str(base)), read_adapter(adapter)))
    theirs = shop.merged_by_peft(base, adapter)
    assert difference(ours, theirs) < 1e-6
    assert theirs.keys() - ours.keys() <= {"lm_head.weight"}
    plain = shop.load(base).state_dict()
    assert any(not theirs[name].equal(plain[name]) for name in ours)


@pytest.mark.parametrize("shard", ["1GB", "40KB"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_any_original_dtype_and_sharding(shop: Any, dtype: str, shard: str) -> None:
    base = shop.base("llama", dtype=dtype, shard=shard)
    assert len(list(base.glob("*.safetensors"))) == 1 or shard == "40KB"
    adapter = shop.adapter(base, use_dora=True)
    originals = find_originals(str(base))
    ours = dict(merged_tensors(originals, read_adapter(adapter)))
    assert difference(ours, shop.merged_by_peft(base, adapter)) < 1e-6
    untouched = ours["model.layers.0.self_attn.k_proj.weight"]
    assert str(untouched.dtype) == f"torch.{dtype}"
    assert str(ours["model.layers.0.self_attn.q_proj.weight"].dtype) == "torch.float32"


TIED: dict[str, dict[str, Any]] = {
    "embedding saved": {"modules_to_save": ["embed_tokens"]},
    "head saved": {"modules_to_save": ["lm_head"]},
    "both saved": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "head": {"target_modules": ["lm_head", "q_proj"]},
    "both": {"target_modules": ["embed_tokens", "lm_head"]},
}


@pytest.mark.parametrize("case", TIED)
def test_tied_embeddings_say_what_the_adapter_says(
    shop: Any, probes: list[list[int]], tmp_path: Path, case: str
) -> None:
    base = shop.base("llama", tie=True)
    adapter = shop.adapter(base, **TIED[case])
    result = merge(adapter, str(base), tmp_path / "out", Settings(dtype="float32"), probes=probes)
    assert result.max_logit_difference is not None and result.max_logit_difference < 1e-4
    assert result.stored is not None and result.stored.largest < 1e-4
    assert any("head is written apart" in note for note in result.notes)
    model = shop.load(tmp_path / "out")
    assert not model.config.tie_word_embeddings
    assert model.lm_head.weight is not model.model.embed_tokens.weight


@pytest.mark.filterwarnings("ignore")
def test_pefts_own_merge_changes_a_tied_adapter(shop: Any, probes: list[list[int]]) -> None:
    """Why the head is written apart: peft merges into the shared weight, and the logits change."""
    base = shop.base("llama", tie=True)
    adapted = shop.adapted(base, shop.adapter(base, target_modules=["embed_tokens"]))
    before = shop.logits(adapted, probes[0])
    after = shop.logits(adapted.merge_and_unload(), probes[0])
    assert float((before - after).abs().max()) > 1e-3


def test_tied_embeddings_stay_tied_when_the_adapter_leaves_them(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama", tie=True)
    merge(shop.adapter(base), str(base), tmp_path / "out")
    model = shop.load(tmp_path / "out")
    assert model.config.tie_word_embeddings and model.lm_head.weight is model.model.embed_tokens.weight


def test_weights_trained_tied_stay_tied(shop: Any, tmp_path: Path, probes: list[list[int]], read_folder: Any) -> None:
    base = shop.base("llama", tie=True)
    adapter = shop.adapter(base, modules_to_save=["embed_tokens"], ensure_weight_tying=True)
    result = merge(adapter, str(base), tmp_path / "out", Settings(dtype="float32"), probes=probes)
    assert result.max_logit_difference is not None and result.max_logit_difference < 1e-4
    assert "lm_head.weight" not in read_folder(tmp_path / "out")


def test_names_that_differ_by_their_containers(shop: Any) -> None:
    """GPT-2's first checkpoints name `h.0.…` what the model calls `transformer.h.0.…`."""
    from safetensors.torch import load_file, save_file

    base = shop.base("gpt2", tie=True)
    adapter = shop.adapter(base, target_modules=["c_attn"], fan_in_fan_out=True)
    old = shop.copy(base)
    state = {name.removeprefix("transformer."): t for name, t in load_file(old / "model.safetensors").items()}
    save_file(state, old / "model.safetensors", {"format": "pt"})
    ours = dict(merged_tensors(find_originals(str(old)), read_adapter(adapter)))
    theirs = shop.merged_by_peft(base, adapter)
    assert difference({f"transformer.{name}": tensor for name, tensor in ours.items()}, theirs) < 1e-6


def test_products_are_exact_in_every_thread_and_the_user_s_precision_comes_back(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    seen: list[tuple[bool, str]] = []
    whole = stream.apply_factors

    def looking(*args: Any, **kwargs: Any) -> Any:
        main = threading.current_thread() is threading.main_thread()
        made = whole(*args, **kwargs)
        seen.append((main, torch.get_float32_matmul_precision()))
        return made

    monkeypatch.setattr(stream, "apply_factors", looking)
    monkeypatch.setattr(stream, "PIECE_BYTES", 2_000)
    base = shop.base("gpt2", tie=True)
    adapter = shop.adapter(base, target_modules=["c_attn"], fan_in_fan_out=True, use_dora=True)
    torch.set_float32_matmul_precision("high")
    try:
        merge(adapter, str(base), tmp_path / "merged", Settings("float32"))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert {main for main, _ in seen} == {True, False}
    assert {precision for _, precision in seen} == {"highest"}
