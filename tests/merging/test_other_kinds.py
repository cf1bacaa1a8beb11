"""Kinds of adapter that peft merges itself, a layer at a time, against its `merge_and_unload` on the whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_magic.errors import LoraError
from lora_magic.merging import Settings, find_originals, merge, merged_tensors, read_adapter

TARGETS = ["q_proj", "down_proj"]


def config_of(kind: str) -> Any:
    import peft

    linear: dict[str, Any] = {"target_modules": TARGETS, "task_type": "CAUSAL_LM"}
    return {
        "LoHa": lambda: peft.LoHaConfig(r=4, alpha=8, **linear),
        "LoKr": lambda: peft.LoKrConfig(r=4, alpha=8, **linear),
        "VeRA": lambda: peft.VeraConfig(r=8, **linear),
        "OFT": lambda: peft.OFTConfig(r=0, oft_block_size=8, **linear),
        "BOFT": lambda: peft.BOFTConfig(boft_block_size=4, **linear),
        "HRA": lambda: peft.HRAConfig(r=4, **linear),
        "MISS": lambda: peft.MissConfig(r=4, **linear),
        "IA3": lambda: peft.IA3Config(target_modules=[*TARGETS, "v_proj"], feedforward_modules=["down_proj"]),
        "LN_TUNING": lambda: peft.LNTuningConfig(target_modules=["input_layernorm", "norm"], task_type="CAUSAL_LM"),
        "FOURIERFT": lambda: peft.FourierFTConfig(n_frequency=30, **linear),
        "RANDLORA": lambda: peft.RandLoraConfig(r=4, **linear),
        "VBLORA": lambda: peft.VBLoRAConfig(r=4, num_vectors=24, vector_length=8, topk=2, **linear),
        "TRAINABLE_TOKENS": lambda: peft.TrainableTokensConfig(
            token_indices=[1, 5, 9], target_modules=["embed_tokens"]
        ),
        "LoRA and tokens": lambda: peft.LoraConfig(r=4, trainable_token_indices=[2, 5], **linear),
        "LoHa with a saved head": lambda: peft.LoHaConfig(r=4, alpha=8, modules_to_save=["lm_head"], **linear),
    }[kind]()


KINDS = [
    "LoHa", "LoKr", "VeRA", "OFT", "BOFT", "HRA", "MISS", "IA3", "LN_TUNING", "FOURIERFT", "RANDLORA", "VBLORA",
    "TRAINABLE_TOKENS", "LoRA and tokens", "LoHa with a saved head",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_answers_equal_pefts(shop: Any, tmp_path: Path, probes: list[list[int]], kind: str) -> None:
    base = shop.base("llama", shard="40KB")
    adapter = shop.adapter(base, config_of(kind))
    ours = dict(merged_tensors(find_originals(str(base)), read_adapter(adapter)))
    theirs = shop.merged_by_peft(base, adapter)
    assert theirs.keys() == ours.keys()
    assert max(float((ours[name].float() - theirs[name].float()).abs().max()) for name in ours) < 1e-5
    plain = shop.load(base).state_dict()
    assert any(not theirs[name].equal(plain[name]) for name in ours)
    result = merge(adapter, str(base), tmp_path / "out", Settings("float32"), probes=probes)
    assert result.merged is not None and result.merged.largest < 1e-3
    assert result.stored is not None and result.stored.largest < 1e-3 and result.stored.kl < 1e-6


def test_tokens_of_tied_ends_stay_tied(shop: Any, tmp_path: Path, probes: list[list[int]]) -> None:
    base = shop.base("llama", tie=True)
    adapter = shop.adapter(base, config_of("TRAINABLE_TOKENS"))
    result = merge(adapter, str(base), tmp_path / "out", Settings("float32"), probes=probes)
    assert result.merged is not None and result.merged.largest < 1e-3
    model = shop.load(tmp_path / "out")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    theirs = shop.logits(shop.adapted(base, adapter), probes[0])
    assert float((shop.logits(model, probes[0]) - theirs).abs().max()) < 1e-3


def test_adapted_experts(shop: Any, tmp_path: Path, probes: list[list[int]]) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM, GptOssConfig

    torch.manual_seed(0)
    config = GptOssConfig(
        vocab_size=96, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_local_experts=4, head_dim=16,
        num_experts_per_tok=2, num_attention_heads=2, num_key_value_heads=1,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "base")
    experts = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    adapter = shop.adapter(
        tmp_path / "base", peft.LoraConfig(r=2, target_modules=["q_proj"], target_parameters=experts)
    )
    result = merge(adapter, str(tmp_path / "base"), tmp_path / "out", Settings("float32"), probes=probes)
    assert result.merged is not None and result.merged.largest < 1e-3
    ours = shop.load(tmp_path / "out").state_dict()
    theirs = shop.merged_by_peft(tmp_path / "base", adapter)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-5
    before = shop.load(tmp_path / "base").state_dict()
    assert all(
        not ours[name].equal(before[name]) for name in ours if name.endswith(("gate_up_proj", "experts.down_proj"))
    )


def test_experts_that_are_stored_one_by_one_are_refused_in_a_line(shop: Any, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM, MixtralConfig

    base = tmp_path / "base"
    config = MixtralConfig(
        vocab_size=96, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=4,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    experts = peft.LoraConfig(r=2, target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"])
    for adapter, name in (
        (shop.adapter(base, experts), r"mlp\.experts\.\w+_proj has"),
        (shop.adapter(base, target_modules=["gate"]), r"mlp\.gate\.weight has"),
    ):
        with pytest.raises(LoraError, match=rf"stores its experts one by one, so that .*{name} other names") as caught:
            merge(adapter, str(base), tmp_path / "out")
        assert "\n" not in str(caught.value) and "unmerged" in caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    merge(shop.adapter(base, target_modules=["q_proj"]), str(base), tmp_path / "out")


def test_what_peft_cannot_merge_is_one_line(shop: Any, tmp_path: Path) -> None:
    import peft

    base = shop.base("llama")
    prompts = peft.PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")
    with pytest.raises(LoraError, match="PROMPT_TUNING, which has no merged form"):
        merge(shop.adapter(base, prompts), str(base), tmp_path / "out")
    with pytest.raises(LoraError, match="does not fit this base"):
        merge(shop.adapter(base, config_of("LoHa")), str(shop.base("gpt2", tie=True)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
