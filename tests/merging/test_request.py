"""A merge as a session asks for it: every option reaches the files, and what it will take is said at loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lora_magic.config import LoadConfig, MergeConfig
from lora_magic.display.progress import Progress
from lora_magic.errors import LoraError
from lora_magic.merging.request import merge_as_asked
from lora_magic.results import MergeResult
from lora_magic.session import Session
from tests.merging.test_any_shape import made_base


def asked(folder: Path, out: Path, **options: Any) -> MergeResult:
    """A merge of an adapter's folder where nothing is loaded."""
    return merge_as_asked(
        MergeConfig(str(folder), str(out), **options), folder, None, key=None, held_out=(), template=None, run=None,
        progress=lambda share, what: None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose two ends take 1.3 MB each in 16 bits."""
    shape = {"heads": 2, "head_dim": 16, "inner": 32, "layers": 1, "vocabulary": 20_000, "tie": False}
    torch.manual_seed(0)
    return made_base(tmp_path_factory.mktemp("large") / "base", shape, torch.float32, 2)


def test_size_of_the_files(shop: Any, large: Path, tmp_path: Path) -> None:
    adapter = shop.adapter(large)
    asked(adapter, tmp_path / "few")
    assert [path.name for path in (tmp_path / "few").glob("*.safetensors")] == ["model.safetensors"]
    asked(adapter, tmp_path / "many", shard_size="1.5MB")
    sizes = [path.stat().st_size for path in (tmp_path / "many").glob("*.safetensors")]
    assert len(sizes) == 2 and max(sizes) < 1.6e6


@given(
    number=st.integers(1, 5_000), unit=st.sampled_from([("MB", 10**6), ("GB", 10**9), ("MiB", 2**20), ("gib", 2**30)])
)
def test_sizes_are_read(number: int, unit: tuple[str, int]) -> None:
    for gap in ("", " "):
        assert MergeConfig("a", "b", shard_size=f"{number}{gap}{unit[0]}").shard_bytes == number * unit[1]


@pytest.mark.parametrize("size", ["", "4", "999KB", "0GB", "-1GB", "four GB", "4TB"])
def test_sizes_that_are_none(size: str) -> None:
    with pytest.raises(LoraError, match="shard-size must be a size of at least 1MB"):
        MergeConfig("a", "b", shard_size=size)


def test_dtype_bits_base_and_overwriting(shop: Any, tmp_path: Path) -> None:
    base, other = shop.base("llama"), shop.copy(shop.base("llama"))
    adapter = shop.adapter(base)
    for dtype in ("float32", "bfloat16", "float16"):
        assert asked(adapter, tmp_path / "out", dtype=dtype, overwrite=dtype != "float32").dtype == dtype
        assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype
    with pytest.raises(LoraError, match="exists and is not empty"):
        asked(adapter, tmp_path / "out")
    result = asked(adapter, tmp_path / "small", to="4bit", dtype="bfloat16", base=str(other))
    assert result.dtype == "NF4" and result.base == str(other)
    assert result.stored is not None and result.stored.kl > 1e-6, "what NF4 changes is measured and said"


def test_verifying_is_for_the_user_to_leave_out(shop: Any, tmp_path: Path) -> None:
    adapter = shop.adapter(shop.base("llama"))
    assert asked(adapter, tmp_path / "one").probes == 1, "some tokens where no rows were held out"
    result = asked(adapter, tmp_path / "none", verify=0)
    assert result.probes == 0 and result.merged is None
    assert "differences not measured: no probe prompts" in result.notes


def test_what_merging_will_take_is_said_at_loading(shop: Any, tiny_folder: Path, tmp_path: Path) -> None:
    def said(**options: Any) -> dict[str, str]:
        session = Session()
        result = session.load(LoadConfig(str(tiny_folder), backend="transformers", **options), Progress("loading"))
        return dict(result.reasons)

    in_four = said(bits=4)["merge"]
    assert in_four.startswith("merging will need the 16-bit original, which is here, and ")
    assert " to write; " in in_four and in_four.endswith(" is free")
    assert "merge" not in said(bits=16)
