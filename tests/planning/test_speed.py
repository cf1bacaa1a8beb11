"""The cost model: the recorded T4 runs, physical bounds, and how times move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_magic.errors import LoraError
from lora_magic.planning.architecture import read
from lora_magic.planning.calibration import data, tokens_per_row
from lora_magic.planning.plan import choose
from lora_magic.planning.setting import Setting
from lora_magic.planning.speed import Seconds, card, fitted, operations, step
from tests.benchmarks.gpu.fit_t4 import PARAMETERS, RECORDED, Run, fit, modelled, recorded, without
from tests.planning.configs import LLAMA_3B, LLAMA_8B, PUBLISHED

RUNS = recorded(RECORDED)
CARDS = [name for name, value in data("cards").items() if isinstance(value, dict)]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.model}-{run.steps}")
def test_every_recorded_t4_run_is_within_30_percent(run: Run) -> None:
    assert modelled(run, fitted(), tokens_per_row(run.dataset)) == pytest.approx(run.seconds, rel=0.3)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.model}-{run.steps}")
def test_a_pinned_plan_tells_the_recorded_seconds_too(run: Run) -> None:
    found = choose(
        run.shapes, card("t4"), batch=run.micro_batch * run.accumulation, micro_batch=run.micro_batch,
        checkpointing="unsloth", tokens_per_row=tokens_per_row(run.dataset), rank=16, optimizer="adamw-8bit",
        steps=run.steps,
    )  # fmt: skip
    assert found.seconds == pytest.approx(run.seconds, rel=0.3)


@pytest.mark.parametrize(
    ("checkpointing", "micro_batches", "tokens_a_second"), [("offload", 4, 1635), ("off", 1, 2397)]
)
def test_two_runs_measured_on_the_slice_are_within_15_percent(
    checkpointing: str, micro_batches: int, tokens_a_second: float
) -> None:
    setting = Setting(1, 1, checkpointing, accumulation=micro_batches)
    made = step(read(LLAMA_3B), setting, card("slice"), tokens=3200, row=400)
    assert 3200 / made.total == pytest.approx(tokens_a_second, rel=0.15)


def test_the_calibration_is_what_the_fit_gives_and_physical() -> None:
    costs, lengths = fit(RUNS)
    for name, (low, high, *_) in PARAMETERS.items():
        assert low <= getattr(costs, name) <= high
        assert getattr(fitted(), name) == pytest.approx(getattr(costs, name), rel=1e-3)
    assert costs.matrix_share * 65 <= 65 and costs.bandwidth_share * 320 <= 320
    assert {k: round(v) for k, v in lengths.items()}.items() <= data("calibration")["tokens_per_row"].items()
    fallback = data("calibration")["tokens_per_row"]["fallback"]
    assert tokens_per_row("somebody/something-else") == tokens_per_row() == fallback


def test_a_model_that_was_left_out_is_predicted_within_a_third() -> None:
    shared = [run for run in RUNS if sum(r.dataset == run.dataset for r in RUNS) > 1]
    assert max(abs(without(RUNS, run)) for run in shared) < 1 / 3


def test_operations_of_a_plain_pass_are_four_a_weight_and_six_with_recomputing() -> None:
    model = read(LLAMA_8B)
    plain = operations(model, Setting(1, 1), 1.0, 0.0)
    again = operations(model, Setting(1, 1, "on"), 1.0, 1.0)
    assert plain == pytest.approx(4 * (model.linear + model.vocabulary * model.hidden), rel=0.02)
    assert again - plain == pytest.approx(2 * model.linear, rel=0.01)


def test_host_and_gpu_run_side_by_side_but_for_what_is_exposed() -> None:
    assert Seconds(1.0, 0.5, 0.5, 1.0, 0.1, exposed=0.0).total == pytest.approx(2.1)
    assert Seconds(1.0, 0.5, 0.5, 4.0, 0.1, exposed=0.5).total == pytest.approx(5.1)


def test_without_launches_one_large_micro_batch_saves_what_dequantising_costs() -> None:
    on = card("t4")
    cut, whole = (
        step(read(LLAMA_3B), Setting(1, 1, "offload", accumulation=n), on, tokens=3200, row=400) for n in (4, 1)
    )
    assert cut.dequantisation == pytest.approx(4 * whole.dequantisation)
    assert cut.launches == pytest.approx(4 * whole.launches)
    assert cut.matrix == whole.matrix and cut.total > 1.15 * whole.total


@given(
    st.sampled_from(list(PUBLISHED)), st.sampled_from(CARDS), st.floats(1, 1e5), st.floats(1, 2048),
    st.sampled_from(["off", "on", "offload"]), st.integers(1, 64),
)  # fmt: skip
def test_more_work_never_takes_less_time(
    name: str, on: str, tokens: float, row: float, checkpointing: str, micro_batches: int
) -> None:
    model, setting = read(PUBLISHED[name]), Setting(1, 1, checkpointing, accumulation=micro_batches)
    base = step(model, setting, card(on), tokens=tokens, row=row).total
    assert base > 0
    assert step(model, setting, card(on), tokens=1.5 * tokens, row=row).total >= base
    assert step(model, setting.but(accumulation=micro_batches + 1), card(on), tokens=tokens, row=row).total >= base
    assert step(model, setting.but(checkpointing="off"), card(on), tokens=tokens, row=row).total <= base
    assert step(model, setting.but(kept=5), card(on), tokens=tokens, row=row).total <= base * (1 + 1e-12)


def test_cards_have_sources_and_a_nearest_name() -> None:
    assert all(data("cards")[name]["source"] and card(name).memory_gib > 10 for name in CARDS)
    assert {"t4", "l4", "a100-40", "a100-80", "rtx3060", "rtx4090", "h100", "h200", "slice"} == set(CARDS)
    assert card("A100") == card("a100-40") and card("t4").capability < (8, 0)
    with pytest.raises(LoraError, match='Did you mean "rtx4090"'):
        card("rtx4900")
