"""What dropout, DoRA and trained biases add, held to counts of transformers with peft; what Unsloth's sources say."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_magic.errors import LoraError
from lora_magic.planning import memory
from lora_magic.planning.architecture import read
from lora_magic.planning.calibration import coefficient
from lora_magic.planning.memory import held_activations, kept_by_block, parts, workspace
from lora_magic.planning.plan import choose
from lora_magic.planning.setting import Setting
from lora_magic.planning.speed import DORA_BACKWARD, DORA_FORWARD, card, dora_operations, step
from lora_magic.planning.variants import trainable, unfused, wide
from tests.planning.configs import LLAMA_3B, LLAMA_8B, PUBLISHED, QWEN2_7B
from tests.planning.counting import SMALL, adapted, kept, operations_run, peak

WIDE = {**SMALL, "hidden_size": 512, "intermediate_size": 1792, "num_attention_heads": 8}
RANK = 4


def setting(rows: int, length: int, **changes: Any) -> Setting:
    return Setting(rows * length, length, backend="transformers", rank=RANK, padded=True, optimizer="sgd", **changes)


def names(target: str) -> str | list[str]:
    """As peft takes them."""
    return target if target == "all-linear" else target.split(",")


@pytest.mark.parametrize(
    ("family", "bits", "method", "dropout", "target"),
    [
        ("llama", 16, "lora", 0.1, "all-linear"), ("llama", 16, "dora", 0.0, "all-linear"),
        ("llama", 16, "dora", 0.1, "all-linear"), ("llama", 4, "lora", 0.1, "all-linear"),
        ("llama", 4, "dora", 0.0, "all-linear"), ("llama", 4, "dora", 0.1, "all-linear"),
        ("qwen2", 4, "dora", 0.0, "all-linear"), ("qwen3", 4, "dora", 0.0, "all-linear"),
        ("gemma", 16, "dora", 0.1, "all-linear"), ("phi3", 4, "dora", 0.1, "all-linear"),
        ("mistral", 4, "dora", 0.0, "q_proj,k_proj,v_proj,o_proj"), ("llama", 4, "dora", 0.1, "q_proj,v_proj"),
        ("mistral", 4, "dora", 0.0, "down_proj"),
    ],
)  # fmt: skip
def test_a_block_keeps_exactly_what_autograd_saves(
    family: str, bits: int, method: str, dropout: float, target: str
) -> None:
    config, rows, length = {**SMALL, "model_type": family}, 2, 32
    lora = {"r": RANK, "use_dora": method == "dora", "lora_dropout": dropout, "target": names(target)}
    two, three = (kept({**config, "num_hidden_layers": n}, rows, length, bits=bits, **lora) for n in (2, 3))
    model = read({**config, "num_hidden_layers": 1})
    found = kept_by_block(model, setting(rows, length, bits=bits, method=method, dropout=dropout, target=target))
    copies_of_the_adapter = 2 * model.adapter(RANK, target)
    offsets = 4 * model.norms if family == "gemma" else 0  # its norms scale by 1 + weight
    assert three - two == pytest.approx(found + copies_of_the_adapter + offsets, rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "rows", "length", "again", "bits", "dropout"),
    [
        (SMALL, 8, 64, False, 16, 0.0), (SMALL, 8, 64, True, 4, 0.1), (WIDE, 1, 32, False, 16, 0.0),
        (WIDE, 1, 32, True, 4, 0.0), (WIDE, 1, 32, True, 16, 0.1),
    ],
)  # fmt: skip
def test_the_peak_of_a_dora_step_is_near_what_is_alive_at_once(
    shape: dict[str, Any], rows: int, length: int, again: bool, bits: int, dropout: float
) -> None:
    """In the first three the tokens weigh most, in the others the norms over whole weights."""
    config = {**shape, "model_type": "llama", "num_hidden_layers": 3}
    counted = peak(config, rows, length, recomputing=again, bits=bits, r=RANK, use_dora=True, lora_dropout=dropout)
    wanted = setting(rows, length, checkpointing="on" if again else "off", bits=bits, method="dora", dropout=dropout)
    found = parts(read(config), wanted)
    beside_the_model = sum(found[name] for name in ("gradients", "activations", "logits", "workspace"))
    beside_the_model -= coefficient("memory", "fixed_mib") * 2**20
    assert 0.97 * counted <= beside_the_model <= 1.12 * counted


@pytest.mark.parametrize("target", ["all-linear", "q_proj,down_proj"])
@pytest.mark.parametrize(
    ("method", "bias"), [("lora", "none"), ("dora", "none"), ("lora", "lora_only"), ("dora", "all")]
)
def test_as_many_elements_are_trained_as_peft_trains(target: str, method: str, bias: str) -> None:
    config = {**SMALL, "model_type": "qwen2", "num_hidden_layers": 2}
    made = adapted(config, target=names(target), r=RANK, use_dora=method == "dora", bias=bias)
    counted = sum(p.numel() for p in made.parameters() if p.requires_grad)
    assert counted == trainable(read(config), Setting(1, 1, rank=RANK, target=target, method=method, bias=bias))


def test_operations_of_the_norms_are_those_that_torch_counts() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    config = {**SMALL, "model_type": "llama", "num_hidden_layers": 1}
    ids = torch.ones(1, 1, dtype=torch.long)
    counted = []
    for method in ("lora", "dora"):
        model = adapted(config, r=RANK, use_dora=method == "dora").float()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(input_ids=ids, use_cache=False)
        counted.append(counter.get_total_flops())
    dora = Setting(1, 1, rank=RANK, method="dora")
    assert counted[1] - counted[0] == dora_operations(read(config), dora)
    assert dora_operations(read(config), dora.but(method="rslora")) == 0


def test_launches_of_dora_are_the_operations_that_torch_runs() -> None:
    """Views launch nothing."""
    config = {**SMALL, "model_type": "llama"}
    counted = [
        [run - fewer for run, fewer in zip(*(operations_run({**config, "num_hidden_layers": n}, bits=4, r=RANK,
         use_dora=dora) for n in (3, 2)), strict=True)]
        for dora in (False, True)
    ]  # fmt: skip
    forward, backward = (more - less for less, more in zip(*counted, strict=True))
    layers = len(read({**config, "num_hidden_layers": 1}).projections)
    assert forward / layers == pytest.approx(DORA_FORWARD, rel=0.05)
    assert backward / layers == pytest.approx(DORA_BACKWARD, rel=0.05)


def test_unsloth_fuses_layers_with_dropout_and_none_with_magnitudes() -> None:
    """Its fused functions keep a byte an input more; a layer left to peft keeps the dropped input as well."""
    llama, qwen = read(LLAMA_8B), read(QWEN2_7B)
    plain = Setting(1, 1, rank=8)
    inputs = sum(p.inputs for p in llama.projections)
    dropped = kept_by_block(llama, plain.but(dropout=0.1)) - kept_by_block(llama, plain)
    assert dropped == pytest.approx(inputs, rel=0.01)
    assert {p.name for p in unfused(qwen, plain)} == {"q_proj", "k_proj", "v_proj"}, "they have biases"
    assert {p.name for p in unfused(llama, plain.but(target="o_proj,up_proj"))} == {"up_proj"}
    assert unfused(llama, plain.but(method="dora")) == llama.projections
    assert workspace(llama, plain) == 2 * workspace(llama, plain.but(dropout=0.1)) == 4 * llama.largest


def test_dora_widens_the_stream_of_a_4_bit_base_where_its_outputs_reach_it() -> None:
    model, dora = read(LLAMA_3B), Setting(64, 64, "on", method="dora")
    assert wide(model, dora) and wide(model, dora.but(target="attention"))
    assert not any(wide(model, dora.but(**c)) for c in ({"bits": 16}, {"target": "q_proj,v_proj"}, {"method": "lora"}))
    inputs = held_activations(model, dora.but(bits=16))
    assert held_activations(model, dora) == 2 * inputs == 2 * model.layers * 64 * model.hidden * 2


@given(
    st.sampled_from(list(PUBLISHED.values())).map(read), st.sampled_from(["unsloth", "transformers"]),
    st.sampled_from(["off", "on"]), st.sampled_from([4, 16]), st.integers(1, 16_384), st.sampled_from([0.0, 0.1]),
)  # fmt: skip
def test_dora_never_takes_less_memory_or_time_than_lora(
    model: Any, backend: str, checkpointing: str, bits: int, tokens: int, dropout: float
) -> None:
    lora = Setting(tokens, tokens, checkpointing, bits=bits, backend=backend, dropout=dropout)
    settings = (lora, lora.but(method="rslora"), lora.but(method="dora"))
    peaks = [memory.peak(model, s) for s in settings]
    times = [step(model, s, card("t4"), tokens=tokens, row=tokens).total for s in settings]
    assert all(more >= less for less, more in [*pairwise(peaks), *pairwise(times)]) and times[2] > times[1]


def test_a_plan_takes_dora_and_dropout_into_account() -> None:
    on = card("t4")
    plain = choose(read(LLAMA_8B), on, tokens_per_row=400)
    dropped = choose(read(LLAMA_8B), on, tokens_per_row=400, dropout=0.1)
    dora = choose(read(LLAMA_8B), on, tokens_per_row=400, method="dora")
    assert dropped.choice.recomputed > plain.choice.recomputed and dropped.fits
    assert dora.fits and dora.seconds > 1.5 * plain.seconds and dora.parts["workspace"] > 1
    tight = choose(read(LLAMA_8B), on, tokens_per_row=400, method="dora", free_gib=7.6)
    assert not tight.fits and any(change.startswith("train plain LoRA: ") for change in tight.lower)


def test_dora_on_8_bits_is_refused_before_a_run_is() -> None:
    with pytest.raises(LoraError, match="DoRA on 8-bit"):
        choose(read(LLAMA_8B), card("l4"), bits=8, method="dora", backend="transformers")
