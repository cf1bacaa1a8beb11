"""A run that is stopped leaves the adapter as of its last whole step, and its record whole."""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lora_magic.config import TrainConfig
from lora_magic.events import Evaluated, Event, Stepped
from lora_magic.training.best import Best
from lora_magic.training.stepper import Stepper
from tests.models import rows
from tests.session.test_session import loaded

STEADY: dict[str, Any] = {"lr": 5e-3, "scheduler": "constant", "warmup": 0, "dropout": 0.1}


def run(session: Any, name: str, listener: Any = None, **options: Any) -> Any:
    config = TrainConfig(name=name, data=rows(), **(STEADY | options))
    return session.train(config, [listener] if listener else [], {}, lambda line: None)


def weights(result: Any) -> dict[str, torch.Tensor]:
    return dict(load_file(result.adapter_path / "adapter_model.safetensors"))


@pytest.mark.parametrize(
    ("presses", "options"),
    [
        (1, {}),
        (2, {}),
        (1, {"micro_batch": 2}),
        (1, {"eval_every": 3}),
        (2, {"micro_batch": 4, "eval_every": 3}),
    ],
)
def test_the_adapter_equals_a_run_planned_to_end_there(
    tiny_folder: Path, presses: int, options: dict[str, Any]
) -> None:
    def press(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 3:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)

    session = loaded(tiny_folder)
    before = signal.getsignal(signal.SIGINT)
    stopped = run(session, "stopped", press, max_steps=50, **options)
    assert signal.getsignal(signal.SIGINT) is before
    assert stopped.interrupted
    last = stopped.losses[-1][0]
    assert last in (3, 4)
    planned = run(session, "planned", max_steps=last, **options)
    assert stopped.losses == planned.losses
    assert all(torch.equal(weights(stopped)[n], t) for n, t in weights(planned).items())


def test_a_stopped_run_says_so_in_its_record_and_can_be_followed_by_another(tiny_folder: Path) -> None:
    def press(event: Event) -> None:
        if isinstance(event, Stepped):
            signal.raise_signal(signal.SIGINT)

    session = loaded(tiny_folder)
    stopped = run(session, "stopped", press, max_steps=50)
    lines = [json.loads(line) for line in (stopped.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert (lines[-1]["event"], lines[-1]["reason"]) == ("finished", "interrupted")
    assert "interrupted after 1 of 50 steps" in (stopped.run_dir / "README.md").read_text()
    assert run(session, "next", max_steps=2).reason == "completed"
    assert list(session.adapters) == ["stopped", "next"]


def test_a_stop_within_the_last_measurement_still_keeps_the_best_adapter(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, within_measurement = 6, Stepper.measure

    def pressed(stepper: Stepper, trainer: Any, *rest: Any) -> Any:
        if trainer.state.global_step == steps:
            signal.raise_signal(signal.SIGINT)
        return within_measurement(stepper, trainer, *rest)

    session = loaded(tiny_folder)
    settings: dict[str, Any] = {"max_steps": steps, "lr": 1.0, "dropout": 0, "eval_every": 1}
    with monkeypatch.context() as patched:
        patched.setattr(Stepper, "measure", pressed)
        stopped = run(session, "stopped", early_stop=steps, **settings)
    assert stopped.reason == "completed" and len(stopped.eval_losses) == steps
    best, lowest = min(stopped.eval_losses[1:], key=lambda pair: pair[1])
    assert best < steps and f"step {best}" in " ".join(stopped.notes)
    more = run(session, "more", continue_from="stopped", **{**settings, "max_steps": 1, "lr": 1e-9})
    assert more.eval_losses[0][1] == pytest.approx(lowest, rel=1e-5)


def test_a_held_out_loss_that_is_no_number_is_never_the_best() -> None:
    best, model = Best(2), torch.nn.Linear(1, 1)
    measured = [(1, math.nan), (2, 3.0), (3, 2.0), (4, math.nan), (5, 2.5)]
    over = [best.is_over(Evaluated(step, loss, 0.0), model) for step, loss in measured]
    assert over == [False, False, False, False, True]
    assert best.at is not None and (best.at.step, best.at.loss) == (3, 2.0)
