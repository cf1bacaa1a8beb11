"""A model without weights, and the same model computing with weights that come when a module runs.

What is in memory is one module's weights in float32, a few rows of the embedding and of the output head at a
time, and what the adapter itself brings.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.errors import LoraError
from lora_magic.merging import untouched
from lora_magic.merging.adapter import WEIGHTS
from lora_magic.merging.logits import quiet
from lora_magic.merging.originals import Originals
from lora_magic.merging.stream import Maker
from lora_magic.merging.updates import Output, finder

if TYPE_CHECKING:
    import torch

HEAD_ROWS = 8192
"""Rows of the output head that are in memory at once: 134 MB in float32 at a width of 4,096."""

_LOADING = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError)

_ADDED = re.compile(r"^base_model\.model\.|\.(?:base_layer|original_module|token_adapter)(?=\.|$)")


def plain_name(name: str) -> str:
    """A parameter's or module's name in the base, without what peft puts into it."""
    return _ADDED.sub("", name)


class Incomplete(LoraError):
    """An adapter holds values for some of the modules that its settings name, and none for others."""


def skeleton(folder: Path, trust_remote_code: bool) -> Any:
    """A causal language model whose parameters take no memory; its buffers are real.

    Raises:
        LoraError: transformers cannot make one of the folder's config.json.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig

    try:
        with quiet():
            config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
            if getattr(config, "quantization_config", None) is not None:
                del config.quantization_config
            with init_empty_weights(include_buffers=False):
                model: Any = _made(config, trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LoraError(
            f"transformers cannot make a causal language model of {folder}: {reason}", "Merging goes on unmeasured."
        ) from error
    for module in model.modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[leaf] = _hollow(parameter.shape)
    return model.eval()


def _made(config: Any, trust_remote_code: bool) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    remote = trust_remote_code and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    own = untouched.model_class(config) if "unsloth" in sys.modules and not remote else None
    if own is not None:
        inner = own.config_class is config.sub_configs.get("text_config")
        return own._from_config(config.get_text_config() if inner else config, dtype=torch.float32)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=trust_remote_code)


def _hollow(shape: Any) -> Any:
    """A parameter of any shape in the memory of one value.

    It lies on the CPU, so that peft makes an adapter's parts there and not where nothing has values.
    """
    import torch

    made: Any = _parameter(torch.zeros(1).expand(shape))
    made.is_hollow = True
    return made


def is_hollow(parameter: Any) -> bool:
    """Whether a parameter of a skeleton still waits for its values."""
    return getattr(parameter, "is_hollow", False)


def with_adapter(model: Any, folder: Path) -> Any:
    """A skeleton with a saved adapter on it, whose own weights are real.

    Args:
        model: from `skeleton`.
        folder: the adapter's.

    Raises:
        LoraError: the adapter does not fit the model; Incomplete where some of it does.
    """
    from peft import PeftConfig, PeftModel, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    wrong = "Name the base that the adapter was trained on."
    try:
        with quiet():
            config: Any = PeftConfig.from_pretrained(str(folder), local_files_only=True)
            config.inference_mode = True
            state = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
            own = {name for name, _ in model.named_parameters()}
            adapted: Any = PeftModel(model, config)
            _make_room(adapted, own, {plain_name(name) for name in state})
            set_peft_model_state_dict(adapted, state)
    except _LOADING as error:
        lines = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        reason = (lines or (str(error).strip() or type(error).__name__).splitlines())[0]
        raise LoraError(f"The adapter {folder} does not fit this base: {reason}", wrong) from error
    except (OSError, SafetensorError) as error:
        raise LoraError(f"{folder / WEIGHTS} cannot be read ({error}).", "Save the adapter again.") from error
    _require_filled(adapted, folder)
    return adapted.eval()


def _require_filled(adapted: Any, folder: Path) -> None:
    """Refuse an adapter that lacks some of what its settings ask for on this base.

    Where it lacks all of it the adapter and the model only name their modules differently.
    """
    held = {name: bool(p.isnan().any()) for name, p in adapted.named_parameters() if not is_hollow(p)}
    lacking = [plain_name(name) for name, broken in held.items() if broken]
    if lacking:
        kind = LoraError if all(held.values()) else Incomplete
        raise kind(
            f"{folder} has no {lacking[0].replace('.default.', '.')}, which its settings ask for.",
            "Name the base that it was trained on.",
        )


