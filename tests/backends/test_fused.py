"""Functions put on layers for an adapter: each adapter gets its own, the base none; Unsloth itself is not needed."""

from types import MethodType
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from lora_magic.backends.fused import Fused, adapted_layers, alone

CONFIGS = {
    "dora": LoraConfig(target_modules=["q_proj", "k_proj", "v_proj", "gate_proj"], use_dora=True),
    "some": LoraConfig(target_modules=["q_proj", "up_proj"]),
}


@pytest.fixture
def plain() -> Any:
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, **sizes))


def adapted(model: Any) -> PeftModel:
    made: Any = get_peft_model(model, CONFIGS["dora"], adapter_name="dora")
    made.add_adapter("some", CONFIGS["some"])
    return made  # type: ignore[no-any-return]


def test_alone_an_adapter_sees_no_other(plain: Any) -> None:
    model = adapted(plain)
    whole = [name for name, _ in model.named_parameters()]
    parts = {id(layer): list(layer._modules) for layer in adapted_layers(model)}
    attention = plain.model.layers[0].self_attn
    with alone(model, "some"):
        assert not hasattr(attention.k_proj, "lora_A")
        assert list(attention.q_proj.lora_A) == ["some"]
        assert not attention.q_proj.lora_magnitude_vector
        assert not any(".dora" in name for name, _ in model.named_parameters())
        assert attention.q_proj.base_layer.weight is not None
    assert [name for name, _ in model.named_parameters()] == whole
    assert {id(layer): list(layer._modules) for layer in adapted_layers(model)} == parts
    with pytest.raises(RuntimeError), alone(model, "dora"):
        assert not hasattr(plain.model.layers[0].mlp.up_proj, "lora_A")
        raise RuntimeError
    assert [name for name, _ in model.named_parameters()] == whole


def test_each_adapter_gets_its_own_functions_and_the_base_none(plain: Any) -> None:
    plain.model.layers[0].self_attn.apply_qkv = own = object()
    fused = Fused(plain)
    mlp, attention = plain.model.layers[0].mlp, plain.model.layers[0].self_attn

    def doubled(self: Any, hidden: torch.Tensor) -> torch.Tensor:
        return 2 * type(self).forward(self, hidden)

    hidden = torch.ones(1, 1, 32)
    before = mlp(hidden)
    mlp.forward, attention.apply_qkv = MethodType(doubled, mlp), object()
    fused.keep("one")
    fused.switch(None)
    fused.keep("two")
    assert (fused.count("one"), fused.count("two")) == (2, 0)
    for key, factor in (("one", 2), (None, 1), ("one", 2), ("two", 1), ("unknown", 1)):
        fused.switch(key)
        assert torch.equal(mlp(hidden), factor * before)
        assert (attention.apply_qkv is own) == (factor == 1)
    fused.drop("one")
    fused.switch("one")
    assert torch.equal(mlp(hidden), before)
