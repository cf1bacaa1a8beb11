"""Every bad input is one line, and leaves nothing behind."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.errors import LoraError
from lora_magic.merging import Settings, find_originals, merge, read_adapter


def settings_of(adapter: Path, **changes: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def one_line(error: LoraError) -> None:
    assert error.problem and "\n" not in str(error)


def test_output_that_exists(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    out = tmp_path / "out"
    merge(adapter, str(base), out)
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(LoraError, match="exists and is not empty") as caught:
        merge(adapter, str(base), out, Settings(dtype="float32"))
    one_line(caught.value)
    assert (out / "model.safetensors").read_bytes() == before
    merge(adapter, str(base), out, Settings(dtype="float32", overwrite=True))
    assert (out / "model.safetensors").stat().st_size > len(before)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_output_inside_or_around_an_input(shop: Any) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    for out in (base / "out", adapter / "deep" / "out", adapter, base):
        with pytest.raises(LoraError, match="lies in the"):
            merge(adapter, str(base), out, Settings(overwrite=True))
    with pytest.raises(LoraError, match="holds the"):
        merge(adapter, str(base), base.parent, Settings(overwrite=True))
    link = shop.root / "link"
    link.symlink_to(base)
    with pytest.raises(LoraError, match="lies in the base's folder"):
        merge(adapter, str(base), link / "out")
    assert not (base / "out").exists()


@pytest.mark.parametrize(("dtype", "hint"), [("float61", "float16"), ("bf16", "bfloat16"), ("q4_k_m", "Choose one")])
def test_wrong_dtype(shop: Any, tmp_path: Path, dtype: str, hint: str) -> None:
    base = shop.base("llama")
    with pytest.raises(LoraError, match=dtype) as caught:
        merge(shop.root / "none", str(base), tmp_path / "out", Settings(dtype=dtype))
    assert hint in caught.value.remedy


def damaged_nan(adapter: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    state = load_file(adapter / "adapter_model.safetensors")
    next(iter(state.values()))[0, 0] = torch.nan
    save_file(state, adapter / "adapter_model.safetensors")


def damaged_cut(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def damaged_pickle(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


def damaged_part(adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(adapter / "adapter_model.safetensors")
    state.pop(next(name for name in state if "lora_B" in name))
    save_file(state, adapter / "adapter_model.safetensors")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nan": (damaged_nan, "holds NaN or infinity in base_model"),
    "cut": (damaged_cut, "cut short or damaged"),
    "pickle": (damaged_pickle, r"adapter_model\.bin is a pickle"),
    "part": (damaged_part, "only a part of"),
    "no weights": (
        lambda path: (path / "adapter_model.safetensors").unlink(),
        r"has no adapter_model\.safetensors",
    ),
    "no settings": (lambda path: (path / "adapter_config.json").unlink(), r"has no adapter_config\.json"),
    "no json": (lambda path: (path / "adapter_config.json").write_text("{"), "cannot be read as JSON"),
    "a list": (lambda path: (path / "adapter_config.json").write_text("[]"), "holds no JSON object"),
    "no folder": (shutil.rmtree, "There is no adapter folder"),
    "kind": (lambda path: settings_of(path, peft_type="PREFIX_TUNING"), "PREFIX_TUNING, which has no merged form"),
    "another kind's weights": (lambda path: settings_of(path, peft_type="LOHA"), "which its settings ask for"),
    "variant": (lambda path: settings_of(path, kasa_config={"rank": 2}), "uses kasa_config"),
    "start": (lambda path: settings_of(path, init_lora_weights="olora"), "init_lora_weights=olora"),
    "rank": (lambda path: settings_of(path, r=5), "says rank 5"),
    "no rank": (lambda path: settings_of(path, r=None), "is not usable"),
    "pattern": (lambda path: settings_of(path, rank_pattern={"(": 3}), "is not usable"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_adapter(shop: Any, tmp_path: Path, fault: str) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    damage, words = FAULTS[fault]
    damage(adapter)
    with pytest.raises(LoraError, match=words) as caught:
        merge(adapter, str(base), tmp_path / "out")
    one_line(caught.value)
    assert caught.value.remedy and list(tmp_path.iterdir()) == []


class Bomb:
    """What runs when it is unpickled leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_pickles_beside_the_weights_are_never_opened(shop: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    base, adapter = shop.copy(shop.base("llama")), shop.copy(shop.adapter(shop.base("llama")))
    pickles = [base / "pytorch_model.bin", adapter / "adapter_model.bin", adapter / "training_args.bin"]
    for path in pickles:
        path.write_bytes(pickle.dumps(Bomb(mark)))
    merge(adapter, str(base), tmp_path / "out", probes=[[1, 2, 3]])
    assert not list((tmp_path / "out").glob("*.bin"))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(LoraError, match=r"adapter_model\.bin is a pickle"):
        merge(adapter, str(base), tmp_path / "again")
    assert not mark.exists()
    pickle.loads(pickles[0].read_bytes())
    assert mark.exists(), "the pickle would have told"


def test_adapter_of_another_base(shop: Any, tmp_path: Path) -> None:
    llama, gpt2 = shop.base("llama"), shop.base("gpt2", tie=True)
    with pytest.raises(LoraError, match=r"has no weight model\.layers\.\d\.self_attn\.q_proj"):
        merge(shop.adapter(llama, target_modules=["q_proj"]), str(gpt2), tmp_path / "out")
    wide = shop.copy(llama)
    from safetensors.torch import load_file, save_file

    state = load_file(wide / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    state[name] = state[name][:, :90].contiguous()
    save_file(state, wide / "model.safetensors")
    with pytest.raises(LoraError, match=r"down_proj\.weight is \[64, 90\] in the base and \[64, 96\] in the adapter"):
        merge(shop.adapter(llama), str(wide), tmp_path / "out")
    with pytest.raises(LoraError, match=r"[kq]_proj\.bias"):
        merge(shop.adapter(shop.base("qwen"), bias="all"), str(llama), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_quantised_base_names_the_original(shop: Any) -> None:
    base = shop.copy(shop.base("llama"))
    named = base.rename(base.with_name("tiny-unsloth-bnb-4bit"))
    config = json.loads((named / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (named / "config.json").write_text(json.dumps(config))
    with pytest.raises(LoraError, match=r"quantised \(bitsandbytes\); a merge needs the 16-bit") as caught:
        find_originals(str(named))
    assert caught.value.remedy.endswith("/tiny.")


def test_broken_bases(shop: Any) -> None:
    plain = shop.base("llama")
    cut = shop.copy(plain)
    (cut / "model.safetensors").write_bytes((plain / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(LoraError, match="cut short or damaged"):
        find_originals(str(cut))
    pickle = shop.copy(plain)
    (pickle / "model.safetensors").rename(pickle / "pytorch_model.bin")
    with pytest.raises(LoraError, match=r"pytorch_model\.bin, a pickle"):
        find_originals(str(pickle))
    sharded = shop.copy(shop.base("llama", shard="40KB"))
    sorted(sharded.glob("*.safetensors"))[1].unlink()
    with pytest.raises(LoraError, match="which its index names"):
        find_originals(str(sharded))
    index = sharded / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../a.safetensors"}}))
    with pytest.raises(LoraError, match="outside its folder"):
        find_originals(str(sharded))
    with pytest.raises(LoraError, match=r"has no config\.json"):
        find_originals(str(plain.parent))
    with pytest.raises(LoraError, match="There is no folder"):
        find_originals(str(plain / "nowhere"))


def test_hub_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def offline(*args: Any, **rest: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("nothing cached")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(LoraError, match="cannot be reached on the Hub and is not in the cache") as caught:
        find_originals("someone/model", revision="v1")
    assert "someone/model@v1" in caught.value.problem and "network" in caught.value.remedy


def test_hub_fetches_small_files_first(monkeypatch: pytest.MonkeyPatch, shop: Any) -> None:
    import huggingface_hub

    base = shop.base("llama", shard="40KB")
    asked: list[tuple[str, str | None, list[str]]] = []

    def cached(name: str, *, revision: str | None, allow_patterns: list[str], token: object) -> str:
        assert token is False  # a public model asks for no token
        asked.append((name, revision, allow_patterns))
        return str(base)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    found = find_originals("someone/model", revision="v1")
    assert found.source == "someone/model" and len(found.weights) == 21
    assert not any(pattern.endswith(".safetensors") for pattern in asked[0][2])
    assert "model-00001-of-" in "".join(asked[1][2]) and {call[1] for call in asked} == {"v1"}


def test_a_download_that_does_not_fit(monkeypatch: pytest.MonkeyPatch, shop: Any) -> None:
    base = shop.base("llama")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(base))
    monkeypatch.setattr("lora_magic.merging.originals.download_bytes", lambda *_: 2**60)
    with pytest.raises(LoraError, match=r"someone/model takes .* to fetch and .* is free in") as caught:
        find_originals("someone/model")
    assert "--low-disk" in caught.value.remedy


def test_overflow_is_an_error_that_leaves_nothing(shop: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base = shop.copy(shop.base("llama"))
    state = load_file(base / "model.safetensors")
    state["model.norm.weight"][3] = 1e5
    save_file(state, base / "model.safetensors")
    adapter = shop.adapter(shop.base("llama"))
    with pytest.raises(LoraError, match=r"model\.norm\.weight holds 1e\+05, which overflows float16"):
        merge(adapter, str(base), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    merge(adapter, str(base), tmp_path / "out", Settings(dtype="bfloat16"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_base_that_is_broken_where_the_adapter_changes_it(shop: Any, tmp_path: Path, value: float) -> None:
    from safetensors.torch import load_file, save_file

    adapter = shop.adapter(shop.base("llama"), target_modules=["q_proj"])
    name = "model.layers.1.self_attn.q_proj.weight"
    broken = shop.copy(shop.base("llama"))
    state = load_file(broken / "model.safetensors")
    state[name][2, 5] = value
    save_file(state, broken / "model.safetensors")
    with pytest.raises(LoraError, match=rf"Merging makes NaN or infinity in {name}") as caught:
        merge(adapter, str(broken), tmp_path / "out")
    one_line(caught.value)
    assert list(tmp_path.iterdir()) == []
    untouched = shop.adapter(shop.base("llama"), target_modules=["k_proj"])
    merge(untouched, str(broken), tmp_path / "out", Settings("float32"))
    written = load_file(tmp_path / "out" / "model.safetensors")[name]
    assert torch.equal(written.nan_to_num(1e9), state[name].nan_to_num(1e9)), "what no adapter changes stays"


def test_links_out_of_a_folder(shop: Any, tmp_path: Path) -> None:
    base, adapter = shop.base("llama"), shop.adapter(shop.base("llama"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def moved(folder: Path, file: str) -> Path:
        copy: Path = shop.copy(folder)
        target = (copy / file).rename(elsewhere / f"{copy.name}-{file}")
        (copy / file).symlink_to(target)
        return copy

    cases = [
        (moved(adapter, "adapter_model.safetensors"), base),
        (adapter, moved(base, "model.safetensors")),
        (adapter, moved(base, "tokenizer.json")),
    ]
    for number, (one, other) in enumerate(cases):
        with pytest.raises(LoraError, match="is a link out of its folder") as caught:
            merge(one, str(other), tmp_path / f"out-{number}")
        one_line(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_the_hubs_cache_links_to_its_own_blobs(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    snapshot = tmp_path / "models--x--y" / "snapshots" / "c0ffee"
    blobs = tmp_path / "models--x--y" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in base.iterdir():
        shutil.copy(path, blobs / f"blob-{path.name}")
        (snapshot / path.name).symlink_to(blobs / f"blob-{path.name}")
    merge(shop.adapter(base), str(snapshot), tmp_path / "out")
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


def test_adapter_settings_are_read(shop: Any) -> None:
    adapter = read_adapter(shop.adapter(shop.base("llama"), use_rslora=True, use_dora=True, rank_pattern={"q_proj": 2}))
    assert adapter.method == "rsDoRA" and adapter.rank == 4 and adapter.alpha == 8
    assert adapter.rank_of("model.layers.0.self_attn.q_proj") == 2
    assert adapter.scaling("model.layers.0.self_attn.q_proj") == pytest.approx(8 / 2**0.5)
    assert adapter.scaling("model.layers.0.mlp.down_proj") == pytest.approx(8 / 4**0.5)
