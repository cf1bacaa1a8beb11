"""How steps are computed: against a loop written by hand, when memory runs out, and when numbers are none."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.config import TrainConfig
from lora_magic.dataset.collate import StepRows
from lora_magic.dataset.order import epoch_order
from lora_magic.dataset.prepare import prepare
from lora_magic.errors import LoraError
from lora_magic.events import Event, Recovered, Stepped
from lora_magic.methods.lora import peft_config
from lora_magic.planning.run_plan import Plan, Way
from lora_magic.session import Session
from lora_magic.training.probe import largest_pass
from tests.session.test_session import adapter_weights, loaded

STEPS = 9
ROWS = [{"question": f"What is {i}?" * (1 + i % 5), "answer": "one " * (1 + i % 7)} for i in range(40)]
SETTINGS: dict[str, Any] = {"data": ROWS, "max_steps": STEPS, "lr": 1e-3, "eval_split": 0, "scheduler": "constant",
                            "warmup": 0}  # fmt: skip
FULL = [Way("8 rows at once", None, 8, "off"), Way("3 rows at once", None, 3, "off"),
        Way("1 row at once", None, 1, "on")]  # fmt: skip


@pytest.fixture(scope="module")
def session(tiny_folder: Path) -> Iterator[Session]:
    made = loaded(tiny_folder, bits=32)
    yield made
    made.free()


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[Way]:
    """What runs turn to, in order; a test may change it."""
    listed = list(FULL)
    monkeypatch.setattr(
        "lora_magic.training.run.plan", lambda config, *_, **__: Plan(tuple(listed), "adamw_torch", config.batch)
    )
    return listed


def run(session: Session, name: str = "run", **options: Any) -> tuple[Any, list[Event]]:
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)

    return session.train(TrainConfig(name=name, **(SETTINGS | options)), [listen], {}, lambda line: None), events


def recovered(events: list[Event]) -> list[tuple[int, str]]:
    return [(event.step, event.what) for event in events if isinstance(event, Recovered)]


class Faults:
    """Stands before the model's forward pass and spoils what `when` names: a count of training passes, from 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, session: Session, spoil: Any) -> None:
        self.passes = 0
        base: Any = session.base
        kind = type(base._model.get_base_model() if base._adapted else base._model)
        forward = kind.forward

        def spoiled(model: Any, *args: Any, **kwargs: Any) -> Any:
            self.passes += torch.is_grad_enabled()
            output = forward(model, *args, **kwargs)
            return spoil(self.passes, kwargs, output)

        monkeypatch.setattr(kind, "forward", spoiled)


def by_hand(session: Session) -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """Losses, gradient norms and weights of the run, by torch and peft alone, a row at a time."""
    import peft

    from lora_magic.seeding import seeded

    base: Any = session.base
    config = TrainConfig(name="by-hand", **SETTINGS)
    rows = prepare(config, base.tokenizer, 512, {}, {}).training.rows
    plain = base._model.get_base_model() if base._adapted else base._model
    with seeded(config.seed):
        model = peft.get_peft_model(plain, peft_config(config, plain, base.facts.path, None), adapter_name="byhand")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=config.weight_decay)
    order = [i for epoch in range(3) for i in epoch_order(len(rows), seed=config.seed, epoch=epoch)]
    losses, norms = [], []
    model.train()
    for step in range(STEPS):
        chosen = [rows[i] for i in order[step * 8 : step * 8 + 8]]
        count, total = sum(label != -100 for row in chosen for label in row.labels[1:]), 0.0
        for row in chosen:
            logits = model(input_ids=torch.tensor([row.input_ids]), use_cache=False).logits[0, :-1].double()
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(row.labels[1:]), reduction="sum") / count
            loss.backward()
            total += loss.item()
        losses.append(total)
        norms.append(float(torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm)))
        optimizer.step()
        optimizer.zero_grad()
    found = {n.replace(".byhand", ""): p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}
    model.unload()
    return losses, norms, found


