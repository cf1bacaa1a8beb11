"""However a step of the embedded model is computed, the same is learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lora_magic.config import TrainConfig
from lora_magic.planning.run_plan import Plan, Way
from lora_magic.session import Session
from tests.backends.contract import delta
from tests.session.test_session import loaded

PLAIN = Way("two rows at once", None, 2, "off")
OTHERS = [
    Way("all at once", None, None, "off"),
    Way("end to end", 700, None, "off", padded=False),
    Way("a row at once, some blocks kept", None, 1, "on", kept=2),
]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    made = loaded("demo")
    yield made
    made.free()


def test_the_embedded_model_learns_the_same_every_way(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def by(way: Way) -> Any:
        monkeypatch.setattr("lora_magic.training.run.plan", lambda *_, **__: Plan((way,), "adamw_torch", 8))
        config = TrainConfig(name="run", data="demo-json", max_steps=8, eval_split=0)
        return session.train(config, [], {}, lambda line: None)

    plain = by(PLAIN)
    for way in OTHERS:
        other = by(way)
        for one, same_step in zip(plain.steps, other.steps, strict=True):
            assert same_step.loss == pytest.approx(one.loss, rel=0.01)
            assert same_step.gradient_norm == pytest.approx(one.gradient_norm, rel=0.02)
        assert torch.nn.functional.cosine_similarity(delta(plain), delta(other), dim=0) >= 0.99
