"""Adapters that plain peft saved: what can stand beside others comes in, what would change the base is refused."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.config import MergeConfig, TrainConfig, UseConfig
from lora_magic.display import bundle
from lora_magic.errors import LoraError
from lora_magic.session import Session
from tests.drawer.test_drawer import ROW, drawer, trained
from tests.models import rows
from tests.session.test_session import loaded


def adapter(base: Path, folder: Path, **settings: Any) -> Path:
    """A LoRA adapter made and saved by peft alone, its values moved from where they start."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    chosen = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", **chosen))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.03 * torch.randn_like(parameter)
        model.save_pretrained(str(folder))
    return folder


def changed(folder: Path, **settings: Any) -> Path:
    """The same adapter with other settings in its file."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


@pytest.fixture
def session(tiny_folder: Path) -> Iterator[Session]:
    made = loaded(tiny_folder, bits=32)
    yield made
    made.free()


FINE: dict[str, dict[str, Any]] = {
    "by an expression": {"target_modules": r".*\.(q_proj|down_proj)"},
    "one layer": {"layers_to_transform": [1]},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}},
    "rsLoRA with DoRA": {"use_rslora": True, "use_dora": True},
    "a whole layer": {"modules_to_save": ["lm_head"]},
}


@pytest.mark.parametrize("case", FINE)
def test_it_answers_as_peft_has_it_and_the_base_answers_as_before(
    session: Session, tiny_folder: Path, tmp_path: Path, case: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    before = session.base.logits(ROW)
    saved = adapter(tiny_folder, tmp_path / 'it\'s ä "one"', **FINE[case])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
        theirs = PeftModel.from_pretrained(plain, str(saved)).eval()(torch.tensor([ROW])).logits[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        drawer(session, import_from=str(saved), name="theirs")
    assert torch.allclose(session.base.logits(ROW), theirs, atol=1e-4)
    drawer(session, import_from=str(adapter(tiny_folder, tmp_path / "other")))
    session.use(UseConfig("base"))
    assert torch.allclose(session.base.logits(ROW), before, atol=1e-6)
    session.use(UseConfig("theirs"))
    assert torch.allclose(session.base.logits(ROW), theirs, atol=1e-4)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a start that moves the base's weights": ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
    "layers used twice": ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
    "single tokens": ({"trainable_token_indices": [3, 4]}, "single tokens"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_change_the_base_is_refused_before_it_does(
    session: Session, tiny_folder: Path, tmp_path: Path, case: str
) -> None:
    settings, told = REFUSED[case]
    saved = adapter(tiny_folder, tmp_path / "theirs", **settings)
    before = session.base.logits(ROW)
    with pytest.raises(LoraError, match=told):
        drawer(session, import_from=str(saved))
    with pytest.raises(LoraError, match=told):
        session.train(
            TrainConfig(name="on", data=rows(), max_steps=1, continue_from=str(saved)), [], {}, lambda line: None
        )
    assert not session.adapters and torch.equal(session.base.logits(ROW), before)
    assert drawer(session, import_from=str(adapter(tiny_folder, tmp_path / "plain"))).active == "plain"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lora_alpha": None}, "not usable"),
        ({"r": "four"}, "not usable"),
        ({"rank_pattern": ["q_proj"]}, "not usable"),
        ({"rank_pattern": {"q_proj(": 4}}, "not usable"),
        ({"r": 8}, "says rank 8"),
        ({"peft_type": "LOHA"}, "of the kind LOHA"),
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING"),
        ({"target_modules": 5}, "cannot be used"),
    ],
)
def test_settings_that_are_none_are_one_line(
    session: Session, tiny_folder: Path, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    saved = changed(adapter(tiny_folder, tmp_path / "theirs"), **settings)
    with pytest.raises(LoraError, match=told) as caught:
        drawer(session, import_from=str(saved))
    assert "\n" not in str(caught.value) and "foresee" not in caught.value.remedy and not session.adapters


def test_two_that_want_one_layer_each_in_its_own_way(session: Session, tiny_folder: Path, tmp_path: Path) -> None:
    drawer(session, import_from=str(adapter(tiny_folder, tmp_path / "whole", modules_to_save=["lm_head"])))
    other = adapter(tiny_folder, tmp_path / "head", target_modules=["q_proj", "lm_head"])
    before = session.base.logits(ROW)
    with pytest.raises(LoraError, match="an adapter in memory holds as a whole") as caught:
        drawer(session, import_from=str(other))
    assert "\n" not in str(caught.value) and "--remove" in caught.value.remedy
    assert session.active == "whole" and torch.equal(session.base.logits(ROW), before)


@pytest.mark.parametrize(
    "settings", [{"modules_to_save": ["lm_head"]}, {"target_modules": ["embed_tokens", "lm_head"]}], ids=str
)
def test_an_adapter_trained_beside_one_of_the_head_is_as_if_alone(
    session: Session, tiny_folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    alone = trained(session, "alone")
    drawer(session, import_from=str(adapter(tiny_folder, tmp_path / "theirs", **settings)))
    beside = trained(session, "beside")
    assert beside.trainable_parameters == alone.trainable_parameters and beside.losses == alone.losses
    recorded = [json.loads((one.adapter_path / "adapter_config.json").read_text()) for one in (alone, beside)]
    assert sorted(recorded[0]["target_modules"]) == sorted(recorded[1]["target_modules"])
    fresh = loaded(tiny_folder, bits=32)
    drawer(fresh, import_from=str(beside.adapter_path))
    session.use(UseConfig("beside"))
    assert torch.allclose(fresh.base.logits(ROW), session.base.logits(ROW), atol=1e-5)


def test_what_a_newer_peft_wrote_is_said(session: Session, tiny_folder: Path, tmp_path: Path) -> None:
    saved = changed(adapter(tiny_folder, tmp_path / "theirs"), other_new={"a": 1}, brand_new=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        done = drawer(session, import_from=str(saved)).done
    assert "saved with other_new, unknown to this peft" in done


def test_its_folder_is_found_from_another_one(session: Session, tiny_folder: Path, tmp_path: Path) -> None:
    adapter(tiny_folder, tmp_path / "theirs")
    drawer(session, import_from="theirs")
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    entry = drawer(session).adapters[0]
    assert entry.path == tmp_path / "theirs" and entry.bytes > 0 and not entry.note
    session.merge(MergeConfig("theirs", "out", verify=0), lambda share, what: None)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["out"]


def test_a_file_is_said_to_be_one(session: Session, tiny_folder: Path, tmp_path: Path) -> None:
    saved = adapter(tiny_folder, tmp_path / "theirs")
    for name in (str(saved / "adapter_model.safetensors"), "theirs/adapter_config.json"):
        with pytest.raises(LoraError, match="is a file; an adapter is a folder"):
            drawer(session, import_from=name)


def test_pictures_stand_under_each_other_and_bases_by_their_names(
    session: Session, tiny_folder: Path, tmp_path: Path
) -> None:
    drawer(session, import_from=str(adapter(tiny_folder, tmp_path / "a")))
    drawer(session, import_from=str(changed(adapter(tiny_folder, tmp_path / "much longer"),
                                            base_model_name_or_path="/far/away/base seven")))  # fmt: skip
    shown = bundle(drawer(session))
    text, html = shown["text/plain"].splitlines(), shown["text/html"]
    strips = [line for line in text if line.endswith("██")]
    assert len(strips) == 2 and len({line.index("█") for line in strips}) == 1
    assert sum("effective rank by block" in line for line in text) == html.count("effective rank by block") == 1
    assert "base seven" in html and "/far/away" not in html
