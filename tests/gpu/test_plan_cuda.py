"""A run's plan on a card: memory that really runs out, and float16 gradients that really overflow.

LORA_MAGIC_BACKEND names the backend, as for the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.config import TrainConfig
from lora_magic.events import Event, Recovered
from lora_magic.planning.run_plan import Plan, Way
from lora_magic.session import Session
from tests.backends import contract
from tests.backends.contract import loaded
from tests.models import write_model, write_tokenizer

pytestmark = [
    contract.needs_backend,
    pytest.mark.gpu,
    pytest.mark.skipif(not contract.CUDA, reason="needs CUDA"),
]
ROWS = [{"question": f"What is {i}?" * 12, "answer": "one two three " * (8 + i % 5)} for i in range(40)]
PADDED = contract.BACKEND == "transformers"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A model whose activations are most of what it takes."""
    write_model(tmp_path, layers=12)
    write_tokenizer(tmp_path)
    made = loaded(tmp_path)
    yield made
    made.free()
    torch.cuda.set_per_process_memory_fraction(1.0)


def run(session: Session, monkeypatch: pytest.MonkeyPatch, *ways: Way) -> tuple[list[float], list[str], int]:
    """Losses, what was recovered from, and the peak in bytes."""
    monkeypatch.setattr("lora_magic.training.run.plan", lambda *_, **__: Plan(ways, "adamw_8bit", 8))
    told: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Recovered):
            told.append(event.what)

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    config = TrainConfig(name="run", data=ROWS, max_steps=6, lr=1e-3, eval_split=0)
    result = session.train(config, [listen], {}, lambda line: None)
    return [loss for _, loss in result.losses], told, torch.cuda.max_memory_reserved()


def test_memory_that_runs_out_backs_off_and_the_losses_stay(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    large = Way("8 rows at once", None, 8, "off", padded=PADDED)
    small = Way("1 row at once", None, 1, "on", padded=PADDED)
    losses, told, most = run(session, monkeypatch, large)
    _, _, least = run(session, monkeypatch, small)
    assert not told and least < 0.8 * most
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((least + 0.4 * (most - least)) / total)
    again, told, _ = run(session, monkeypatch, large, small)
    assert told == ["memory ran out with 8 rows at once; goes on with 1 row at once"]
    assert again == pytest.approx(losses, rel=1e-2)


def test_no_step_is_lost_to_a_gradient_scale_that_is_too_large(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lora_magic.backends.trainer import build_trainer

    way = Way("8 rows at once", None, 8, "off", padded=PADDED)
    losses, _, _ = run(session, monkeypatch, way)
    scales: list[Any] = []

    def enormous(*args: Any, **kwargs: Any) -> Any:
        trainer = build_trainer(*args, **kwargs)
        scaler = trainer.accelerator.scaler
        scaler._init_scale = 2.0**40
        scales.append(scaler)
        return trainer

    monkeypatch.setattr("lora_magic.backends.adapters.build_trainer", enormous)
    again, told, _ = run(session, monkeypatch, way)
    assert not told and scales[0].get_scale() < 2.0**40
    assert again == pytest.approx(losses, rel=1e-2)


def test_the_plan_of_a_run_knows_the_card_and_fits(session: Session) -> None:
    told: list[str] = []
    config = TrainConfig(name="planned", data=ROWS, max_steps=2, eval_split=0)
    torch.cuda.reset_peak_memory_stats()
    result = session.train(config, [], {}, told.append)
    assert any(line.startswith("plan: 8 x 1, no checkpointing") for line in told)
    assert dict(result.header)["planned peak"].endswith("GiB")
