"""The merged model, one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lora_magic.merging.adapter import Adapter
from lora_magic.merging.originals import Originals
from lora_magic.merging.tensors import Reader
from lora_magic.merging.updates import Output, apply_factors, plan_merge

if TYPE_CHECKING:
    import torch


def merged_tensors(originals: Originals, adapter: Adapter) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the merged model, made when it is asked for.

    Args:
        originals: the base.
        adapter: what to merge into it.

    Yields:
        (name in the written files, tensor): float32 where the adapter changes it, the original's own dtype
        and values where it does not.

    Raises:
        LoraError: the adapter does not fit the base.
    """
    outputs = plan_merge(originals, adapter).outputs
    yield from ((output.name, tensor) for output, tensor in stream(outputs))


def stream(outputs: Iterable[Output]) -> Iterator[tuple[Output, torch.Tensor]]:
    """Make the tensors of `outputs` in order, holding one at a time."""
    with Reader() as base, Reader() as added:
        for output in outputs:
            yield output, _made(output, base, added)


def _made(output: Output, base: Reader, added: Reader) -> torch.Tensor:
    import torch

    update = output.update
    if update is None:
        return base.read(output.source)
    start = base.read(output.source) if update.replacement is None else added.read(update.replacement)
    value = start.to(torch.float32, copy=True)
    factors = update.factors
    if factors is not None:
        apply_factors(
            value,
            added.read(factors.a),
            added.read(factors.b),
            update.scaling,
            transposed=update.transposed,
            magnitude=added.read(factors.magnitude) if factors.magnitude is not None else None,
        )
    if update.added is not None:
        value.add_(added.read(update.added).to(torch.float32), alpha=update.scaling)
    return value