@pytest.mark.usefixtures("ways")
def test_a_run_equals_a_loop_written_by_hand(tiny_folder: Path) -> None:
    fresh = loaded(tiny_folder, bits=32)
    losses, norms, weights = by_hand(fresh)
    result, events = run(loaded(tiny_folder, bits=32))
    assert [loss for _, loss in result.losses] == pytest.approx(losses, rel=1e-4)
    assert [step.gradient_norm for step in result.steps] == pytest.approx(norms, rel=1e-3)
    ours = adapter_weights(result)
    assert {n.replace("base_model.model.", "") for n in ours} == {n.replace("base_model.model.", "") for n in weights}
    flat = [torch.cat([found[name].flatten() for name in sorted(found)]) for found in (ours, weights)]
    assert torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.9999
    assert not recovered(events)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_memory_that_runs_out_within_a_step_costs_that_step_s_time_alone(
    session: Session, ways: list[Way], monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    ways[1:] = [Way("8 rows again", None, 8, "off")]
    whole, _ = run(session, "whole", dropout=dropout)
    assert not recovered(_)

    def spoil(number: int, inputs: Any, output: Any) -> Any:
        if number == 7:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return output

    Faults(monkeypatch, session, spoil)
    result, events = run(session, "redone", dropout=dropout)
    assert recovered(events) == [(7, "memory ran out with 8 rows at once; goes on with 8 rows again")]
    assert result.losses == whole.losses
    ours, theirs = adapter_weights(result), adapter_weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.usefixtures("ways")
def test_memory_that_runs_out_again_and_again_takes_ever_smaller_passes(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(session, "whole")

    def spoil(number: int, inputs: Any, output: Any) -> Any:
        if number >= 7 and len(inputs["input_ids"]) > 1 and torch.is_grad_enabled():
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return output

    faults = Faults(monkeypatch, session, spoil)
    result, events = run(session, "smaller")
    assert [(step, what.partition(";")[2]) for step, what in recovered(events)] == [
        (7, " goes on with 3 rows at once"), (7, " goes on with 1 row at once"),
    ]  # fmt: skip
    assert faults.passes >= 6 + 2 + 3 * 8  # those rows' blocks are computed again in the backward pass
    assert [loss for _, loss in result.losses] == pytest.approx([loss for _, loss in whole.losses], rel=1e-5)
    ours, theirs = adapter_weights(result), adapter_weights(whole)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)
    record = [json.loads(line) for line in (result.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in record if line["event"] == "recovered"] == [7, 7]


@pytest.mark.usefixtures("ways")
def test_when_nothing_smaller_is_left_the_user_is_told_what_to_lower(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(session.adapters)

    def spoil(number: int, inputs: Any, output: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    Faults(monkeypatch, session, spoil)
    with pytest.raises(LoraError, match="one row of up to") as caught:
        run(session, "hopeless")
    assert "--max-length" in caught.value.remedy
    monkeypatch.undo()
    assert list(session.adapters) == before
    assert run(session, "next", max_steps=1)[0].reason == "completed"


def test_held_out_rows_that_do_not_fit_together_are_measured_apart(
    session: Session, ways: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"eval_split": 0.2, "max_steps": 1}
    whole, _ = run(session, "whole", **options)

    def spoil(number: int, inputs: Any, output: Any) -> Any:
        if not torch.is_grad_enabled() and len(inputs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return output

    Faults(monkeypatch, session, spoil)
    result, events = run(session, "apart", **options)
    assert [loss for _, loss in result.eval_losses] == pytest.approx([loss for _, loss in whole.eval_losses], rel=1e-5)
    assert not recovered(events)


@pytest.mark.usefixtures("ways")
def test_a_row_without_a_loss_is_left_out_and_said(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = {"question": "strange", "answer": "zzz zzz zzz"}
    token = session.base.tokenizer("strange", add_special_tokens=False)["input_ids"][0]

    def spoil(number: int, inputs: Any, output: Any) -> Any:
        if (inputs["input_ids"] == token).any() and (inputs["input_ids"] == marker).any():
            output["loss"] = output["loss"] * float("nan")
        return output

    marker = session.base.tokenizer(" zzz", add_special_tokens=False)["input_ids"][-1]
    Faults(monkeypatch, session, spoil)
    result, events = run(session, "left-out", data=[*ROWS[:7], strange], max_steps=3)
    assert recovered(events) == [
        (step, "the loss of 1 of 8 rows is nan in float32; it was left out of this step") for step in (1, 2, 3)
    ]
    monkeypatch.undo()
    alone, _ = run(session, "without", data=ROWS[:7], max_steps=3)
    assert [loss for _, loss in result.losses] == pytest.approx([loss for _, loss in alone.losses], rel=1e-5)
    assert all(tensor.isfinite().all() for tensor in adapter_weights(result).values())


@pytest.mark.usefixtures("ways")
def test_a_held_out_row_without_a_loss_is_left_out_and_said(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = [{"question": f"Who is {i}?", "answer": "nobody " * (1 + i)} for i in range(5)]
    strange = {"question": "strange", "answer": "zzz zzz zzz"}
    token = session.base.tokenizer("strange", add_special_tokens=False)["input_ids"][0]
    marker = session.base.tokenizer(" zzz", add_special_tokens=False)["input_ids"][-1]

    def spoil(number: int, inputs: Any, output: Any) -> Any:
        if (inputs["input_ids"] == token).any() and (inputs["input_ids"] == marker).any():
            output["loss"] = output["loss"] * float("nan")
        return output

    Faults(monkeypatch, session, spoil)
    result, events = run(session, "measured", eval_data=[*held_out[:2], strange, *held_out[2:]], max_steps=3)
    assert [what for _, what in recovered(events)] == [
        "held-out rows whose loss is no number in float32 are left out of the held-out loss"
    ]
    none, _ = run(session, "none", eval_data=[strange], max_steps=1)
    assert all(math.isnan(loss) for _, loss in none.eval_losses)
    monkeypatch.undo()
    alone, _ = run(session, "sound", eval_data=held_out, max_steps=3)
    assert [loss for _, loss in result.eval_losses] == pytest.approx([loss for _, loss in alone.eval_losses], rel=1e-5)


@pytest.mark.usefixtures("ways")
def test_a_loss_that_is_no_number_for_any_row_ends_the_run_with_the_step(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(number: int, inputs: Any, output: Any) -> Any:
        if number >= 3:
            output["loss"] = output["loss"] + float("inf")
        return output

    Faults(monkeypatch, session, spoil)
    with pytest.raises(LoraError, match="loss is inf at step 3") as caught:
        run(session, "broken")
    assert "0.001" in caught.value.remedy


@pytest.mark.usefixtures("ways")
def test_float16_gradients_that_overflow_are_computed_again_at_a_lower_scale(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's scaler on a CPU stands where a card's would; here gradients overflow at any scale above 1."""
    from lora_magic.backends.trainer import build_trainer
    from lora_magic.training import stepper

    plain, _ = run(session, "plain", max_steps=3)
    scaler = torch.amp.GradScaler("cpu", init_scale=65_536.0)
    scales: list[float] = []
    finite = stepper.Stepper._finite

    def overflowing(self: Any, trainer: Any, loss: Any) -> tuple[bool, bool]:
        scales.append(scaler.get_scale())
        largest_gradient = max(float(p.grad.abs().max()) for p in trainer.trained)
        assert largest_gradient > 1e-4 * scales[-1]
        return finite(self, trainer, loss) if scales[-1] <= 1 else (True, False)

    def with_scaler(*args: Any, **kwargs: Any) -> Any:
        trainer = build_trainer(*args, **kwargs)
        trainer.accelerator.scaler = scaler
        return trainer

    monkeypatch.setattr(stepper.Stepper, "_finite", overflowing)
    monkeypatch.setattr("lora_magic.backends.adapters.build_trainer", with_scaler)
    result, events = run(session, "scaled", max_steps=3)
    assert scales == [4.0**power for power in range(8, -1, -1)] + [1.0, 1.0]
    assert result.losses == plain.losses and not recovered(events)


def test_every_step_says_its_tokens_and_an_interrupt_lands_between_passes(session: Session, ways: list[Way]) -> None:
    import signal

    ways[:] = [Way("2 rows at once", None, 2, "off")]
    result, _ = run(session, "rates", max_steps=2)
    assert all(step.tokens_per_second > 0 for step in result.steps)
    seen: list[Event] = []

    def press(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Stepped) and event.step == 2:
            signal.raise_signal(signal.SIGINT)

    stopped = session.train(TrainConfig(name="stopped", **SETTINGS), [press], {}, lambda line: None)
    assert stopped.reason == "interrupted" and len(stopped.losses) == 2


@pytest.mark.usefixtures("ways")
def test_a_probe_that_does_not_fit_backs_off_before_the_first_step(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(session, "whole", max_steps=2)

    def probe(base: Any, plan: Plan, tokens: Any, rows: Any, **run: int) -> StepRows:
        return StepRows([rows[i] for i in largest_pass(tokens.rows.lengths, plan.ways[0], plan.batch, **run)])

    def spoil(number: int, inputs: Any, output: Any) -> Any:
        if number == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return output

    monkeypatch.setattr("lora_magic.training.loop._probe", probe)
    Faults(monkeypatch, session, spoil)
    result, events = run(session, "probed", max_steps=2)
    assert [step for step, _ in recovered(events)] == [1]
    assert [loss for _, loss in result.losses] == pytest.approx([loss for _, loss in whole.losses], rel=1e-5)
