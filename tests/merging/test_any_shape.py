"""Any shape, rank, dtype and sharding: our merge against peft's on the same float32 base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lora_magic.merging import Settings, merge, stream

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed_tokens", "lm_head"]

shapes = st.fixed_dictionaries({
    "heads": st.sampled_from([1, 2, 4]), "head_dim": st.sampled_from([4, 8, 10]), "inner": st.integers(3, 40),
    "layers": st.integers(1, 2), "vocabulary": st.integers(5, 50), "tie": st.booleans(),
})  # fmt: skip
adapters = st.fixed_dictionaries({
    "r": st.integers(1, 9), "lora_alpha": st.integers(1, 20), "use_rslora": st.booleans(), "use_dora": st.booleans(),
    "targets": st.lists(st.sampled_from(ALL), min_size=1, max_size=4, unique=True),
})  # fmt: skip


def made_base(folder: Path, shape: dict[str, Any], dtype: torch.dtype, files: int) -> Path:
    """A saved llama of any shape, its tensors dealt to the files in turn."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape["vocabulary"], hidden_size=shape["heads"] * shape["head_dim"],
        num_hidden_layers=shape["layers"],
        intermediate_size=shape["inner"], num_attention_heads=shape["heads"], num_key_value_heads=1,
        tie_word_embeddings=shape["tie"], bos_token_id=1, eos_token_id=2, dtype=str(dtype).removeprefix("torch."),
    )  # fmt: skip
    config.save_pretrained(folder)
    state = LlamaForCausalLM(config).to(dtype).state_dict()
    if shape["tie"]:
        state.pop("lm_head.weight")
    places = {name: f"part-{number % files}.safetensors" for number, name in enumerate(state)}
    for file in set(places.values()):
        save_file({n: t.contiguous() for n, t in state.items() if places[n] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=shapes,
    how=adapters,
    original=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    dtype=st.sampled_from(["float16", "bfloat16", "float32"]),
    files=st.integers(1, 4),
    shard_size=st.sampled_from([500, 5_000, 10**9]),
    piece=st.sampled_from([64, 1_000, 2**23]),
    seed=st.integers(0, 999),
)
def test_equals_peft(
    shop: Any,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    shape: dict[str, Any],
    how: dict[str, Any],
    original: torch.dtype,
    dtype: str,
    files: int,
    shard_size: int,
    piece: int,
    seed: int,
) -> None:
    from safetensors.torch import load_file

    torch.manual_seed(seed)
    monkeypatch.setattr(stream, "PIECE_BYTES", piece)
    root = tmp_path_factory.mktemp("any")
    base = made_base(root / "base", shape, original, files)
    plain = {key: value for key, value in how.items() if key != "targets"}
    adapter = shop.adapter(base, target_modules=how["targets"], **plain)
    result = merge(adapter, str(base), root / "out", Settings(dtype, shard_size=shard_size), probes=[[1, 2, 3, 4]])
    assert result.merged is not None and result.merged.largest < 1e-3
    ends = {"embed_tokens", "lm_head"} & set(how["targets"])
    if shape["tie"] and ends:
        return  # peft merges into the shared weight and changes the model's answers; ours were compared just now
    theirs = shop.merged_by_peft(base, adapter)
    ours = {name: t for file in (root / "out").glob("*.safetensors") for name, t in load_file(file).items()}
    assert theirs.keys() - ours.keys() <= {"lm_head.weight"} and ours.keys() <= theirs.keys()
    step = torch.finfo(getattr(torch, dtype)).eps
    for name, tensor in ours.items():
        wanted = theirs[name]
        assert str(tensor.dtype) == f"torch.{dtype}"
        assert float((tensor.float() - wanted).abs().max()) <= step * float(wanted.abs().max()) + 1e-5, name
