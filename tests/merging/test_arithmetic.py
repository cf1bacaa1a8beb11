"""The change of one weight, and the streamed file format, over many shapes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.errors import LoraError
from lora_magic.merging.logits import agreement
from lora_magic.merging.stream import Maker
from lora_magic.merging.tensors import listing
from lora_magic.merging.updates import Output, apply_factors
from lora_magic.merging.write import layout, rounded, write_shards

sizes = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(rows=sizes, columns=sizes, rank=st.integers(1, 12), scaling=st.floats(0.01, 8), seed=st.integers(0, 999))
def test_delta_in_either_orientation(rows: int, columns: int, rank: int, scaling: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=random)
    a, b = torch.randn(rank, columns, generator=random), torch.randn(rows, rank, generator=random)
    expected = weight.double() + scaling * b.double() @ a.double()
    ours = apply_factors(weight.clone(), a, b, scaling)
    turned = apply_factors(weight.T.clone(), a, b, scaling, transposed=True)
    bound = 1e-5 * float(expected.abs().max() + 1)
    assert float((ours - expected).abs().max()) < bound
    assert float((turned.T - expected).abs().max()) < bound


@settings(max_examples=60, deadline=None)
@given(rows=sizes, columns=st.integers(2, 40), rank=st.integers(1, 12), seed=st.integers(0, 999))
def test_dora_gives_every_output_its_magnitude(rows: int, columns: int, rank: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=random)
    a, b = torch.randn(rank, columns, generator=random), torch.randn(rows, rank, generator=random)
    magnitude = torch.rand(rows, generator=random) + 0.1
    ours = apply_factors(weight.clone(), a, b, 0.5, magnitude=magnitude)
    turned = apply_factors(weight.T.clone(), a, b, 0.5, magnitude=magnitude, transposed=True)
    assert torch.allclose(ours.norm(dim=1), magnitude, rtol=1e-4)
    assert torch.allclose(ours, turned.T, rtol=1e-3, atol=1e-5)
    direction = weight + 0.5 * b @ a
    assert torch.allclose(torch.nn.functional.cosine_similarity(ours, direction), torch.ones(rows), atol=1e-4)


kinds = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.tuples(shapes, kinds), min_size=1, max_size=8),
    shard_size=st.sampled_from([1, 64, 300, 10**9]),
    dtype=st.sampled_from(["float16", "bfloat16", "float32"]),
)
def test_streamed_files_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[tuple[tuple[int, ...], torch.dtype]],
    shard_size: int,
    dtype: str,
) -> None:
    from safetensors.torch import load_file, save_file

    root = tmp_path_factory.mktemp("files")
    folder = root / "made"
    folder.mkdir()
    tensors = {f'layer.{number}."ü"': (torch.randn(shape) * 3).to(kind) for number, (shape, kind) in enumerate(parts)}
    save_file(tensors, root / "originals.safetensors")
    outputs = [Output(name, name, stored) for name, stored in listing(root / "originals.safetensors").items()]
    shards = layout(outputs, dtype, shard_size)
    with Maker() as maker:
        size = write_shards(folder, shards, maker, dtype, lambda share, name: None)
    files = sorted(folder.glob("*.safetensors"))
    read = {name: tensor for file in files for name, tensor in load_file(file).items()}
    assert size == sum(file.stat().st_size for file in files)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        expected = tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor
        assert read[name].dtype == expected.dtype and torch.equal(read[name], expected)
    for shard in shards:
        assert len(shard.outputs) == 1 or sum(entry.bytes for entry in shard.entries) <= shard_size
        assert list(listing(folder / shard.file))


def test_overflow_names_the_tensor_and_a_wider_dtype() -> None:
    weight = torch.tensor([1.0, 7e4])
    with pytest.raises(
        LoraError, match=r"the\.name holds 7e\+04, which overflows float16 \(at most 6.55e\+04\)"
    ) as caught:
        rounded(weight, "the.name", "float16")
    assert "--dtype bfloat16" in caught.value.remedy
    assert torch.equal(rounded(weight, "the.name", "bfloat16"), weight.bfloat16())
    assert torch.isinf(rounded(torch.tensor([float("-inf")]), "mask", "float16")).all()


def test_agreement_of_tables() -> None:
    one = torch.randn(40, 11, generator=torch.Generator().manual_seed(3))
    same = agreement(one, one)
    assert (same.same_top, same.kl, same.largest) == (1.0, 0.0, 0.0)
    other = one.clone()
    other[35, 4] += 100
    found = agreement(one, other)
    assert found.largest == pytest.approx(100) and found.same_top >= 39 / 40 and found.kl > 1
    exact = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=one.double()), torch.distributions.Categorical(logits=other.double())
    )
    assert found.kl == pytest.approx(float(exact.mean()), rel=1e-4)
    other[0, 0] = torch.nan
    assert math.isnan(agreement(one, other).largest)
    padded = torch.cat([one, torch.full((40, 5), 9.0)], dim=1)
    assert agreement(one, padded).largest == 0.0
