"""Adapters and bases that others made, with what is odd about them: merged as they mean it, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_magic.config import MergeConfig
from lora_magic.demo import MODEL_DIR
from lora_magic.errors import LoraError
from lora_magic.merging import Settings, find_originals, merge, read_adapter
from tests.merging.test_faults import one_line, settings_of
from tests.merging.test_request import asked

State = dict[str, torch.Tensor]


def weights_of(adapter: Path, change: Callable[[State], State]) -> None:
    """Write a saved adapter's weights anew."""
    path = adapter / "adapter_model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}, path)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": r".*\.(q_proj|down_proj)"},
        {"target_modules": "all-linear"},
        {"layers_to_transform": [1]},
        {"exclude_modules": ["down_proj"]},
        {"rank_pattern": {"^model.layers.1.self_attn.q_proj": 7}},
    ],
)
def test_settings_that_plain_peft_takes(
    shop: Any, tmp_path: Path, probes: list[list[int]], settings: dict[str, Any]
) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base, **settings)
    result = merge(adapter, str(base), tmp_path / "out", Settings("float32"), probes=probes)
    assert result.max_logit_difference is not None and result.max_logit_difference < 1e-4
    theirs, ours = shop.merged_by_peft(base, adapter), load_file(tmp_path / "out" / "model.safetensors")
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-6


