"""Traps of the stack that train wrongly without a word; each test fails without its remedy."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.backends.transformers import TransformersBase
from lora_magic.config import TrainConfig
from lora_magic.errors import LoraError
from tests.models import write_model
from tests.session.test_session import loaded, trained

ROW = [5, 6, 7, 8, 9, 10, 11, 12]


def gradients(base: Any) -> list[torch.Tensor]:
    model = base._model
    model.zero_grad(set_to_none=True)
    model.train()
    ids = torch.tensor([ROW])
    model(input_ids=ids, labels=ids).loss.backward()
    model.eval()
    return [p.grad.clone() for p in model.parameters() if p.requires_grad]


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
def test_gradients_after_an_evaluation_equal_those_before_it(tiny_folder: Path, bits: int) -> None:
    """bitsandbytes repacks 4-bit weights at the first evaluation on CPUs with AVX512-BF16."""
    base = loaded(tiny_folder, bits=bits).base
    base.attach("adapter1", TrainConfig(data=[], rank=4))
    assert isinstance(base, TransformersBase)
    for name, parameter in base._model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    before = gradients(base)
    base.logits(ROW)
    after = gradients(base)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_every_four_bit_layer_is_kept_from_repacking(tiny_folder: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    base = loaded(tiny_folder).base
    layers = [m for m in base._model.modules() if isinstance(m, Linear4bit)]  # type: ignore[attr-defined]
    assert len(layers) == 14
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


@pytest.mark.parametrize("bits", [4, 16, 32])
def test_the_adapter_trains_in_float32_from_its_exact_start(tiny_folder: Path, tmp_path: Path, bits: int) -> None:
    """trl casts the adapter of a quantised model to bfloat16, which rounds its start and breaks float16's scaler."""
    from datasets import Dataset
    from trl import SFTConfig

    base = loaded(tiny_folder, bits=bits).base
    base.attach("adapter1", TrainConfig(data=[], rank=4))
    before = {n: p.detach().clone() for n, p in base._model.named_parameters() if p.requires_grad}  # type: ignore[attr-defined]
    skip = {"skip_prepare_dataset": True}
    base.trainer(
        "adapter1",
        args=SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", dataset_kwargs=skip),
        train_dataset=Dataset.from_dict({"input_ids": [ROW], "labels": [ROW]}),
    )
    after = {n: p for n, p in base._model.named_parameters() if p.requires_grad}  # type: ignore[attr-defined]
    assert before.keys() == after.keys()
    assert all(p.dtype is torch.float32 for p in after.values())
    assert all(torch.equal(before[n], after[n]) for n in before)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_mixed_precision_leaves_nothing_on_the_model(tiny_folder: Path, bits: int) -> None:
    """accelerate wraps `forward` in autocast and leaves it there, which would change the base's own answers."""
    session = loaded(tiny_folder, bits=bits)
    session.base.activate(None)
    before = session.base.logits(ROW)
    trained(session, "mixed", checkpointing="on")
    model = session.base._model  # type: ignore[attr-defined]
    assert "_original_forward" not in model.__dict__ and not hasattr(model.forward, "__wrapped__")
    session.base.activate(None)
    assert torch.equal(session.base.logits(ROW), before)


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


def test_micro_batches_and_checkpointing_change_nothing_that_is_learned(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    curves = [
        trained(session, **options).losses
        for options in ({}, {"micro_batch": 2}, {"micro_batch": 1, "checkpointing": "on"}, {"preset": "memory"})
    ]
    for other in curves[1:]:
        assert [loss for _, loss in other] == pytest.approx([loss for _, loss in curves[0]], rel=1e-4)


def test_switching_adapters_is_exact_in_any_order(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    names = ["one", "two", "three"]
    seen = {}
    for seed, name in enumerate(names):
        trained(session, name, seed=seed, rank=2 + seed, target="attention" if seed else "all-linear")
        seen[name] = session.base.logits(ROW)
    session.base.activate(None)
    seen["base"] = session.base.logits(ROW)
    for name in ("two", "base", "one", "three", "base", "two", "three", "one"):
        session._activate(name)
        assert torch.equal(session.base.logits(ROW), seen[name])
    session.base.detach(session.adapters["two"].key)
    session._activate("three")
    assert torch.equal(session.base.logits(ROW), seen["three"])


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
