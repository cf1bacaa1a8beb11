"""Plans from config.json alone: what is asked for is kept, rows are counted, cards are known, nothing heavy loads."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lora_magic
from lora_magic.errors import LoraError
from lora_magic.planning import here
from lora_magic.planning.calibration import data
from lora_magic.results import PlanResult
from tests.models import rows, write_tokenizer
from tests.planning.configs import GEMMA_3_4B, LLAMA_1B, LLAMA_3B, LLAMA_8B, PHI_35_MINI, QWEN2_7B


@pytest.fixture(autouse=True)
def _no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_magic.training.plan.card_here", lambda: None)


def folder(config: Any, name: str = "model") -> str:
    made = Path(name)
    made.mkdir(exist_ok=True)
    (made / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return name


def plan(config: Any, **asked: Any) -> PlanResult:
    made: PlanResult = lora_magic.plan(folder(config), **asked)
    return made


def notes(made: PlanResult) -> str:
    return " | ".join(made.notes)


def test_a_model_is_planned_from_its_config_alone_and_parts_add_up() -> None:
    made = plan(LLAMA_3B, gpu="t4", rank=16, tokens_per_row=170, rows=1001, epochs=2, price=0.35)
    assert made.fits and (made.choice.micro_batch, made.choice.checkpointing) == (8, "off")
    assert {"weights", "adapter", "optimiser", "activations", "logits"} <= set(made.parts)
    assert sum(made.parts.values()) == pytest.approx(made.peak_gib)
    assert made.steps == 252 and made.cost == pytest.approx(made.seconds / 3600 * 0.35)
    assert made.alternatives and all(a.peak_gib > 0 for a in made.alternatives)
    assert (made.parameters, made.trainable_parameters) == (3_212_749_824, 24_313_856)


def test_the_card_changes_the_answer_however_it_is_spelled() -> None:
    by_card = {
        gpu: plan(LLAMA_8B, gpu=gpu, tokens_per_row=400, micro_batch=8) for gpu in ("t4", "l4", "a100", "rtx3060")
    }
    assert by_card["t4"].choice.checkpointing == "some" and by_card["l4"].choice.checkpointing == "off"
    assert by_card["a100"].seconds < by_card["l4"].seconds < by_card["t4"].seconds
    assert plan(LLAMA_8B, gpu="RTX-3060").card == by_card["rtx3060"].card == "RTX 3060 12GB"
    assert plan(LLAMA_8B).card == "T4" and "there is no card here" in notes(plan(LLAMA_8B))


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([1, 2, 4, 8]), st.sampled_from(["off", "some", "on", "offload"]),
    st.sampled_from(["adamw", "adamw-8bit", "sgd"]), st.sampled_from([4, 32]),
)  # fmt: skip
def test_pinned_parts_are_kept(micro: int, kind: str, optimizer: str, rank: int) -> None:
    made = lora_magic.plan("demo", gpu="l4", micro_batch=micro, checkpointing=kind, optimizer=optimizer, rank=rank)
    choice = made.choice
    assert (choice.micro_batch, choice.checkpointing, choice.optimizer) == (micro, kind, optimizer)
    assert "as asked: micro-batch, checkpointing, optimizer" in str(made)


def test_nothing_fits_says_what_to_lower_and_what_that_would_take() -> None:
    made = plan(LLAMA_8B, gpu="t4", bits=16)
    assert not made.fits and made.estimate.lower[0].startswith("load in 4 bits: ")
    assert "What to lower" in str(made) and "does not fit a T4" in str(made)
    assert {a.name for a in made.estimate.otherwise} == {"16-bit LoRA", "full fine-tuning"}


def test_rows_are_counted_with_the_model_s_tokenizer_where_it_is_here() -> None:
    guessed = plan(LLAMA_1B, gpu="t4", data=rows(), eval_split=0)
    assert "four characters" in notes(guessed) and guessed.rows == 40
    write_tokenizer(Path("model"))
    counted = plan(LLAMA_1B, gpu="t4", data=rows(), eval_split=0)
    exact = lora_magic.data(rows(), model="model", eval_split=0)
    assert counted.tokens_per_row == pytest.approx(sum(exact.token_counts) / 40)
    assert counted.max_length == max(exact.token_counts) and "four characters" not in notes(counted)
    assert counted.steps == 15 and plan(LLAMA_1B, gpu="t4", data=rows(), max_steps=3).steps == 3
    cut = plan(LLAMA_1B, gpu="t4", data=rows(), eval_split=0, max_length=12)
    assert cut.max_length == 12 and cut.tokens_per_row <= 12
    told = plan(LLAMA_1B, gpu="t4", data=rows(), rows=800, tokens_per_row=9)
    assert (told.rows, told.tokens_per_row) == (800, 9)


def test_a_large_source_is_sampled_over_its_whole_length() -> None:
    large = [{"question": "q", "answer": "a " * (1 if i < 6000 else 400)} for i in range(12_000)]
    made = plan(LLAMA_1B, gpu="t4", data=large, eval_split=0)
    assert made.rows == 12_000 and "2,000 of them looked at" in notes(made)
    assert made.tokens_per_row == pytest.approx((17 + 216) / 2, abs=3)


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 12))
def test_a_pattern_in_the_rows_does_not_meet_the_sample(period: int) -> None:
    large = [{"question": "q", "answer": "a " * (400 if i % period == 0 else 1)} for i in range(6000)]
    made = plan(LLAMA_1B, gpu="t4", data=large, eval_split=0)
    assert made.tokens_per_row == pytest.approx(17 + 199 / period, rel=0.2) and made.max_length > 200


def test_rows_are_no_longer_than_the_model_can_read() -> None:
    assert plan({**LLAMA_1B, "max_position_embeddings": 300}, gpu="t4").max_length == 300
    assert plan({**LLAMA_1B, "max_position_embeddings": 131_072}, gpu="t4").max_length == 2048


@pytest.mark.parametrize(
    ("config", "asked", "backend", "bits", "told"),
    [
        (LLAMA_1B, {}, "unsloth", 4, "there is no card here"),
        (PHI_35_MINI, {}, "transformers", 4, "Unsloth has no kernels for the family phi3"),
        (LLAMA_1B, {"bits": 8}, "transformers", 8, "8-bit weights"),
        (LLAMA_1B | {"auto_map": {"AutoModel": "x.y"}}, {}, "transformers", 4, "Python of its own"),
        (LLAMA_1B, {"backend": "transformers"}, "transformers", 4, ""),
        (LLAMA_1B | {"quantization_config": {"load_in_4bit": True}}, {"bits": 16}, "unsloth", 4, "stored in 4 bits"),
        (LLAMA_1B, {"bits": "auto"}, "unsloth", 16, "16 bits a weight leave room"),
        (LLAMA_8B, {"bits": "auto"}, "unsloth", 4, "16 do not leave room"),
        (LLAMA_1B, {"method": "dora"}, "unsloth", 4, "the time that DoRA adds is counted"),
        (GEMMA_3_4B, {}, "transformers", 4, "text part alone"),
        ({"model_type": "new", **{k: v for k, v in LLAMA_1B.items() if k != "model_type"}}, {}, "transformers", 4, ""),
    ],
)
def test_bits_backend_and_why(config: Any, asked: dict[str, Any], backend: str, bits: int, told: str) -> None:
    made = plan(config, **asked)
    assert (made.choice.backend, made.choice.bits) == (backend, bits)
    assert told in notes(made)


def test_rows_that_would_be_cut_are_told() -> None:
    assert "cut" not in notes(plan(LLAMA_1B, tokens_per_row=2048))
    default = plan(LLAMA_1B, tokens_per_row=4000)
    assert "rows of 4,000 tokens are cut at 2,048: --max-length allows more" in notes(default)
    longer = plan(LLAMA_1B, tokens_per_row=4000, max_length=4096)
    assert "cut" not in notes(longer) and longer.seconds > default.seconds
    short = plan({**LLAMA_1B, "max_position_embeddings": 1024}, tokens_per_row=4000)
    assert "cut at 1,024: the most that the model takes" in notes(short)


def test_only_what_was_measured_is_called_measured() -> None:
    measured = data("calibration")["memory"]["measured"]
    plain = plan(LLAMA_1B).memory_basis
    assert measured in plain and "larger error" not in plain
    assert "the family qwen2 not measured" in plan(QWEN2_7B).memory_basis
    assert "the transformers backend not measured" in plan(LLAMA_1B, backend="transformers").memory_basis
    assert "flash attention not measured" in plan(LLAMA_1B, gpu="l4").memory_basis
    assert "16 bits a weight not measured" in plan(LLAMA_1B, bits=16).memory_basis
    both = plan(LLAMA_1B, method="dora", dropout=0.1).memory_basis
    assert "DoRA and dropout not measured" in both
    assert "new taken to be built like Llama" in plan(LLAMA_1B | {"model_type": "new"}).estimate.basis


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('{"a": ', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "not an object"),
        ({}, "hidden_size None"),
        (LLAMA_1B | {"num_experts": 8}, "mixture of experts"),
        (LLAMA_1B | {"num_experts": "many"}, "is damaged"),
        (LLAMA_1B | {"num_hidden_layers": 10**9}, r"1e\+09 layers"),
        (LLAMA_1B | {"hidden_size": 10**30}, "parameters"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "an encoder with a decoder"),
        (LLAMA_1B | {"quantization_config": {"quant_method": "gptq"}}, "quantised as gptq"),
        (LLAMA_1B | {"quantization_config": "x"}, "quantised as unknown"),
    ],
)
def test_a_config_that_cannot_be_planned_for_is_one_line(config: Any, told: str) -> None:
    with pytest.raises(LoraError, match=told) as caught:
        plan(config)
    assert "\n" not in str(caught.value) and "--debug" not in str(caught.value)


def test_what_is_no_model_is_one_line() -> None:
    Path("adapter").mkdir()
    Path("adapter/adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    Path("empty").mkdir()
    Path("file.json").write_text("{}")
    for model, told in (
        ("adapter", "%lora_plan owner/base"), ("empty", "no config.json"), ("file.json", "is a file"),
        ("demmo", 'Did you mean "demo"'), ("./gone", "does not exist"), ("owner/gone", "not on this disk"),
    ):  # fmt: skip
        with pytest.raises(LoraError, match=told) as caught:
            lora_magic.plan(model)
        assert "\n" not in str(caught.value)


def test_a_config_in_the_hub_s_cache_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    snapshot = tmp_path / "models--owner--small" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA_1B))
    refs = tmp_path / "models--owner--small" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    made = lora_magic.plan("owner/small", gpu="t4", data=rows())
    assert made.parameters == 1_235_814_400 and "four characters" in notes(made)


CARDS = [
    ("Tesla T4", 15360, "7.5", "t4"), ("NVIDIA L4", 23034, "8.9", "l4"), ("NVIDIA L40S", 46068, "8.9", None),
    ("NVIDIA A100-SXM4-40GB", 40960, "8.0", "a100-40"), ("NVIDIA A100 80GB PCIe", 81920, "8.0", "a100-80"),
    ("NVIDIA GeForce RTX 3060", 12288, "8.6", "rtx3060"), ("NVIDIA GeForce RTX 3060", 8192, "8.6", None),
    ("NVIDIA GeForce RTX 3060 Ti", 12288, "8.6", None), ("NVIDIA GeForce RTX 4090 Laptop GPU", 24564, "8.9", None),
    ("NVIDIA H100 80GB HBM3", 81559, "9.0", "h100"), ("NVIDIA H200", 143771, "9.0", "h200"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "total", "capability", "key"), CARDS)
def test_cards_are_known_by_the_driver_s_name(
    name: str, total: int, capability: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "_nvidia_smi", lambda: f"{name}, {total}, {total - 300}, {capability}")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = here.card_here()
    assert found is not None and found.known == (key is not None)
    assert key is None or found.card.name == key
    assert found.card.memory_gib <= total / 1024 and found.free_gib < total / 1024
    assert found.card.capability == tuple(map(int, capability.split(".")))


@pytest.mark.parametrize("told", ["", "No devices were found", "Tesla T4, [N/A], [N/A], 7.5", "x, 1, 2, 3"])
def test_what_nvidia_smi_cannot_tell_is_no_card(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "_nvidia_smi", lambda: told)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert here.card_here() is None


def test_a_busy_or_unknown_card_is_planned_for_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def at(name: str, total: float, free: float) -> PlanResult:
        found = here.described(name, total, free, (7, 5), has_context=True)
        monkeypatch.setattr("lora_magic.training.plan.card_here", lambda: found)
        return plan(LLAMA_1B)

    whole, busy, other = at("Tesla T4", 14.56, 14.3), at("Tesla T4", 14.56, 6.0), at("Quadro X", 7.8, 7.4)
    assert busy.estimate.room_gib < whole.estimate.room_gib / 2 and "only 6.0 of 14.6 GiB are free" in notes(busy)
    assert "free" not in notes(whole)
    assert "no figures for Quadro X" in notes(other) and other.estimate.card_gib == 7.8


def test_a_plan_loads_nothing_heavy() -> None:
    code = (
        "import sys, lora_magic; made = lora_magic.plan('demo', gpu='t4'); made._repr_mimebundle_();"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'PIL', 'huggingface_hub', 'yaml', 'peft', 'trl'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_weights_that_stand_twice_are_told() -> None:
    once, packed = (
        plan(LLAMA_3B, gpu="t4", tokens_per_row=mean, max_length=longest) for mean, longest in ((170, 512), (800, 2048))
    )
    assert "bits 4, dequantised once for the run" in " ".join(str(once).split())
    assert "bits 4 · backend" in " ".join(str(packed).split())
