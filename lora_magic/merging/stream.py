"""The merged model, rows of one tensor at a time.

A tensor goes through in pieces of whole rows, so that what is held does not grow with the model: the pieces are
read one ahead, changed in float32, on a GPU where one is free, and handed on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lora_magic.merging.adapter import Adapter
from lora_magic.merging.hub import Shelf
from lora_magic.merging.originals import Originals
from lora_magic.merging.tensors import Reader, Rooms, Stored
from lora_magic.merging.updates import Output, apply_factors, plan_merge

if TYPE_CHECKING:
    import torch

PIECE_BYTES = 8 * 2**20
"""float32 bytes of the rows that are changed at once: memory of this size is used again, not asked for anew."""

FREE_ON_CARD = 2 * 2**30
"""Bytes that must be free on a GPU for the pieces to go there."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Piece:
    """Rows of one tensor of the merged model.

    Attributes:
        output: the tensor.
        start, stop: which rows along its first dimension.
        values: float32 where the adapter changes it, else the original's own dtype. They lie in memory that later
            pieces take over.
    """

    output: Output
    start: int
    stop: int
    values: torch.Tensor


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
    with Maker(originals.shelf) as maker:
        yield from ((output.name, maker.whole(output)) for output in outputs)


def free_device() -> str:
    """Where pieces are changed: "cuda" where a card has room, else "cpu"."""
    import torch

    if not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < FREE_ON_CARD:
        return "cpu"
    return "cuda"


