"""Every bad input and broken disk is one line, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_magic import files
from lora_magic.errors import LoraError
from lora_magic.merging import Settings, find_originals, merge, outlook, read_adapter


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


def test_no_space_is_known_before(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda path: 10_000_000)
    base = shop.base("llama")
    with pytest.raises(LoraError, match=r"The merged model needs 64\.\d MiB and 9\.5 MiB is free"):
        merge(shop.adapter(base), str(base), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 100 KB, where the machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("mount"):
        pytest.skip("no mount command")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)], check=False, stderr=-3)
    if mounted.returncode:
        pytest.skip("mounting needs privileges")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up(shop: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["lora_magic.merging.merge"]
    monkeypatch.setattr(module, "require_room", lambda *rest: None)
    base = shop.base("llama")
    with pytest.raises(LoraError, match="No space is left") as caught:
        merge(shop.adapter(base), str(base), small_disk / "deep" / "out")
    one_line(caught.value)
    assert list(small_disk.iterdir()) == []


def test_a_limit_on_file_size(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    script = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        from lora_magic.errors import LoraError
        from lora_magic.merging import merge
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            merge(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
        except LoraError as error:
            print(error.problem)
    """)
    arguments = [str(shop.adapter(base)), str(base), str(tmp_path / "out")]
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert "does not allow files as large as" in run.stdout and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", [0, 7, -3, -1])
@pytest.mark.parametrize("old", [False, True])
def test_interrupt_leaves_what_was_there(
    shop: Any, tmp_path: Path, probes: list[list[int]], step: int, old: bool
) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    seen: list[str] = []
    merge(adapter, str(base), tmp_path / "count", probes=probes, progress=lambda share, what: seen.append(what))
    shutil.rmtree(tmp_path / "count")
    out = tmp_path / "new" / "out"
    if old:
        out.mkdir(parents=True)
        (out / "config.json").write_text("{}")
    calls: list[str] = []

    def interrupt(share: float, what: str) -> None:
        calls.append(what)
        if len(calls) == step % len(seen) + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(adapter, str(base), out, Settings(overwrite=old), probes=probes, progress=interrupt)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == (["new", "new/out", "new/out/config.json"] if old else [])


def test_killed_merge_leaves_no_output(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from lora_magic.merging import merge
        def kill(share, what):
            if share > 0.3:
                os.kill(os.getpid(), signal.SIGKILL)
        merge(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), progress=kill)
    """)
    adapter = shop.adapter(base)
    arguments = [str(adapter), str(base), str(tmp_path / "out")]
    run = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
    assert run.returncode == -9 and not (tmp_path / "out").exists()
    merge(adapter, str(base), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_links_out_of_a_folder(shop: Any, tmp_path: Path) -> None:
    base, adapter = shop.base("llama"), shop.adapter(shop.base("llama"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def moved(folder: Path, file: str) -> Path:
        copy = shop.copy(folder)
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


def test_permission_is_asked_for_before(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(LoraError, match="Permission is missing to write in"):
        merge(shop.adapter(shop.base("llama")), str(shop.base("llama")), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_outlook_says_what_merging_will_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, free = 3_000_000_000, 9 * 2**30
    monkeypatch.setattr(sys.modules["lora_magic.merging.outlook"], "free_bytes", lambda path: free)
    here = outlook("x/y", parameters, on_disk=True, folder=tmp_path)
    assert here == "merging will need the 16-bit original, which is here, and 5.6 GiB to write; 9.0 GiB is free"
    fetched = outlook("unsloth/y-bnb-4bit", parameters, on_disk=False, folder=tmp_path)
    assert "the 16-bit original unsloth/y: 5.6 GiB to fetch and 5.6 GiB to write" in fetched
    assert "enough with --low-disk" in fetched
    free = 2**30
    assert outlook("x/y", parameters, on_disk=True, folder=tmp_path).endswith("4.6 GiB too little")
    assert "no 16-bit original is known" in outlook("x/y", parameters, on_disk=False, folder=tmp_path)


def test_adapter_settings_are_read(shop: Any) -> None:
    adapter = read_adapter(shop.adapter(shop.base("llama"), use_rslora=True, use_dora=True, rank_pattern={"q_proj": 2}))
    assert adapter.method == "rsDoRA" and adapter.rank == 4 and adapter.alpha == 8
    assert adapter.rank_of("model.layers.0.self_attn.q_proj") == 2
    assert adapter.scaling("model.layers.0.self_attn.q_proj") == pytest.approx(8 / 2**0.5)
    assert adapter.scaling("model.layers.0.mlp.down_proj") == pytest.approx(8 / 4**0.5)
