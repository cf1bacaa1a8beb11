"""A 4-bit base's weights, dequantised once for a run: the same values as a step would make twice, and then again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Expanded:
    """Puts plain layers of the same values in the place of 4-bit ones, and those back.

    Args:
        stack: the imported modules.
    """

    def __init__(self, stack: SimpleNamespace) -> None:
        self._stack = stack
        self._packed: list[tuple[Any, str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._packed)

    def put_on(self, model: Any) -> None:
        """Replace every 4-bit layer of `model`; where memory runs out all is as it was.

        Raises:
            RuntimeError: out of memory, as torch raises it.
        """
        packed = self._stack.bitsandbytes.nn.Linear4bit
        found = [
            (parent, name, child)
            for parent in model.modules()
            for name, child in parent._modules.items()
            if isinstance(child, packed)
        ]
        made: dict[int, Any] = {}
        try:
            for parent, name, child in found:
                if id(child) not in made:
                    made[id(child)] = self._plain(child)
                self._packed.append((parent, name, child))
                parent._modules[name] = made[id(child)]
        except BaseException:
            self.take_off()
            raise

    def take_off(self) -> None:
        """Put the 4-bit layers back."""
        while self._packed:
            parent, name, child = self._packed[-1]
            parent._modules[name] = child
            self._packed.pop()

    def _plain(self, layer: Any) -> Any:
        torch, weight = self._stack.torch, layer.weight
        values = self._stack.bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
        values = values.to(layer.compute_dtype or values.dtype)
        made = torch.nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
        made.weight = torch.nn.Parameter(values.reshape(layer.out_features, layer.in_features), requires_grad=False)
        made.bias = layer.bias
        return made.train(layer.training)
