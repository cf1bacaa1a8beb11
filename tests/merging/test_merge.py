"""The merge as a whole: what it writes, what it measures, what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_magic.errors import LoraError
from lora_magic.merging import LogitSource, Settings, find_originals, merge, skeleton, stream, updates
from lora_magic.results import RunSummary


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_folder_loads_by_itself_and_says_what_the_adapter_says(
    shop: Any,
    probes: list[list[int]],
    tmp_path: Path,
    dtype: str,
    read_folder: Callable[[Path], dict[str, Any]],
) -> None:
    base = shop.base("qwen", dtype="bfloat16")
    adapter = shop.adapter(base, bias="lora_only")
    steps: list[tuple[float, str]] = []
    result = merge(
        adapter, str(base), tmp_path / "out", Settings(dtype, shard_size=60_000), probes=probes, name="support",
        progress=lambda share, what: steps.append((share, what)),
    )  # fmt: skip
    bound = {"float16": 0.02, "bfloat16": 0.2, "float32": 1e-4}[dtype]
    assert result.max_logit_difference is not None and result.max_logit_difference < 1e-4
    assert result.stored is not None and result.stored.largest < bound
    assert result.trained is None and result.probes == len(probes)
    assert result.merged_tensors == 2 * 2 + 2 and result.adapter == "support" and result.base == str(base)
    written = read_folder(tmp_path / "out")
    assert {str(tensor.dtype) for tensor in written.values()} == {f"torch.{dtype}"}
    files = list((tmp_path / "out").glob("*.safetensors"))
    assert result.bytes_written == sum(file.stat().st_size for file in files) and len(files) > 1
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == written.keys()
    shares = [share for share, _ in steps]
    assert shares == sorted(shares) and shares[-1] == 1.0
    theirs = shop.logits(shop.adapted(base, adapter), probes[0])
    ours = shop.logits(shop.load(tmp_path / "out"), probes[0])
    assert float((ours - theirs).abs().max()) < bound


def test_companions(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base, use_dora=True)
    (adapter / "chat_template.jinja").write_text("{{ tuned }}")
    base = shop.copy(base)
    (base / "LICENSE").write_text("as is")
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    result = merge(adapter, str(base), tmp_path / "out", Settings(dtype="bfloat16"), name="support")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "bfloat16" and "quantization_config" not in config
    assert (tmp_path / "out" / "tokenizer.json").read_text() == (base / "tokenizer.json").read_text()
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "{{ tuned }}"
    assert (tmp_path / "out" / "generation_config.json").exists()
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "support (DoRA)" in card and "| Rank | 4 |" in card and "not measured" in card
    assert str(base.parent) not in card
    assert (tmp_path / "out" / "additional_chat_templates" / "tools.jinja").exists()
    merge(adapter, str(base), tmp_path / "out", Settings(overwrite=True))
    assert (tmp_path / "out" / "LICENSE").read_text() == "as is"
    assert result.max_logit_difference is None and any("no probe prompts" in note for note in result.notes)


def test_card_tells_of_the_run(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    losses = tuple((step, 3.0 - step / 100) for step in range(1, 101))
    config = {"data": "a|b.jsonl", "rank": 4, "content_hash": "beef" * 4, "system": None}
    run = RunSummary("support", tmp_path, config=config, losses=losses, eval_losses=((0, 2.9), (100, 1.25)))
    merge(shop.adapter(base), str(base), tmp_path / "out", run=run)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Hash of the data: `beefbeefbeefbeef`" in card and "| data | a\\|b.jsonl |" in card
    assert "| 1 | 2.9900 |" in card and "| 100 | 2.0000 |" in card and "| 100 | 1.2500 |" in card
    assert len([line for line in card.splitlines() if line.count("|") == 3]) < 40 and "system" not in card


def test_older_configs_keep_their_key(shop: Any, tmp_path: Path) -> None:
    base = shop.copy(shop.base("llama"))
    config = json.loads((base / "config.json").read_text())
    config["torch_dtype"] = config.pop("dtype")
    (base / "config.json").write_text(json.dumps(config))
    merge(shop.adapter(base), str(base), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["torch_dtype"] == "float16" and "dtype" not in written


def test_against_the_base_as_trained(shop: Any, probes: list[list[int]], tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    coarse, coarse_base = shop.adapted(base, adapter), shop.load(base)
    for model in (coarse, coarse_base):
        for name, parameter in model.named_parameters():
            if "proj" in name and "lora" not in name:
                parameter.data = (parameter.data * 20).round() / 20
    source = LogitSource(lambda prompt: shop.logits(coarse, prompt), lambda prompt: shop.logits(coarse_base, prompt))
    result = merge(adapter, str(base), tmp_path / "out", probes=probes, trained=source)
    assert result.quantisation is not None and result.quantisation.largest > 1e-3
    assert result.trained is not None and result.trained.largest > 1e-3
    assert 0.3 < result.trained.same_top <= 1 and result.trained.kl > 0
    assert "Same top token" in (tmp_path / "out" / "README.md").read_text()


def test_a_wrong_merge_is_not_put_in_place(
    shop: Any, probes: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    real = updates.apply_factors

    def wrong(weight: Any, a: Any, b: Any, scaling: float, **rest: Any) -> Any:
        return real(weight, a, b, scaling * 1.5, **rest)

    monkeypatch.setattr(stream, "apply_factors", wrong)
    with pytest.raises(LoraError, match=r"not put in place: its logits differ .* by .* \(tolerance 0\.001\)"):
        merge(adapter, str(base), tmp_path / "out", probes=probes)
    assert list(tmp_path.iterdir()) == [] and (adapter / "adapter_model.safetensors").exists()


def test_too_little_memory_is_said(
    shop: Any, probes: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    class Memory:
        available = 513 * 2**20

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    base = shop.base("llama")
    adapter = shop.adapter(base)
    monkeypatch.setattr("lora_magic.merging.verify.TABLE_BYTES", 256 * 2**20)
    result = merge(adapter, str(base), tmp_path / "out", probes=probes)
    assert result.max_logit_difference is None and result.probes == 0
    assert any("memory" in note and "513 MiB is free" in note for note in result.notes)
    Memory.available = 1000
    with pytest.raises(LoraError, match="Merging needs 512 MiB of memory and 1000 bytes is free"):
        merge(adapter, str(base), tmp_path / "other", probes=probes)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_another_name_of_the_base_is_noted(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    config = json.loads((adapter / "adapter_config.json").read_text())
    for name, noted in ((f"x/{base.name}-unsloth-bnb-4bit", False), ("x/other", True)):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": name}))
        result = merge(adapter, str(base), tmp_path / "out", Settings(overwrite=True))
        assert any(f"trained on {name}" in note for note in result.notes) is noted


def test_memory_while_writing_is_that_of_a_tensor(shop: Any, tmp_path: Path) -> None:
    """No tensor of the stream outlives the next one."""
    from lora_magic.merging import read_adapter
    from lora_magic.merging.updates import plan_merge

    base = shop.base("llama")
    plan = plan_merge(find_originals(str(base)), read_adapter(shop.adapter(base)))
    alive: list[weakref.ref[Any]] = []
    most = 0
    with stream.Maker() as maker:
        for piece in maker.pieces(plan.outputs):
            alive.append(weakref.ref(piece.values))
            del piece
            most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == len(plan.outputs) and most <= 2


# 149 MiB of bfloat16, of which one tensor has 117.
MEMORY = textwrap.dedent("""
    import sys
    from pathlib import Path
    import peft, torch, transformers
    from lora_magic.merging import Settings, merge

    def anonymous():
        text = Path("/proc/self/status").read_text()
        return int(text.split("RssAnon:")[1].split()[0]) * 1024

    start, most = anonymous(), 0
    def look(share, what):
        global most
        most = max(most, anonymous() - start)
    merge(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Settings("float16"), progress=look)
    print(most)
