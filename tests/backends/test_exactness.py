"""Traps of the stack that train wrongly without a word; each test fails without its remedy."""

from pathlib import Path

import pytest

from lora_magic.errors import LoraError
from tests.models import write_model
from tests.session.test_session import loaded, trained


def test_every_four_bit_layer_is_kept_from_repacking(tiny_folder: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    base = loaded(tiny_folder).base
    layers = [m for m in base._model.modules() if isinstance(m, Linear4bit)]  # type: ignore[attr-defined]
    assert len(layers) == 14
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
@pytest.mark.parametrize("method", ["lora", "rslora", "dora"])
def test_every_method_learns_at_every_width(tiny_folder: Path, bits: int, method: str) -> None:
    if (method, bits) == ("dora", 8):
        with pytest.raises(LoraError, match="DoRA on 8-bit"):
            trained(loaded(tiny_folder, bits=bits), method=method)
        return
    result = trained(loaded(tiny_folder, bits=bits), method=method, max_steps=12, lr=2e-2, eval_every=12)
    (_, before), (_, after) = result.eval_losses
    assert after < 0.8 * before


def test_a_quantised_folder_loads_as_it_is(tiny_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    AutoModelForCausalLM.from_pretrained(tiny_folder, quantization_config=config, device_map="cpu").save_pretrained(
        tmp_path / "q"
    )
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(tmp_path / "q")
    facts = loaded(tmp_path / "q", bits=16).base.facts
    assert facts.bits == 4
    assert ("4-bit", "the folder is already quantised") in facts.reasons
    assert facts.parameters == loaded(tiny_folder).base.facts.parameters


def test_parameters_are_counted_unpacked(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    write_model(tmp_path / "plain", family="qwen2")
    counted = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").num_parameters()
    assert loaded(tmp_path / "plain", bits=4).base.facts.parameters == counted
    assert loaded(tmp_path / "plain", bits=8).base.facts.parameters == counted
