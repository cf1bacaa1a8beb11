"""The functions that Unsloth puts on a model's layers for an adapter: kept for each adapter, swapped as they switch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# Where Unsloth puts its fused functions: (part of a decoder layer, attribute).
PLACES = (("mlp", "forward"), ("mlp", "_unsloth_forward"), ("self_attn", "apply_qkv"), ("self_attn", "apply_o"))
_ABSENT = object()


class Fused:
    """A base's own functions as loaded, and each adapter's, put on its layers when adapters switch.

    A fused function reads the weights of all its projections itself. So it must not stay for an adapter that
    has not all of them, nor for the bare base, whose answers would be rounded otherwise than without adapters.

    Args:
        model: a causal model that no adapter is on yet.
    """

    def __init__(self, model: Any) -> None:
        layers = getattr(getattr(model, "model", None), "layers", ())
        self._parts = [(getattr(layer, part, None), name) for layer in layers for part, name in PLACES]
        self._own = self._now()
        self._of: dict[str, list[Any]] = {}

    def keep(self, key: str) -> None:
        """Remember what is on the layers now as that of the adapter `key`."""
        self._of[key] = self._now()

    def switch(self, key: str | None) -> None:
        """Put on what belongs to the adapter `key`, or for None to the bare base."""
        wanted = self._own if key is None else self._of.get(key, self._own)
        for (part, name), value in zip(self._parts, wanted, strict=True):
            if part is None:
                continue
            if value is _ABSENT:
                vars(part).pop(name, None)
            else:
                vars(part)[name] = value

    def drop(self, key: str) -> None:
        """Forget the adapter `key`."""
        self._of.pop(key, None)

    def count(self, key: str) -> int:
        """How many functions of the base the adapter `key` has its own for."""
        return sum(one is not other for one, other in zip(self._of[key], self._own, strict=True))

    def _now(self) -> list[Any]:
        return [_ABSENT if part is None else vars(part).get(name, _ABSENT) for part, name in self._parts]


def adapted_layers(model: Any) -> Iterator[Any]:
    """peft's layers that carry LoRA adapters, whichever."""
    return (module for module in model.modules() if hasattr(module, "lora_A"))


def carries(parts: Mapping[str, Any], key: str) -> bool:
    """Whether one of peft's layers, by its parts, has the adapter `key`; an embedding's lies elsewhere."""
    return any(key in parts[name] for name in ("lora_A", "lora_embedding_A") if name in parts)


@contextmanager
def alone(model: Any, key: str) -> Iterator[None]:
    """Inside, layers look as if the adapter `key` were the only one on the model.

    Unsloth fits its functions to what it finds on a layer: another adapter's DoRA magnitudes would keep the
    slow ones, another's weights would fuse layers that `key` is not on, and all would be made trainable.
    """
    whole = [(layer, layer._modules) for layer in adapted_layers(model)]
    for layer, parts in whole:
        on_it = parts if carries(parts, key) else {"base_layer": parts["base_layer"]}
        seen = {name: part if name == "base_layer" else _only(part, key) for name, part in on_it.items()}
        vars(layer)["_modules"] = seen
    try:
        yield
    finally:
        for layer, parts in whole:
            vars(layer)["_modules"] = parts


def _only(held: Any, key: str) -> Any:
    """A container like this one of peft's, with no more in it than what belongs to `key`."""
    fresh = type(held)()
    if key in held:
        fresh[key] = held[key]
    return fresh
