"""The plan: fastest that fits, pinned parts kept, and what it says where nothing fits."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.errors import LoraError
from lora_magic.planning.architecture import read
from lora_magic.planning.plan import choose
from lora_magic.planning.speed import card
from tests.planning.configs import GEMMA_2_2B, LLAMA_1B, LLAMA_3B, LLAMA_8B, MISTRAL_22B

T4, L4 = card("t4"), card("l4")
MODELS = st.sampled_from([LLAMA_1B, LLAMA_3B, LLAMA_8B, GEMMA_2_2B, MISTRAL_22B]).map(read)
ASKED = st.fixed_dictionaries(
    {"batch": st.sampled_from([1, 6, 8, 16]), "tokens_per_row": st.floats(20, 2000),
     "rank": st.sampled_from([4, 16, 64]), "bits": st.sampled_from([4, 8, 16]),
     "backend": st.sampled_from(["unsloth", "transformers"])}
)  # fmt: skip


def test_short_rows_of_a_3b_model_need_no_checkpointing_on_a_t4() -> None:
    rows: dict[str, Any] = {"tokens_per_row": 170, "longest": 512, "rank": 16}
    found = choose(read(LLAMA_3B), T4, **rows)
    assert found.fits
    assert (found.choice.micro_batch, found.choice.accumulation, found.choice.checkpointing) == (8, 1, "off")
    notebook = choose(read(LLAMA_3B), T4, **rows, micro_batch=2, checkpointing="unsloth")
    assert notebook.seconds_a_step > 1.5 * found.seconds_a_step
    assert notebook.choice.checkpointing == "offload"


def test_weights_are_dequantised_once_where_a_card_holds_them_twice() -> None:
    def by(config: dict[str, Any], **more: Any) -> Any:
        return choose(read(config), T4, **{"tokens_per_row": 170, "longest": 512, "rank": 16, **more})

    found, shapes = by(LLAMA_3B), read(LLAMA_3B)
    assert found.choice.expanded and found.choice.title.endswith("weights dequantised once")
    once = by(LLAMA_3B, tokens_per_row=800, longest=2048)
    assert not once.choice.expanded and once.fits
    extra = found.parts["weights"] - once.parts["weights"]
    assert extra * 2**30 == pytest.approx(2 * shapes.linear)
    assert not any(choice.expanded for choice in found.back_off[-1:])
    assert not by(LLAMA_8B).choice.expanded
    assert not by(LLAMA_3B, method="dora").choice.expanded
    assert not by(LLAMA_3B, expanding=False).choice.expanded
    assert not by(LLAMA_1B, bits=16).choice.expanded


def test_an_8b_model_keeps_some_blocks_on_a_t4_and_all_of_them_on_an_l4() -> None:
    small, large = (choose(read(LLAMA_8B), on, tokens_per_row=400, rank=16, micro_batch=8) for on in (T4, L4))
    assert small.choice.checkpointing == "some" and 0 < small.choice.recomputed < 32
    assert large.choice.checkpointing == "off"
    assert any("no checkpointing" in r and "would be" in r and "GiB" in r for r in small.reasons)
    assert "within" in small.basis and "carried over to L4" in large.basis


def test_runs_have_a_length_and_a_price() -> None:
    one = choose(read(LLAMA_1B), T4, tokens_per_row=170)
    run = choose(read(LLAMA_1B), T4, tokens_per_row=170, rows=1001, epochs=2, price_an_hour=0.35)
    assert (one.steps, one.cost, one.seconds) == (None, None, one.seconds_a_step)
    assert run.steps == 252 and run.seconds == pytest.approx(2 * 1001 / 8 * one.seconds_a_step)
    assert run.cost == pytest.approx(run.seconds / 3600 * 0.35)
    assert choose(read(LLAMA_1B), T4, tokens_per_row=170, steps=60).steps == 60


@pytest.mark.parametrize(
    ("asked", "steps", "full"),
    [({"epochs": 0.5}, 1, 1.0), ({"steps": 1}, 1, 1.0), ({"steps": 2}, 2, 9 / 8), ({"epochs": 2.5}, 5, 26 / 8)],
)
def test_the_last_step_of_an_epoch_takes_as_long_as_its_rows(asked: dict[str, Any], steps: int, full: float) -> None:
    made = choose(read(LLAMA_1B), T4, tokens_per_row=170, rows=9, **asked)
    assert made.steps == steps and made.seconds == pytest.approx(full * made.seconds_a_step)


def test_nothing_fits_says_what_to_lower() -> None:
    tight = choose(read(LLAMA_8B), T4, bits=16, rank=16)
    assert not tight.fits and tight.lower[0].startswith("load in 4 bits")
    pinned = choose(read(LLAMA_8B), T4, rank=16, micro_batch=8, checkpointing="off", tokens_per_row=1500)
    assert not pinned.fits and "leave micro-batch, checkpointing" in pinned.lower[0]
    assert "as asked: micro-batch, checkpointing" in pinned.reasons
    hopeless = choose(read(MISTRAL_22B), replace(T4, memory_gib=8.0))
    assert not hopeless.fits and "smaller model" in hopeless.lower[0]
    busy = choose(read(LLAMA_3B), T4, free_gib=1.0)
    assert not busy.fits and busy.room_gib < 1


def test_otherwise_tells_what_16_bits_and_full_fine_tuning_take() -> None:
    found = choose(read(LLAMA_8B), T4, tokens_per_row=170)
    half, full = found.otherwise
    assert (half.name, full.name) == ("16-bit LoRA", "full fine-tuning")
    assert half.peak_gib > 14.9 and full.peak_gib > 60 and not (half.fits or full.fits)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"micro_batch": 3}, "micro-batches of 3"),
        ({"checkpointing": "sometimes"}, "off, some, on, offload"),
        ({"checkpointing": "offload", "backend": "transformers"}, "Choose off, on"),
        ({"optimizer": "adam"}, "adamw-8bit"),
        ({"bits": 5}, "bits cannot be 5"),
        ({"tokens_per_row": 0}, "at least one token"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(LoraError, match=told):
        choose(read(LLAMA_1B), T4, **asked)


@settings(max_examples=25, deadline=None)
@given(MODELS, ASKED, st.floats(4, 100), st.floats(0, 40))
def test_more_memory_never_gives_a_slower_plan(model: Any, asked: dict[str, Any], gib: float, more: float) -> None:
    small, large = (choose(model, replace(T4, memory_gib=g), **asked) for g in (gib, gib + more))
    assert large.seconds_a_step <= small.seconds_a_step
    assert large.fits or not small.fits


@settings(max_examples=25, deadline=None)
@given(MODELS, ASKED, st.data())
def test_pinned_parts_are_kept_and_parts_add_up(model: Any, asked: dict[str, Any], more: st.DataObject) -> None:
    kinds = ["off", "on", "offload", "some"] if asked["backend"] == "unsloth" else ["off", "on"]
    pinned = {
        "micro_batch": more.draw(st.sampled_from([n for n in range(1, 17) if asked["batch"] % n == 0])),
        "checkpointing": more.draw(st.sampled_from(kinds)),
        "optimizer": more.draw(st.sampled_from(["adamw", "adamw-8bit", "paged-adamw-8bit", "sgd"])),
    }
    names = more.draw(st.sets(st.sampled_from(list(pinned))))
    found = choose(model, T4, **asked, **{name: pinned[name] for name in names})
    assert all(getattr(found.choice, name) == pinned[name] for name in names)
    assert found.choice.micro_batch * found.choice.accumulation == asked["batch"]
    assert (found.choice.bits, found.choice.backend) == (asked["bits"], asked["backend"])
    assert sum(found.parts.values()) == pytest.approx(found.peak_gib)
    assert found.fits == (found.peak_gib <= found.room_gib) == (not found.lower)
    fitting = [a.seconds_a_step for a in found.alternatives if a.fits]
    assert fitting == sorted(fitting) and all(s >= found.seconds_a_step for s in fitting if found.fits)


@settings(max_examples=25, deadline=None)
@given(MODELS, st.floats(20, 1500), st.floats(1, 500), st.sampled_from([4, 8, 16]))
def test_the_same_layout_takes_more_for_longer_rows_a_higher_rank_and_more_bits(
    model: Any, row: float, longer: float, rank: int
) -> None:
    pinned: dict[str, Any] = {"micro_batch": 4, "checkpointing": "on", "optimizer": "adamw-8bit"}

    def peak(**changes: Any) -> float:
        return choose(model, T4, **{"tokens_per_row": row, "rank": rank, **pinned, **changes}).peak_gib

    assert peak(tokens_per_row=row + longer) >= peak()
    assert peak(rank=2 * rank) > peak()
    assert peak(bits=16) > peak(bits=8)
