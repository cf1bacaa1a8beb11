"""Kinds of adapter that peft itself merges, a layer at a time.

The model is a skeleton: a layer gets its weights in float32, peft merges into them, and they are taken away
again. One layer is in memory at a time, whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lora_magic.errors import LoraError
from lora_magic.merging.adapter import SUPPORTED, Adapter
from lora_magic.merging.originals import Originals
from lora_magic.merging.skeleton import is_hollow, of_originals, plain_name, skeleton, with_adapter

if TYPE_CHECKING:
    import torch

    from lora_magic.merging.updates import Output


class PeftLayers:
    """An adapter's layers on a base whose weights come when they are merged.

    Args:
        originals: the base.
        adapter: any kind that peft merges.
        trust_remote_code: let transformers run code from the base's folder.

    Raises:
        LoraError: the adapter does not fit the base, or changes none of its weights.
    """

    def __init__(self, originals: Originals, adapter: Adapter, trust_remote_code: bool) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils import ModulesToSaveWrapper

        self._adapter = adapter
        self._weights = of_originals(originals, "cpu")
        model = with_adapter(skeleton(originals.folder, trust_remote_code), adapter.folder)
        self._layers: dict[str, list[Any]] = {}
        self._owners: dict[str, str] = {}
        self._whole: dict[str, torch.Tensor] = {}
        for name, module in model.named_modules():
            if isinstance(module, BaseTunerLayer):
                self._layers.setdefault(plain_name(name), []).append(module)
            elif isinstance(module, ModulesToSaveWrapper):
                saved = module.modules_to_save["default"].named_parameters()
                self._whole.update({f"{plain_name(name)}.{leaf}": value.data for leaf, value in saved})
        for path, layers in self._layers.items():
            for leaf, parameter in _innermost(layers).named_parameters():
                self._owners[f"{path}.{leaf}"] = path
                if not is_hollow(parameter):
                    self._whole[f"{path}.{leaf}"] = parameter.data
        self._last: tuple[str, Mapping[str, torch.Tensor]] = ("", {})
        if not self.changed:
            raise LoraError(f"{adapter.folder} changes no weight of this base.", f"Supported: {SUPPORTED}.")

    @property
    def changed(self) -> tuple[str, ...]:
        """The parameters that the adapter changes, by their names in the model."""
        return tuple(dict.fromkeys([*self._owners, *self._whole]))

    @property
    def ends_are_one(self) -> bool:
        """True when embedding and output head are changed by one and the same part of the adapter."""
        layers = (layer for found in self._layers.values() for layer in found)
        return any(getattr(layer, "tied_adapter", None) is not None for layer in layers)

    def merged(self, output: Output) -> torch.Tensor:
        """A changed parameter in float32, on the CPU.

        Raises:
            LoraError: peft cannot merge this layer.
        """
        import torch

        path = self._owners.get(output.parameter)
        if path is None:
            return self._whole[output.parameter].to(torch.float32)
        if self._last[0] != path:
            self._last = ("", {})
            self._last = (path, self._merge(path))
        return self._last[1][output.parameter]

    def _merge(self, path: str) -> dict[str, torch.Tensor]:
        import torch

        layers = self._layers[path]
        innermost = _innermost(layers)
        head = path.rpartition(".")[2] in ("lm_head", "embed_out")
        emptied = []
        for leaf, parameter in list(innermost.named_parameters()):
            owner, _, name = leaf.rpartition(".")
            module, value = innermost.get_submodule(owner), parameter.data
            if is_hollow(parameter):
                value = self._weights.rows(self._weights.output(f"{path}.{leaf}", head))
            emptied.append((module, name, parameter))
            module._parameters[name] = torch.nn.Parameter(value.clone(), requires_grad=False)
        try:
            for layer in reversed(layers):
                _merge_layer(layer, path)
            last = _innermost(layers)
            made = {f"{path}.{leaf}": value.data.float() for leaf, value in last.named_parameters()}
        finally:
            for layer in layers:
                if _innermost([layer]) is not innermost:
                    layer.unmerge()
                layer.merged_adapters.clear()
            for module, name, parameter in emptied:
                module._parameters[name] = parameter
        return made


def _innermost(layers: list[Any]) -> Any:
    """The base's own module under peft's layers."""
    return layers[-1].get_base_layer()


def _merge_layer(layer: Any, path: str) -> None:
    import torch

    try:
        with torch.no_grad():
            layer.merge(safe_merge=False)
    except (NotImplementedError, ValueError, TypeError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LoraError(f"peft cannot merge this adapter into {path}: {reason}", f"Supported: {SUPPORTED}.") from error