""")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_a_large_tensor_goes_through_in_rows(shop: Any, tmp_path: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=60_000, hidden_size=1_024, intermediate_size=4_096, num_hidden_layers=1, num_attention_heads=16,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, dtype="bfloat16",
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    adapter = shop.adapter(tmp_path / "base", target_modules=["q_proj", "up_proj", "down_proj"])
    command = [sys.executable, "-c", MEMORY, str(adapter), str(tmp_path / "base"), str(tmp_path / "out")]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=surroundings)
    assert int(run.stdout.split()[-1]) < 100 * 2**20 < (tmp_path / "out" / "model.safetensors").stat().st_size


def test_verifying_holds_one_module_and_a_few_rows(
    shop: Any, probes: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No whole embedding or output head is ever read, and no weight of one module while another runs."""
    base = shop.base("llama")
    real, asked = skeleton.Weights.rows, []

    def watched(self: Any, output: Any, rows: Any = None) -> Any:
        if "embed_tokens" in output.name or "lm_head" in output.name:
            assert rows is not None and len(rows) < 96
        made = real(self, output, rows)
        alive.append(weakref.ref(made))
        asked.append(sum(ref().numel() for ref in alive if ref() is not None))  # type: ignore[union-attr]
        return made

    alive: list[weakref.ref[Any]] = []
    monkeypatch.setattr(skeleton, "HEAD_ROWS", 40)
    monkeypatch.setattr(skeleton.Weights, "rows", watched)
    result = merge(shop.adapter(base), str(base), tmp_path / "out", probes=probes)
    assert result.merged is not None and result.stored is not None
    assert len(asked) > 60 and max(asked) <= 2 * 96 * 64


def test_importing_costs_no_torch() -> None:
    script = "import sys, lora_magic.merging; print('torch' in sys.modules, 'peft' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
