"""The verification's model is transformers' own, whatever stands in its classes' places in this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lora_magic.merging import Settings, merge
from lora_magic.merging.skeleton import skeleton
from lora_magic.merging.untouched import model_class
from tests.merging.conftest import PROBES


def test_functions_put_into_transformers_classes_are_not_what_verifies(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import masking_utils
    from transformers.models.llama import modeling_llama

    base = shop.base()
    adapter = shop.adapter(base)
    plain = merge(adapter, str(base), tmp_path / "plain", Settings("float32"), probes=PROBES)

    def theirs(*_: Any, **__: Any) -> Any:
        raise ValueError("wants a model that was loaded otherwise")

    monkeypatch.setitem(sys.modules, "unsloth", ModuleType("unsloth"))
    for name in ("LlamaModel", "LlamaAttention", "LlamaRMSNorm", "LlamaForCausalLM", "LlamaRotaryEmbedding"):
        monkeypatch.setattr(getattr(modeling_llama, name), "forward", theirs)
    monkeypatch.setattr(modeling_llama, "LlamaMLP", None)
    monkeypatch.setattr(masking_utils, "create_causal_mask", theirs)
    monkeypatch.delitem(sys.modules, "transformers.models.llama.modeling_llama_untouched", raising=False)
    again = merge(adapter, str(base), tmp_path / "again", Settings("float32"), probes=PROBES)
    assert again.merged is not None and again.merged == plain.merged
    assert again.stored == plain.stored


def test_architectures_that_transformers_does_not_make_are_told() -> None:
    from transformers import CLIPVisionConfig, PretrainedConfig, Qwen3Config

    assert model_class(PretrainedConfig()) is None
    assert model_class(CLIPVisionConfig()) is None
    made = model_class(Qwen3Config())
    assert made.__name__ == "Qwen3ForCausalLM" and made is model_class(Qwen3Config())
    assert made.__module__ != "transformers.models.qwen3.modeling_qwen3"


SMALL = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip
LLAMA_4 = {**SMALL, "intermediate_size_mlp": 96, "num_local_experts": 2, "moe_layers": [1], "no_rope_layers": [1, 1]}
SEEING = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
          "image_size": 28, "patch_size": 14}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": SMALL, "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 96}, "mixtral": SMALL,
    "gemma3_text": SMALL, "gpt_oss": {**SMALL, "num_local_experts": 2, "num_experts_per_tok": 1},
    "llama4": {"text_config": {**LLAMA_4, "model_type": "llama4_text"}, "vision_config": SEEING},
    "gemma3": {"text_config": {**SMALL, "model_type": "gemma3_text"}, "vision_config": SEEING,
               "mm_tokens_per_image": 4},
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_models_are_those_that_transformers_makes(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, **CONFIGS[kind]}))
    plain = skeleton(tmp_path, trust_remote_code=False)
    monkeypatch.setitem(sys.modules, "unsloth", ModuleType("unsloth"))
    own = skeleton(tmp_path, trust_remote_code=False)
    assert type(own) is not type(plain) and type(own).__name__ == type(plain).__name__
    assert {n: p.shape for n, p in own.named_parameters()} == {n: p.shape for n, p in plain.named_parameters()}
    assert type(own.config) is type(plain.config)


def test_a_model_s_own_code_is_what_verifies_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    named = {"model_type": "llama", **SMALL, "auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}}
    (tmp_path / "config.json").write_text(json.dumps(named))
    (tmp_path / "modeling_mine.py").write_text(
        "from transformers import LlamaForCausalLM\nclass Mine(LlamaForCausalLM): ...\n"
    )
    monkeypatch.setattr(AutoModelForCausalLM._model_mapping, "_extra_content", {})  # such code is registered for good
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setitem(sys.modules, "unsloth", ModuleType("unsloth"))
    assert type(skeleton(tmp_path, trust_remote_code=True)).__name__ == "Mine"
