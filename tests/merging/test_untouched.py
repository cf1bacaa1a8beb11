"""The verification's model is transformers' own, whatever stands in its classes' places in this process."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lora_magic.merging import Settings, merge
from lora_magic.merging.untouched import model_class
from tests.merging.conftest import PROBES


def test_functions_put_into_transformers_classes_are_not_what_verifies(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