def _make_room(adapted: Any, own: set[str], saved: set[str]) -> None:
    """Give memory to what a saved adapter fills, with NaN in it to show which parameters it does not.

    Args:
        adapted: the model with the adapter's modules on it.
        own: names of the parameters that the model had before.
        saved: plain names of what the adapter holds, biases of the model among them.
    """
    import torch

    for module_name, module in adapted.named_modules():
        for leaf, tensor in module._parameters.items():
            name = f"{module_name}.{leaf}" if module_name else leaf
            plain = plain_name(name)
            filled = plain not in own or (plain in saved and "original_module" not in name)
            if tensor is not None and filled:
                module._parameters[leaf] = _parameter(torch.full(tensor.shape, torch.nan, dtype=torch.float32))


class Weights:
    """Parameters of a model in float32, made when they are asked for.

    Args:
        outputs: every tensor that there is, by parameter name.
        shared: the embedding's, for an output head that is tied to it and has no tensor of its own.
        device: where to.

    Attributes:
        on_read: told the share of all values that were asked for so far.
    """

    def __init__(self, outputs: Mapping[str, Output], shared: Output | None, device: str) -> None:
        self._find = finder(outputs)
        self._shared, self._device = shared, device
        self._maker = Maker(device=device)
        self._total, self._read = max(1, sum(output.source.values for output in outputs.values())), 0
        self.on_read: Callable[[float], None] = lambda share: None

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *_: object) -> None:
        self._maker.__exit__()

    def output(self, parameter: str, is_head: bool = False) -> Output:
        """The tensor behind a parameter.

        Raises:
            LoraError: there is none.
        """
        found = self._find(parameter) or (self._shared if is_head else None)
        if found is None:
            raise LoraError(f"the files hold no weight {parameter}, which the model has", "Merging goes on unmeasured.")
        return found

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name."""
        return self._find(name) is not None

    def rows(self, output: Output, rows: Any = None) -> torch.Tensor:
        """Rows of a tensor (all of them by default) in float32."""
        import torch

        made = self._maker.whole(output) if rows is None else self._maker.rows(output, rows)
        self._read += made.numel()
        self.on_read(min(1.0, self._read / self._total))
        return made.to(self._device, torch.float32)


def of_originals(originals: Originals, device: str) -> Weights:
    """The base's own weights."""
    return of_outputs({name: Output(name, name, stored) for name, stored in originals.weights.items()}, device)


def of_outputs(outputs: Mapping[str, Output], device: str) -> Weights:
    """The weights that `outputs` make, by parameter name."""
    ends = (".embed_tokens.weight", ".wte.weight", ".embed_in.weight", ".word_embeddings.weight")
    shared = next((output for name, output in outputs.items() if f".{name}".endswith(ends)), None)
    return Weights(outputs, shared, device)