def test_an_adapter_of_a_base_with_fewer_layers_is_refused(shop: Any, tmp_path: Path, probes: list[list[int]]) -> None:
    adapter = shop.adapter(shop.base("llama"))
    weights_of(adapter, lambda state: {name: value for name, value in state.items() if ".layers.0." in name})
    with pytest.raises(LoraError, match=r"has no model\.layers\.1\.\S+, which its settings ask for") as caught:
        merge(adapter, str(shop.base("llama")), tmp_path / "out", probes=probes)
    one_line(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_the_settings_of_a_newer_peft_say_is_noted(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    settings_of(adapter, brand_new=None, other_new={"a": 1}, peft_version="9.1.0")
    assert read_adapter(adapter).unknown == ("other_new",)
    result = merge(adapter, str(base), tmp_path / "out")
    told = [note for note in result.notes if "other_new" in note]
    assert len(told) == 1 and "brand_new" not in told[0] and "9.1.0" in told[0]


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a kind that no peft has": (lambda path: settings_of(path, peft_type="NEWKIND"), "peft_type NEWKIND, which peft"),
    "no kind": (lambda path: settings_of(path, peft_type=None), "does not say its peft_type"),
    "names of a model's own state": (
        lambda path: weights_of(path, lambda state: {n.replace(".wei", ".default.wei"): t for n, t in state.items()}),
        r"lora_A\.default\.weight, which is no name that peft gives",
    ),
    "whole numbers": (
        lambda path: weights_of(path, lambda state: {name: value.to(torch.int8) for name, value in state.items()}),
        r"lora_A\.weight in I8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_adapters_that_are_none(shop: Any, tmp_path: Path, fault: str) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    damage, words = BAD[fault]
    damage(adapter)
    with pytest.raises(LoraError, match=words) as caught:
        merge(adapter, str(base), tmp_path / "out")
    one_line(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_that_the_index_leaves_out_is_read_all_the_same(shop: Any, tmp_path: Path) -> None:
    """As transformers reads it; without it the merged model would lack a weight."""
    base = shop.base("llama", shard="40KB")
    adapter, broken = shop.adapter(base), shop.copy(base)
    left_out = "model.layers.1.mlp.down_proj.weight"
    index = json.loads((broken / "model.safetensors.index.json").read_text())
    del index["weight_map"][left_out]
    (broken / "model.safetensors.index.json").write_text(json.dumps(index))
    assert find_originals(str(broken)).weights.keys() == find_originals(str(base)).weights.keys()
    merge(adapter, str(broken), tmp_path / "out")
    assert left_out in load_file(tmp_path / "out" / "model.safetensors")


def test_a_tensor_that_lies_in_two_files_is_read_where_the_index_says(shop: Any) -> None:
    base = shop.copy(shop.base("llama", shard="40KB"))
    places = json.loads((base / "model.safetensors.index.json").read_text())["weight_map"]
    name = "model.norm.weight"
    other = next(file for file in sorted(set(places.values()), reverse=True) if file != places[name])
    save_file({**load_file(base / other), name: torch.zeros(64)}, base / other)
    assert find_originals(str(base)).weights[name].file.name == places[name]


def test_the_embedded_model_is_a_base_by_its_name(shop: Any, tmp_path: Path) -> None:
    adapter = shop.adapter(MODEL_DIR, target_modules=["q_proj"])
    settings_of(adapter, base_model_name_or_path="x/y")
    result = asked(adapter, tmp_path / "out", base="demo")
    assert result.base == str(MODEL_DIR)


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ({"base_model_name_or_path": None}, "does not say which base"),
        ({"base_model_name_or_path": "/gone/away"}, "/gone/away"),
    ],
)
def test_a_base_that_is_not_known(shop: Any, tmp_path: Path, recorded: dict[str, Any], told: str) -> None:
    adapter = shop.adapter(shop.base("llama"))
    settings_of(adapter, **recorded)
    with pytest.raises(LoraError, match=told) as caught:
        asked(adapter, tmp_path / "out")
    assert "--base" in caught.value.remedy and '""' not in caught.value.problem


def test_settings_that_are_no_object_are_said_to_be_none(shop: Any, tmp_path: Path) -> None:
    adapter = shop.adapter(shop.base("llama"))
    (adapter / "adapter_config.json").write_text("[1]")
    with pytest.raises(LoraError, match="holds no JSON object"):
        asked(adapter, tmp_path / "out")


def test_a_base_that_is_a_file_is_said_to_be_one(shop: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.touch()
    with pytest.raises(LoraError, match="is a file, not a model's folder"):
        merge(shop.adapter(shop.base("llama")), str(file), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("options", [{"name": "", "out": "x"}, {"name": "x", "out": " "}])
def test_an_empty_name_is_no_folder(options: dict[str, str]) -> None:
    with pytest.raises(LoraError, match="is empty"):
        MergeConfig(**options)


def test_a_network_that_was_never_there_leaves_nothing(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def away(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", away)
    with pytest.raises(LoraError, match="someone/model cannot be reached"):
        merge(shop.adapter(shop.base("llama")), "someone/model", tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "results.json", "adapter_model.safetensors", "mine/rows.jsonl"])
def test_what_no_merge_wrote_is_not_overwritten(shop: Any, tmp_path: Path, name: str) -> None:
    base, out = shop.base("llama", shard="40KB"), tmp_path / "out"
    adapter = shop.adapter(base)
    merge(adapter, str(base), out, Settings(shard_size=60_000))
    merge(adapter, str(base), out, Settings(overwrite=True))
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(LoraError, match=f"holds {name.partition('/')[0]}, which no merge wrote"):
        merge(adapter, str(base), out, Settings(overwrite=True))
    assert (out / name).read_text() == "mine"


def test_a_name_that_no_disk_takes(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    with pytest.raises(LoraError, match="The name is too long for this disk") as caught:
        merge(shop.adapter(base), str(base), tmp_path / ("n" * 300))
    one_line(caught.value)
    with pytest.raises(LoraError, match="The name is too long for this disk"):
        asked(shop.adapter(base), tmp_path / "out", base="n" * 300)


def test_a_single_file_beside_an_old_index_is_the_one_that_transformers_reads(shop: Any, tmp_path: Path) -> None:
    base = shop.copy(shop.base("llama", shard="40KB"))
    other = {name: value + 1 for name, value in shop.load(base).state_dict().items()}
    save_file(other, base / "model.safetensors", {"format": "pt"})
    adapter = shop.adapter(shop.base("llama"), target_modules=["q_proj"])
    merge(adapter, str(base), tmp_path / "out", Settings("float32"))
    written = load_file(tmp_path / "out" / "model.safetensors")
    read = shop.load(base).state_dict()
    assert torch.equal(written["model.norm.weight"], other["model.norm.weight"])
    assert torch.equal(read["model.norm.weight"], other["model.norm.weight"])