@contextmanager
def exact_products() -> Iterator[None]:
    """Inside, float32 matrices are multiplied in float32, on cards too that could round the factors first."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _room_to_read_and_write() -> Iterator[None]:
    """Inside, arithmetic leaves two processors to the threads that read and write, which take longer."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - 2)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _spans(output: Output) -> list[tuple[int, int]]:
    """The rows of `output` in pieces; what holds a single value has one row."""
    source = output.source
    step = max(1, PIECE_BYTES * source.rows // max(1, source.values * 4))
    return [(start, min(start + step, source.rows)) for start in range(0, source.rows, step)] or [(0, 0)]


def _one_ahead(items: Iterable[T], read: Callable[[T], U]) -> Iterator[tuple[T, U]]:
    """Each item with what `read` makes of it, which happens in another thread while the one before is used."""
    waiting: list[tuple[T, Any]] = []
    with ThreadPoolExecutor(1, "reading") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(read, item)))
                if len(waiting) > 1:
                    first, future = waiting.pop(0)
                    yield first, future.result()
                    del future
            while waiting:
                first, future = waiting.pop(0)
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Maker:
    """Makes rows of the merged model's tensors.

    Args:
        shelf: fetches the originals' files, where they are not all here.
        device: torch's name of where to compute.
    """

    def __init__(self, shelf: Shelf | None = None, device: str = "cpu") -> None:
        self._shelf, self._device = shelf, device
        self._base, self._added, self._again = Reader(), Reader(), Reader()
        self._factors: tuple[str, dict[str, torch.Tensor]] = ("", {})
        self._norms: dict[str, torch.Tensor] = {}
        self._raw_rooms, self._rooms = Rooms(3), Rooms(1, device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close every file."""
        for reader in (self._base, self._added, self._again):
            reader.close()
        if self._shelf is not None:
            self._shelf.drop()

    def pieces(self, outputs: Iterable[Output]) -> Iterator[Piece]:
        """All rows of all `outputs`, in order."""
        spans = ((output, start, stop) for output in outputs for start, stop in _spans(output))
        with _room_to_read_and_write(), exact_products():
            for (output, start, stop), raw in _one_ahead(spans, self._raw):
                made = raw if output.update is None else self._changed(output, range(start, stop), raw, self._rooms)
                yield Piece(output, start, stop, made)

    def whole(self, output: Output) -> torch.Tensor:
        """One tensor: float32 where the adapter changes it, else in the original's dtype."""
        return self.rows(output, range(output.source.rows))

    def rows(self, output: Output, rows: range | Sequence[int]) -> torch.Tensor:
        """Some rows of one tensor, in the order asked for."""
        if output.update is not None and output.update.layers is not None:
            return output.update.layers.merged(output)[_index(rows)]
        with exact_products():
            self._measure_norm(output)
            raw = self._read(self._start(output), rows)
            return raw if output.update is None else self._changed(output, rows, raw)

    def _start(self, output: Output) -> Stored:
        """What the tensor starts from: the original, or the whole tensor that takes its place."""
        update = output.update
        return update.replacement if update is not None and update.replacement is not None else output.source

    def _raw(self, span: tuple[Output, int, int]) -> torch.Tensor:
        output, start, stop = span
        if output.update is not None and output.update.layers is not None:
            import torch

            return torch.empty(0)
        if start == 0:
            self._measure_norm(output)
        return self._read(self._start(output), range(start, stop), self._raw_rooms)

    def _read(self, stored: Stored, rows: range | Sequence[int], rooms: Rooms | None = None) -> torch.Tensor:
        own = stored.start < 0 and self._shelf is not None
        found = self._shelf.local(stored) if own and self._shelf is not None else stored
        if not isinstance(rows, range):
            return self._base.gather(found, rows)
        return self._base.rows(found, rows.start, rows.stop, rooms)

    def _changed(
        self, output: Output, rows: range | Sequence[int], raw: torch.Tensor, rooms: Rooms | None = None
    ) -> torch.Tensor:
        import torch

        update = output.update
        assert update is not None
        if update.layers is not None:
            return update.layers.merged(output)[_index(rows)]
        moved = raw.to(self._device)  # as it is: a card converts faster than what it is fed through
        value = rooms.take(raw.shape, torch.float32).copy_(moved) if rooms else moved.to(torch.float32, copy=True)
        if update.factors is not None:
            parts = self._parts(output)
            a, b, magnitude = parts["a"], parts["b"], parts.get("magnitude")
            if update.transposed:
                a = a[:, _index(rows)]
            else:
                b = b[_index(rows)]
                magnitude = magnitude[_index(rows)] if magnitude is not None else None
            apply_factors(
                value, a, b, update.scaling, transposed=update.transposed, magnitude=magnitude, norm=parts.get("norm")
            )
        if update.added is not None:
            added = self._added.rows(update.added, 0, update.added.rows).to(self._device, torch.float32)
            value.add_(added[_index(rows)], alpha=update.scaling)
        return value

    def _parts(self, output: Output) -> dict[str, torch.Tensor]:
        """The adapter's matrices for one tensor in float32 where they are needed, kept until the next one's."""
        if self._factors[0] != output.name:
            parts = self._loaded(output, self._added)
            if output.name in self._norms:
                parts["norm"] = self._norms.pop(output.name)
            self._factors = (output.name, parts)
        return self._factors[1]

    def _loaded(self, output: Output, reader: Reader) -> dict[str, torch.Tensor]:
        import torch

        assert output.update is not None and output.update.factors is not None
        factors = output.update.factors
        parts = {
            name: reader.read(part).to(self._device, torch.float32)
            for name, part in (("a", factors.a), ("b", factors.b), ("magnitude", factors.magnitude))
            if part is not None
        }
        if "magnitude" in parts:
            parts["magnitude"] = parts["magnitude"].reshape(-1)
        return parts

    def _measure_norm(self, output: Output) -> None:
        """Go through a weight that lies transposed once, where DoRA needs the norm over its rows.

        Called inside `exact_products`, which holds for all threads; the thread that reads ahead must not end it.
        """
        import torch

        update, source = output.update, self._start(output)
        if update is None or not update.transposed or update.factors is None or update.factors.magnitude is None:
            return
        if output.name in self._norms or self._factors[0] == output.name:
            return
        parts = self._loaded(output, self._again)
        total = torch.zeros(source.shape[1], device=self._device, dtype=torch.float64)
        with torch.inference_mode():
            for start, stop in _spans(output):
                value = self._read(source, range(start, stop)).to(self._device).to(torch.float32, copy=True)
                apply_factors(value, parts["a"][:, start:stop], parts["b"], update.scaling, transposed=True)
                total += value.double().square_().sum(0)
            self._norms[output.name] = total.sqrt().float()


def _index(rows: range | Sequence[int]) -> Any:
    return slice(rows.start, rows.stop) if isinstance(rows, range) else list(rows)
