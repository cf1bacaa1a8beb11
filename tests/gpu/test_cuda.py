"""The transformers backend on a card, in the precision a T4 has and in the card's own."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.config import MergeConfig
from lora_magic.session import Session
from tests.session.test_session import loaded, trained

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

ROW = [5, 6, 7, 8, 9, 10, 11, 12]
LONG: dict[str, Any] = {"max_steps": 30, "lr": 2e-2, "eval_every": 30}


@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(bits, dtype) for bits in (4, 8, 16) for dtype in ("float16", "bfloat16")]
    + [(4, "float32"), (8, "float32"), (32, "float32")],
)
def test_training_learns_and_leaves_the_base_exactly_as_it_was(tiny_folder: Path, bits: int, dtype: str) -> None:
    session = loaded(tiny_folder, bits=bits, dtype=dtype)
    before = session.base.logits(ROW)
    result = trained(session, "first", **LONG)
    (_, start), (_, end) = result.eval_losses
    assert end < 0.8 * start
    assert result.config["optimizer"] == "auto"
    adapted = session.base.logits(ROW)
    trained(session, "second", seed=1, method="rslora", **LONG)
    session._activate("first")
    assert torch.equal(session.base.logits(ROW), adapted)
    session._activate("base")
    assert torch.equal(session.base.logits(ROW), before)


def test_one_seed_gives_one_curve_up_to_a_card_s_rounding(tiny_folder: Path) -> None:
    session = loaded(tiny_folder, dtype="float16")
    first, again = (trained(session, max_steps=10).losses for _ in range(2))
    assert [loss for _, loss in again] == pytest.approx([loss for _, loss in first], rel=1e-3)


def test_dora_trains_in_float16(tiny_folder: Path) -> None:
    result = trained(loaded(tiny_folder, dtype="float16"), method="dora", **LONG)
    assert result.eval_losses[-1][1] < 0.8 * result.eval_losses[0][1]


def test_the_card_is_free_again(tiny_folder: Path) -> None:
    def used() -> int:
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    session = loaded(tiny_folder)
    session.free()
    start = used()
    for _ in range(2):
        session = loaded(tiny_folder)
        trained(session)
        session.free()
    assert used() <= start + 2**20


def test_merging_on_a_card(tiny_folder: Path, tmp_path: Path) -> None:
    session: Session = loaded(tiny_folder, dtype="float16")
    trained(session, "merged", **LONG)
    result = session.merge(MergeConfig("merged", str(tmp_path / "out")), lambda share, what: None)
    assert result.max_logit_difference is not None and result.max_logit_difference <= 1e-3
    assert result.trained is not None
