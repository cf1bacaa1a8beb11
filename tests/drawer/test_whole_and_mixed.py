"""Adapters of plain peft taken off again, and mixed: the base is as it was, and no layer is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.session import Session
from tests.drawer.test_drawer import ROW, delta, drawer
from tests.drawer.test_imports import adapter
from tests.session.test_session import loaded


@pytest.mark.parametrize("whole", [["lm_head"], ["embed_tokens", "lm_head"], ["norm"]])
def test_the_last_one_off_leaves_the_base_as_it_was(tiny_folder: Path, tmp_path: Path, whole: list[str]) -> None:
    session = loaded(tiny_folder, bits=32)
    before = session.base.logits(ROW)
    drawer(session, import_from=str(adapter(tiny_folder, tmp_path / "theirs", modules_to_save=whole)))
    assert not torch.equal(session.base.logits(ROW), before)
    drawer(session, remove="theirs")
    assert torch.equal(session.base.logits(ROW), before)


NARROW: dict[str, dict[str, Any]] = {
    "one layer": {"layers_to_transform": [1]},
    "all but some": {"exclude_modules": ["v_proj"]},
    "by an expression": {"target_modules": r".*\.(q_proj|down_proj)"},
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("case", NARROW)
def test_a_sum_covers_the_layers_of_all(tiny_folder: Path, tmp_path: Path, case: str, first: bool) -> None:
    session: Session = loaded(tiny_folder, bits=32)
    drawer(session, import_from=str(adapter(tiny_folder, tmp_path / "narrow", **NARROW[case])))
    drawer(session, import_from=str(adapter(tiny_folder, tmp_path / "plain", use_rslora=True)))
    drawer(session, combine="narrow=0.7,plain=-0.5" if first else "plain=-0.5,narrow=0.7", name="both")
    narrow, plain, both = delta(session, "narrow"), delta(session, "plain"), delta(session, "both")
    assert narrow.keys() != plain.keys() and both.keys() == narrow.keys() | plain.keys()
    for name, found in both.items():
        wanted = 0.7 * narrow.get(name, torch.zeros(1)) - 0.5 * plain.get(name, torch.zeros(1))
        assert torch.allclose(found, wanted, atol=1e-5 * float(wanted.abs().max()))
    logits = session.base.logits(ROW)
    fresh = loaded(tiny_folder, bits=32)
    drawer(fresh, import_from="both")
    assert torch.allclose(fresh.base.logits(ROW), logits, atol=1e-4)
