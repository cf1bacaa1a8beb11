"""`--from` a recorded run and `--continue` an adapter: the same again, what changed, and what does not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lora_magic.config import TrainConfig, UseConfig, defaults
from lora_magic.errors import LoraError
from lora_magic.session import Session
from tests.models import rows, write_model
from tests.session.test_session import adapter_weights, loaded


def run(
    session: Session, said: list[str] | None = None, variables: dict[str, object] | None = None, **options: Any
) -> Any:
    heard = said.append if said is not None else lambda line: None
    return session.train(TrainConfig.of(options), [], variables or {}, heard)


def recorded(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((result.run_dir / "config.yaml").read_text())
    return found


@pytest.mark.parametrize("kind", ["file", "variable", "object"])
def test_a_run_repeats_bit_for_bit_wherever_its_rows_came_from(tiny_folder: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    data, variables = {"file": (str(file), {}), "variable": ("sums", {"sums": rows()}), "object": (rows(), {})}[kind]
    session = loaded(tiny_folder)
    first = run(
        session, name="first", data=data, variables=variables, max_steps=3, lr=5e-3, rank=4, seed=3, dropout=0.1
    )
    said: list[str] = []
    again = run(loaded(tiny_folder), said, from_run="first")
    assert again.losses == first.losses and again.eval_losses == first.eval_losses
    assert again.name == "first" and again.run_dir.name == "first-2"
    assert not any("changed since" in line for line in said)
    assert recorded(again)["content_hash"] == recorded(first)["content_hash"]


def test_what_is_given_anew_takes_the_place_and_is_said(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    run(session, name="first", data=rows(), max_steps=2, lr=5e-3, rank=4)
    said: list[str] = []
    other = run(session, said, name="other", from_run="first", rank=16, lr=1e-3)
    kept = recorded(other)
    assert (kept["rank"], kept["alpha"], kept["lr"], kept["max_steps"]) == (16, 32.0, 1e-3, 2)
    assert any("rank 16 (was 4)" in line and "lr 0.001 (was 0.005)" in line for line in said)
    given_alpha = run(session, name="alpha", data=rows(), max_steps=1, rank=4, alpha=5)
    assert recorded(run(session, from_run=given_alpha.name, rank=8))["alpha"] == 5


def test_epochs_given_anew_outweigh_recorded_steps(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    run(session, name="short", data=rows(), max_steps=1)
    assert run(session, from_run="short", epochs=1).planned_steps == 4


def test_rows_that_changed_since_are_told(tiny_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    session = loaded(tiny_folder)
    run(session, name="first", data=str(file), max_steps=1)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(39)))
    said: list[str] = []
    run(session, said, from_run="first")
    assert any("changed since" in line for line in said)
    file.unlink()
    with pytest.raises(LoraError, match=r"/sums\.j"):
        run(session, from_run="first")


def test_without_a_model_the_line_that_loads_the_run_s_is_named(tiny_folder: Path) -> None:
    run(loaded(tiny_folder, bits=8), name="first", data=rows(), max_steps=1)
    with pytest.raises(LoraError) as caught:
        run(Session(), from_run="first")
    assert caught.value.remedy.endswith(f"%lora_load {tiny_folder} --bits 8")
    said: list[str] = []
    run(loaded(tiny_folder, bits=16), said, from_run="first", max_steps=1)
    assert any("--bits 8; this is" in line for line in said)


def test_an_unknown_run_is_answered_with_the_nearest(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    run(session, name="support", data=rows(), max_steps=1)
    with pytest.raises(LoraError, match='no run "suport"') as caught:
        run(session, from_run="suport")
    assert "support" in caught.value.remedy


@pytest.mark.parametrize(
    ("family", "options"),
    [("llama", {}), ("llama", {"method": "dora"}), ("llama", {"method": "rslora"}), ("qwen2", {"bias": "all"}),
     ("qwen2", {"bias": "lora_only"})],
)  # fmt: skip
def test_training_goes_on_from_exactly_where_the_adapter_stood(
    tmp_path: Path, family: str, options: dict[str, Any]
) -> None:
    write_model(tmp_path / "base", family=family)
    session = loaded(tmp_path / "base")
    first = run(session, name="first", data=rows(), max_steps=4, lr=2e-2, rank=4, target="attention", **options)
    row = [5, 6, 7, 8, 9]
    stood = session.base.logits(row)
    fresh = loaded(tmp_path / "base")
    more = run(fresh, name="more", data=rows(), max_steps=2, continue_from="first", lr=1e-2)
    assert more.eval_losses[0][1] == pytest.approx(first.eval_losses[-1][1], abs=1e-5)
    assert recorded(more)["rank"] == 4 and recorded(more)["method"] == options.get("method", "lora")
    assert adapter_weights(more).keys() == adapter_weights(first).keys()
    assert not torch.equal(fresh.base.logits(row), stood)
    fresh.use(UseConfig("base"))
    assert torch.equal(fresh.base.logits(row), loaded(tmp_path / "base").base.logits(row))


def test_by_itself_it_goes_on_from_the_run_of_from_or_the_adapter_of_that_name(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    first = run(session, name="first", data=rows(), max_steps=3, lr=2e-2)
    for options in ({"from_run": "first", "continue_from": ""}, {"name": "first", "data": rows(), "continue_from": ""}):
        more = run(session, max_steps=1, lr=1e-9, **options)
        first_loss = first.eval_losses[-1][1]
        assert more.eval_losses[0][1] == pytest.approx(first_loss, abs=1e-5)


def test_what_would_change_the_adapter_s_shape_is_refused(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    run(session, name="first", data=rows(), max_steps=1, rank=4)
    for option, value in (("rank", 8), ("method", "dora"), ("alpha", 3.0), ("target", "q_proj")):
        with pytest.raises(LoraError, match=f"{option} cannot be {value}"):
            run(session, name="more", data=rows(), max_steps=1, continue_from="first", **{option: value})
    run(session, name="same", data=rows(), max_steps=1, continue_from="first", rank=4, target="all-linear")
    assert list(session.adapters) == ["first", "same"]


def test_an_adapter_that_does_not_fit_is_refused_and_nothing_changes(tiny_folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "deeper", layers=3)
    deeper = run(loaded(tmp_path / "deeper"), name="deeper", data=rows(), max_steps=1)
    session = loaded(tiny_folder)
    bare = session.base.logits([5, 6, 7])
    with pytest.raises(LoraError, match="does not fit this base"):
        run(session, name="more", data=rows(), max_steps=1, continue_from=str(deeper.adapter_path))
    assert torch.equal(session.base.logits([5, 6, 7]), bare) and not session.adapters
    (deeper.adapter_path / "adapter_model.safetensors").rename(deeper.adapter_path / "adapter_model.bin")
    with pytest.raises(LoraError, match="pickle"):
        run(session, name="more", data=rows(), max_steps=1, continue_from=str(deeper.adapter_path))


def test_dropout_is_the_adapter_s_unless_another_is_asked_for(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    run(session, name="first", data=rows(), max_steps=1, dropout=0.5)

    def dropout(result: Any) -> tuple[float, float]:
        saved = json.loads((result.adapter_path / "adapter_config.json").read_text())
        return recorded(result)["dropout"], saved["lora_dropout"]

    settings: dict[str, Any] = {"data": rows(), "max_steps": 2, "continue_from": "first", "lr": 2e-2}
    kept = run(session, name="kept", **settings)
    without = run(session, name="without", dropout=0, **settings)
    assert (dropout(kept), dropout(without)) == ((0.5, 0.5), (0.0, 0.0))
    assert kept.losses[0] != without.losses[0]


def test_a_preset_leaves_the_shape_of_an_adapter_that_is_trained_further(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    run(session, name="first", data=rows(), max_steps=1)
    more = run(session, name="more", data=rows(), max_steps=1, continue_from="first", preset="quality")
    kept = recorded(more)
    assert (kept["rank"], kept["method"], kept["alpha"], kept["lr"]) == (8, "lora", 16.0, 1e-4)
    fresh = recorded(run(session, name="fresh", from_run="more", rank=4, max_steps=1))
    assert (fresh["rank"], fresh["alpha"]) == (4, 8.0)


def test_layers_asked_for_are_held_against_those_of_the_adapter(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    for name, target, other in (("narrow", "attention", "all-linear"), ("wide", "all-linear", "attention")):
        run(session, name=name, data=rows(), max_steps=1, target=target)
        run(session, name="more", data=rows(), max_steps=1, continue_from=name, target=target)
        with pytest.raises(LoraError, match=f"target cannot be {other}"):
            run(session, name="more", data=rows(), max_steps=1, continue_from=name, target=other)


def test_settings_of_a_run_give_way_to_the_adapter_that_is_trained_further(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    run(session, name="small", data=rows(), max_steps=1, rank=4)
    run(session, name="large", data=rows(), max_steps=1, rank=16)
    more = run(session, name="more", from_run="small", continue_from="large")
    assert (recorded(more)["rank"], recorded(more)["alpha"]) == (16, 32.0)


def test_a_repeated_run_is_repeated_like_the_first(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    run(session, name="first", data=rows(), max_steps=1)
    run(session, name="again", from_run="first")
    wider = recorded(run(session, name="wider", from_run="again", rank=32))
    assert (wider["rank"], wider["alpha"]) == (32, 64.0)
    better = recorded(run(session, name="better", from_run="again", preset="quality"))
    assert (better["rank"], better["method"]) == (32, "rslora")


def test_own_defaults_do_not_stand_in_for_what_a_run_left_open(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = loaded(tiny_folder)
    first = run(session, name="first", data=rows(), epochs=1)
    monkeypatch.setattr(defaults, "_own", {"TrainConfig": {"max_steps": 2, "system": "Be brief.", "micro_batch": 2}})
    again = run(session, name="again", from_run="first")
    assert again.losses == first.losses
    assert recorded(again)["system"] is None and recorded(again)["micro_batch"] is None


def test_rows_longer_than_the_model_was_loaded_for_are_told(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    longest = session.base.facts.max_length
    for asked, told in ((longest, False), (longest + 1, True)):
        result = run(session, name="long", data=rows(), max_steps=1, max_length=asked)
        assert any(f"{longest} tokens, not {asked}" in note for note in result.notes) is told


@pytest.mark.parametrize("kind", ["file", "path", "variable", "object"])
def test_held_out_rows_of_one_s_own_come_back(tiny_folder: Path, tmp_path: Path, kind: str) -> None:
    file, own = tmp_path / "own.jsonl", rows(50)[40:]
    file.write_text("".join(json.dumps(row) + "\n" for row in own))
    given: Any = {"file": str(file), "path": file, "variable": "own", "object": own}[kind]
    variables: dict[str, object] = {"own": own} if kind == "variable" else {}
    session = loaded(tiny_folder)
    first = run(session, name="first", data=rows(), eval_data=given, variables=variables, max_steps=1)
    run(session, name="again", from_run="first")
    said: list[str] = []
    last = run(session, said, name="last", from_run="again")
    assert last.eval_losses == first.eval_losses and last.losses == first.losses
    assert not any("changed since" in line for line in said)


def test_held_out_rows_that_were_not_kept_are_asked_for(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    first = run(session, name="first", data=rows(), eval_data=rows(3), max_steps=1)
    (first.run_dir / "eval_data.jsonl").unlink()
    with pytest.raises(LoraError, match="did not keep its held-out rows") as caught:
        run(session, from_run="first")
    assert "--eval-data" in caught.value.remedy
    assert run(session, from_run="first", eval_data=rows(3)).eval_losses == first.eval_losses