class Streamed:
    """A skeleton that computes: weights are read when a module runs and let go when it has run.

    Args:
        model: from `skeleton` or `with_adapter`.
        weights: what its parameters hold.
        device: where to compute.
    """

    def __init__(self, model: Any, weights: Weights, device: str) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        self._model, self._weights, self._device = model, weights, device
        base = model.get_base_model() if hasattr(model, "peft_config") else model
        self._head = base.get_output_embeddings()
        if self._head is None:
            raise LoraError("This model has no output head that can be read in parts.", "Merging goes on unmeasured.")
        self._chosen: torch.Tensor | None = None
        self._head.register_forward_pre_hook(self._choose)
        self._load_buffers()
        heads: set[Any] = set(self._head.modules())
        held: set[Any] = set()
        for name, module in model.named_modules():
            if isinstance(module, BaseTunerLayer) and not _computes_through_base(module):
                inside = list(module.get_base_layer().named_modules(prefix=f"{name}.base_layer"))
                held.update(part for _, part in inside)
                self._hold(module, inside, heads)
        for name, module in model.named_modules():
            if module not in held and any(is_hollow(p) for p in module.parameters(recurse=False)):
                self._prepare(name, module, module in heads)

    def logits(self, ids: torch.Tensor, mask: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Next-token logits after some positions of a padded batch: float32, (chosen, vocabulary), on the CPU.

        Args:
            ids: (prompts, positions), padded on the right.
            mask: 1 where there is a token.
            chosen: indices of positions in the flattened batch.
        """
        import torch

        self._chosen = chosen.to(self._device)
        with torch.inference_mode():
            found = self._model(
                input_ids=ids.to(self._device), attention_mask=mask.to(self._device), use_cache=False
            ).logits
        table: torch.Tensor = found[0].float().cpu()
        return table

    def _choose(self, _: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = args[0]
        return (hidden.reshape(-1, hidden.shape[-1])[self._chosen][None], *args[1:])

    def _load_buffers(self) -> None:
        for name, buffer in self._model.named_buffers():
            owner, _, leaf = name.rpartition(".")
            module = self._model.get_submodule(owner)
            stored = leaf not in module._non_persistent_buffers_set and self._weights.has(plain_name(name))
            value = self._weights.rows(self._weights.output(plain_name(name))).to(buffer.dtype) if stored else buffer
            module._buffers[leaf] = value.to(self._device)
        for module in self._model.modules():
            for leaf, parameter in module._parameters.items():
                if parameter is not None and not is_hollow(parameter):
                    module._parameters[leaf] = _parameter(parameter.data.to(self._device))

    def _prepare(self, name: str, module: Any, is_head: bool) -> None:
        from torch import nn

        if is_head and type(module) is nn.Linear:
            module.forward = self._in_parts(name, module)
        elif isinstance(module, nn.Embedding):
            self._by_tokens(name, module, is_head)
        else:
            self._hold(module, [(name, module)], {module} if is_head else set())

    def _hold(self, trigger: Any, parts: list[tuple[str, Any]], heads: set[Any]) -> None:
        """Let `parts` have their weights while `trigger` runs."""

        def fill(*_: Any) -> None:
            for name, module in parts:
                for leaf, parameter in list(module._parameters.items()):
                    if parameter is not None and is_hollow(parameter):
                        output = self._weights.output(plain_name(f"{name}.{leaf}"), module in heads)
                        filled.append((module, leaf, parameter))
                        module._parameters[leaf] = _parameter(self._weights.rows(output))

        def empty(*_: Any) -> None:
            while filled:
                module, leaf, parameter = filled.pop()
                module._parameters[leaf] = parameter

        filled: list[tuple[Any, str, Any]] = []
        trigger.register_forward_pre_hook(fill)
        trigger.register_forward_hook(empty)

    def _by_tokens(self, name: str, module: Any, is_head: bool) -> None:
        """Let an embedding have the rows of the tokens that are asked for, numbered anew."""
        hollow = module._parameters["weight"]
        output = self._weights.output(plain_name(f"{name}.weight"), is_head)

        def fill(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            tokens, numbers = args[0].unique(return_inverse=True)
            module._parameters["weight"] = _parameter(self._weights.rows(output, tokens.tolist()))
            return (numbers, *args[1:])

        def empty(*_: Any) -> None:
            module._parameters["weight"] = hollow

        module.padding_idx = None
        module.register_forward_pre_hook(fill)
        module.register_forward_hook(empty)

    def _in_parts(self, name: str, module: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        """The output head's product, some rows of its weight at a time."""
        output = self._weights.output(plain_name(f"{name}.weight"), True)
        bias = module._parameters.get("bias")
        added = None
        if bias is not None:
            waits = is_hollow(bias)
            added = self._weights.rows(self._weights.output(plain_name(f"{name}.bias"))) if waits else bias.data

        def forward(hidden: torch.Tensor) -> torch.Tensor:
            import torch

            total = output.source.rows
            spans = (range(start, min(start + HEAD_ROWS, total)) for start in range(0, total, HEAD_ROWS))
            table = torch.cat([hidden @ self._weights.rows(output, rows).T for rows in spans], dim=-1)
            return table if added is None else table + added

        return forward


def _parameter(values: torch.Tensor) -> Any:
    import torch

    return torch.nn.Parameter(values, requires_grad=False)


def _computes_through_base(layer: Any) -> bool:
    """True where an adapted layer asks its base only to run: plain LoRA on a linear layer or an embedding."""
    from peft.tuners.lora.layer import Embedding, Linear

    return type(layer) in (Linear, Embedding) and not any(layer.use_dora.values()) and not layer.lora_variant
