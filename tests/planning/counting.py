"""Small models as a card would compute them, and what their passes keep and need, counted on the CPU."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

SMALL = {
    "vocab_size": 512, "hidden_size": 256, "intermediate_size": 640, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "tie_word_embeddings": True,
}  # fmt: skip


class _Saved:
    """A tensor for as long as autograd keeps it."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


def adapted(config: dict[str, Any], bits: int = 16, target: Any = "all-linear", **lora: Any) -> Any:
    """A model of transformers and peft in training mode; its adapter in float32, as our trainer leaves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    made = AutoConfig.for_model(config["model_type"], **{k: v for k, v in config.items() if k != "model_type"})
    made.pad_token_id = 0
    base = AutoModelForCausalLM.from_config(made, dtype=torch.float16, attn_implementation="sdpa")
    if bits == 4:
        _quantise(base)
    model = get_peft_model(base, LoraConfig(target_modules=target, task_type="CAUSAL_LM", **lora))
    for parameter in model.parameters():
        parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    return model.train()


def _quantise(model: Any) -> None:
    """NF4 as transformers and bitsandbytes do it, the head left out."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit

    for name, layer in list(model.named_modules()):
        if not isinstance(layer, torch.nn.Linear) or name == "lm_head":
            continue
        packed = Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None, torch.float16, quant_type="nf4"
        )
        packed.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        packed.bias = layer.bias
        packed.support_avx512bf16_for_cpu = False
        model.set_submodule(name, packed.to("cpu"))
    model.is_loaded_in_4bit = True


@contextmanager
def as_on_a_card() -> Iterator[None]:
    """Inside, mixed precision counts as CUDA's, and dropout is torch's fused kernel, as CUDA has it."""
    import torch

    asked = torch.is_autocast_enabled  # without a device it asks for CUDA's
    with (
        mock.patch("torch.is_autocast_enabled", lambda *device: asked(*device or ("cpu",))),
        mock.patch("torch.nn.functional.dropout", _fused_dropout),
    ):
        yield


def _fused_dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    import torch

    return torch.native_dropout(x, p, True)[0] if training and p else x


def kept(config: dict[str, Any], rows: int, length: int, **wanted: Any) -> int:
    """Bytes of storages that a forward pass leaves saved for the backward pass, weights left out."""
    import torch

    model = adapted(config, **wanted)
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    saved: weakref.WeakSet[_Saved] = weakref.WeakSet()

    def pack(tensor: Any) -> _Saved:
        saved.add(box := _Saved(tensor))
        return box

    ids = torch.randint(3, 500, (rows, length))
    mask = torch.ones_like(ids)
    mask[0, -1] = 0
    with (
        as_on_a_card(),
        torch.autocast("cpu", torch.float16),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor),
    ):
        loss = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
    gc.collect()
    held = {box.tensor.untyped_storage().data_ptr(): box.tensor.untyped_storage().nbytes() for box in saved}
    assert loss.requires_grad
    return sum(size for place, size in held.items() if place not in own)


def peak(config: dict[str, Any], rows: int, length: int, *, recomputing: bool = False, **wanted: Any) -> int:
    """Bytes that live at once at the worst moment of a forward and a backward pass, beside the model itself."""
    import torch

    model = adapted(config, **wanted)
    if recomputing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    ids = torch.randint(3, 500, (rows, length))
    mask = torch.ones_like(ids)
    mask[0, -1] = 0
    with as_on_a_card(), alive() as bytes_alive:
        with torch.autocast("cpu", torch.float16):
            loss = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
        loss.backward()
    return bytes_alive.most


class Alive:
    """Bytes of tensors that were made and not let go.

    Attributes:
        now: at this moment.
        most: so far.
    """

    def __init__(self) -> None:
        self.now = self.most = 0
        self._places: set[int] = set()

    def made(self, tensor: Any) -> None:
        """Count a tensor's storage, unless it is counted already."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._places:
            return
        self._places.add(storage._cdata)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, place: int, size: int) -> None:
        self._places.discard(place)
        self.now -= size


@contextmanager
def alive() -> Iterator[Alive]:
    """Inside, what torch's operations make is counted."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    counted = Alive()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            given = [t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
            for tensor in tree_leaves(made):
                if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in given:
                    counted.made(tensor)
            return made

    with Counting():
        yield counted


VIEWS = (
    "alias", "as_strided", "detach", "empty", "expand", "permute", "reshape", "select", "slice", "split", "t.default",
    "transpose", "unsqueeze", "view",
)  # fmt: skip


def operations_run(config: dict[str, Any], **wanted: Any) -> tuple[int, int]:
    """How many of torch's operations that compute something run in a forward and in a backward pass."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        run = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.run += not any(view in str(func) for view in VIEWS)
            return func(*args, **(kwargs or {}))

    model, ids = adapted(config, **wanted), torch.ones(2, 16, dtype=torch.long)
    forward, backward = Counting(), Counting()
    with as_on_a_card():
        with forward, torch.autocast("cpu", torch.float16):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        with backward:
            loss.backward()
    return forward.run, backward.run
