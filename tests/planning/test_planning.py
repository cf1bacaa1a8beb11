"""What a machine computes in, and how a step is cut for it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_magic.backends.trainer import learning_rate_share
from lora_magic.config import TrainConfig
from lora_magic.planning.architecture import Architecture, read
from lora_magic.planning.hardware import Hardware, compute_dtype
from lora_magic.planning.here import described
from lora_magic.planning.memory import peak
from lora_magic.planning.passes import passes
from lora_magic.planning.plan import choose
from lora_magic.planning.run_plan import Plan, plan
from lora_magic.planning.setting import Setting
from lora_magic.planning.speed import Card, card
from lora_magic.training.loop import schedule
from tests.planning.configs import LLAMA_3B, LLAMA_8B

T4 = Hardware("cuda", "Tesla T4", (7, 5), 15 * 2**30, 14 * 2**30, 2)
L4 = Hardware("cuda", "NVIDIA L4", (8, 9), 23 * 2**30, 22 * 2**30, 8)
CPU = Hardware("cpu", "CPU", (0, 0), 16 * 2**30, 12 * 2**30, 2)


@pytest.mark.parametrize(
    ("machine", "wanted", "bits", "expected"),
    [
        (T4, "auto", 4, ("float16", "T4: no bfloat16")),
        (L4, "auto", 4, ("bfloat16", "L4: has bfloat16")),
        (CPU, "auto", 4, ("float32", "CPU")),
        (CPU, "auto", 16, ("bfloat16", "16 bits a weight")),
        (L4, "float16", 4, ("float16", "as asked")),
        (T4, "auto", 32, ("float32", "32 bits a weight")),
    ],
)
def test_capability_decides_the_dtype(machine: Hardware, wanted: str, bits: int, expected: tuple[str, str]) -> None:
    assert compute_dtype(machine, wanted, bits) == expected


def test_families_that_overflow_in_float16_are_computed_in_float32_where_there_is_nothing_else() -> None:
    assert compute_dtype(T4, "auto", 4, "gemma3_text")[0] == "float32"
    assert "overflows in float16" in compute_dtype(T4, "auto", 4, "gemma3_text")[1]
    assert compute_dtype(L4, "auto", 4, "gemma3_text")[0] == "bfloat16"
    assert compute_dtype(T4, "float16", 4, "gemma3_text") == ("float16", "as asked")
    assert compute_dtype(T4, "auto", 4, "gemma2")[0] == "float16"


def planned(machine: Hardware, shapes: Architecture | None = None, **options: Any) -> Plan:
    config = TrainConfig(data="x", **options).with_preset()
    return plan(config, machine, backend="unsloth", bits=4, shapes=shapes, mean=170.0, longest=600)


@given(st.integers(1, 200), st.sampled_from(["standard", "memory", "quality"]))
def test_on_a_cpu_a_plan_is_a_few_rows_at_once_and_ever_fewer(batch: int, preset: str) -> None:
    made = planned(CPU, batch=batch, preset=preset)
    rows = [way.rows or 0 for way in made.ways]
    assert "8bit" not in made.optimizer and made.estimate is None
    assert rows == sorted(rows, reverse=True) and rows[0] <= 8 and rows[-1] == 1
    assert {way.checkpointing for way in made.ways} == {"on"} if preset == "memory" else {"off", "on"}
    assert made.ways[-1].checkpointing == "on" and all(way.padded for way in made.ways)


@pytest.fixture
def a_t4(monkeypatch: pytest.MonkeyPatch) -> None:
    here = described("Tesla T4", 14.56, 14.4, (7, 5), has_context=True)
    monkeypatch.setattr("lora_magic.planning.run_plan.card_here", lambda: here)


@pytest.mark.usefixtures("a_t4")
def test_on_a_card_a_plan_fits_and_every_way_after_it_takes_less() -> None:
    shapes = read(LLAMA_3B)
    made = planned(T4, shapes)
    assert made.estimate is not None and made.estimate.fits
    assert made.ways[0].checkpointing == "off" and made.optimizer == "adamw_torch_fused"
    chain = [made.estimate.choice, *made.estimate.back_off]
    settings = [
        Setting(c.tokens, min(c.tokens, 600), {"some": "on"}.get(c.checkpointing, c.checkpointing),
                kept=shapes.layers - c.recomputed if c.checkpointing == "some" else 0,
                accumulation=c.accumulation, rank=8)
        for c in chain if not c.offload
    ]  # fmt: skip
    sizes = [peak(shapes, setting) for setting in settings]
    assert sizes == sorted(sizes, reverse=True) and len(chain) == len(made.ways) >= 3
    assert not any(way.padded for way in made.ways)
    assert ("planned peak", f"{made.estimate.peak_gib:.1f} of 14.6 GiB") in made.header


@pytest.mark.usefixtures("a_t4")
def test_the_optimiser_keeps_8_bits_only_where_memory_is_short() -> None:
    roomy = planned(T4, read(LLAMA_8B))
    tight = plan(
        TrainConfig(data="x", rank=16), T4, backend="unsloth", bits=4, shapes=read(LLAMA_8B), mean=800.0, longest=1024
    )
    assert (roomy.optimizer, roomy.state_bytes) == ("adamw_torch_fused", 8)
    assert tight.optimizer == "adamw_8bit" and 2 < tight.state_bytes < 2.1


def test_a_part_of_a_card_has_its_share_of_the_rates() -> None:
    def card(processors: int) -> Card:
        return described("NVIDIA H200", 139.8, 139.0, (9, 0), has_context=True, processors=processors).card

    part, whole = card(8), card(132)
    assert part.matrix_tflops == pytest.approx(55.7, rel=0.1), "as measured on 8 of 132"
    assert 381 < part.bandwidth_gbs < 646 and "8 of 132" in part.title
    assert whole == card(0) and whole.title == "H200"


@pytest.mark.usefixtures("a_t4")
def test_what_is_pinned_stays_until_memory_runs_out() -> None:
    made = planned(T4, read(LLAMA_3B), micro_batch=2, checkpointing="on", optimizer="sgd")
    assert (made.ways[0].rows, made.ways[0].tokens, made.ways[0].checkpointing, made.optimizer) == (
        2,
        None,
        "on",
        "sgd",
    )
    assert ("batch", "2 x 4") in made.header
    assert len(made.ways) > 1


@pytest.mark.usefixtures("a_t4")
@pytest.mark.parametrize("target", ["q_proj,lm_head", "c_attn"])
def test_layers_that_the_shapes_do_not_tell_of_are_planned_for_as_all(target: str) -> None:
    assert planned(T4, read(LLAMA_3B), target=target).ways == planned(T4, read(LLAMA_3B)).ways


@pytest.mark.usefixtures("a_t4")
def test_a_model_of_unknown_shapes_gets_a_careful_plan() -> None:
    made = planned(T4)
    assert [(way.rows, way.checkpointing) for way in made.ways] == [(2, "on"), (1, "on")]


@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=40), st.none() | st.integers(1, 5000),
    st.none() | st.integers(1, 8), st.booleans(),
)  # fmt: skip
def test_passes_hold_every_row_once_and_keep_to_what_they_may_hold(
    lengths: list[int], tokens: int | None, rows: int | None, padded: bool
) -> None:
    made = passes(lengths, tokens=tokens, rows=rows, padded=padded)
    assert sorted(i for part in made for i in part) == list(range(len(lengths)))
    for part in made:
        held = max(lengths[i] for i in part) * len(part) if padded else sum(lengths[i] for i in part)
        assert tokens is None or held <= max(tokens, max(lengths)) or len(part) == 1
        assert rows is None or len(part) <= rows
    if tokens is None and rows is None:
        assert len(made) == 1
    if not padded and tokens is not None and rows is None:
        least = -(-sum(lengths) // max(tokens, max(lengths)))
        assert len(made) <= 2 * least


@given(st.integers(1, 5000), st.integers(1, 64), st.floats(0.1, 20), st.integers(0, 256))
def test_a_schedule_covers_the_rows_and_measures_within_the_run(rows: int, batch: int, epochs: float, out: int) -> None:
    length = schedule(TrainConfig(data="x", batch=batch, epochs=epochs), rows, out)
    assert length.epochs > epochs - 1e-8 or length.steps == 1
    assert length.epochs < epochs + 1 + batch / rows
    assert (length.eval_every == 0) == (out == 0)
    assert length.eval_every <= length.steps
    assert length.warmup <= length.steps


@pytest.mark.parametrize(
    ("rows", "epochs", "warmup", "steps", "rising"),
    [(400, 1.1, 0.07, 55, 4), (800, 2.2, 0.05, 220, 11), (800, 1, 0.07, 100, 7), (1, 3, 0.05, 3, 1), (9, 0.5, 0, 1, 0)],
)
def test_lengths_that_come_out_even_gain_no_step(
    rows: int, epochs: float, warmup: float, steps: int, rising: int
) -> None:
    length = schedule(TrainConfig(data="x", epochs=epochs, warmup=warmup), rows, 0)
    assert (length.steps, length.warmup) == (steps, rising)


@pytest.mark.parametrize(
    ("rows", "batch", "epochs"), [(1001, 8, 2), (5, 8, 3), (400, 8, 1.1), (7, 3, 0.5), (1, 1, 0.1)]
)
def test_a_plan_counts_the_steps_that_the_run_makes(rows: int, batch: int, epochs: float) -> None:
    planned = choose(read(LLAMA_3B), card("t4"), rows=rows, batch=batch, epochs=epochs)
    assert planned.steps == schedule(TrainConfig(data="x", batch=batch, epochs=epochs), rows, 0).steps


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_learning_rates_equal_transformers_one_step_into_the_warm_up(kind: str) -> None:
    import torch
    from transformers import get_scheduler

    steps, warmup = 60, 6
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if kind == "constant" else kind
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    reference = []
    for _ in range(steps):
        reference.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    ours = [learning_rate_share(step, steps, warmup, kind) for step in range(steps)]
    assert ours[0] == pytest.approx(1 / warmup)
    assert ours[: warmup - 1] == pytest.approx(reference[1:warmup])
    assert ours[warmup:] == pytest.approx(reference[warmup:])
