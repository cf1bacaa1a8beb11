"""Shapes from config.json equal those of the models that transformers builds from it."""

from typing import Any

import pytest

from lora_magic.errors import LoraError
from lora_magic.planning.architecture import read
from tests.planning.configs import LLAMA_8B, MISTRAL_7B, PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_projections_equal_the_real_model_s(name: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = dict(PUBLISHED[name].get("text_config", PUBLISHED[name]))
    family = config.pop("model_type")
    with torch.device("meta"):
        made = AutoConfig.for_model(family, **config)
        made.pad_token_id = None
        model = AutoModelForCausalLM.from_config(made)
    found = read(PUBLISHED[name])
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.known
    linear = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and ".layers.0." in n]
    real = {n.rpartition(".")[2]: (m.in_features, m.out_features, m.bias is not None) for n, m in linear}
    assert {p.name: (p.inputs, p.outputs, p.bias) for p in found.projections} == real


@pytest.mark.parametrize(("rank", "target"), [(16, "all-linear"), (8, "attention"), (4, "q_proj,v_proj")])
def test_an_adapter_counts_what_peft_adds(rank: int, target: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = {**LLAMA_8B, "num_hidden_layers": 2}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**{k: v for k, v in config.items() if k != "model_type"}))
        names = [p.name for p in read(config).targets(target)]
        adapted = get_peft_model(model, LoraConfig(r=rank, target_modules=names, task_type="CAUSAL_LM"))
    assert read(config).adapter(rank, target) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_an_unknown_family_is_taken_for_a_decoder_like_llama_and_says_so() -> None:
    found = read({"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257})
    assert (found.known, found.head_dim, found.intermediate, found.kv_heads) == (False, 64, 3072, 12)


def test_embeddings_of_each_block_are_counted() -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("gemma3n_text")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    table = model.get_submodule("model.embed_tokens_per_layer").weight.numel()
    plain = {**config.to_dict(), "hidden_size_per_layer_input": 0, "intermediate_size": 8192}
    own = read({**plain, "hidden_size_per_layer_input": config.hidden_size_per_layer_input})
    assert own.parameters - read(plain).parameters == table > 2**28


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_size": None}, "hidden_size None"),
        ({"num_hidden_layers": "32"}, "num_hidden_layers '32'"),
        ({"vocab_size": -1}, "vocab_size -1"),
        ({"num_local_experts": 8}, "mixture of experts"),
        ({"moe_num_experts": [1, 64]}, "mixture of experts"),
        ({"num_key_value_heads": 7}, "7 key and value heads"),
    ],
)
def test_a_damaged_config_is_one_line(change: dict[str, Any], told: str) -> None:
    with pytest.raises(LoraError, match=told):
        read({**MISTRAL_7B, **change})


def test_a_layer_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(LoraError, match=r'"qkv_proj".*q_proj, k_proj'):
        read(MISTRAL_7B).adapter(8, "q_proj qkv_proj")
