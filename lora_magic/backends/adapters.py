"""A base that peft puts adapters on: attached, switched, trained, asked and taken off; what all backends share."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lora_magic.backends import answers, combining, losses, saved
from lora_magic.backends.base import Answer, BaseFacts, Decoding
from lora_magic.backends.batches import Batches
from lora_magic.backends.biases import Biases
from lora_magic.backends.expanded import Expanded
from lora_magic.backends.trainer import build_trainer
from lora_magic.config import TrainConfig
from lora_magic.dataset.store import Row
from lora_magic.errors import LoraError
from lora_magic.files import atomic_folder
from lora_magic.methods.lora import peft_config
from lora_magic.seeding import seeded


class PeftBase:
    """A base and its adapters in memory; see `backends.base.Base` for what each method promises.

    Attributes:
        facts: what the base is.
        tokenizer: its tokenizer.
    """

    def __init__(self, stack: SimpleNamespace, model: Any, tokenizer: Any, facts: BaseFacts) -> None:
        self.facts = facts
        self.tokenizer = tokenizer
        self._stack = stack
        self._model = model
        self._adapted = False
        self._active: str | None = None
        self._biases = Biases()
        self._accelerator: Any = None
        self._batches = Batches()
        self._expanded = Expanded(stack)
        self._recomputing = ("off", 0)

    def attach(self, key: str, config: TrainConfig, start: Path | None = None) -> tuple[int, int]:
        """Put a fresh, seeded adapter on the base, or a saved one, and make it active."""
        wanted = self._wanted(config, start)
        bias, wanted.bias = wanted.bias, "none"
        self._biases.switch(None)
        try:
            with seeded(config.seed):
                self._add(key, wanted)
            self._added(key)
        except ValueError as error:
            raise LoraError(
                f"This adapter does not fit {self.facts.model}: {error}.", "Change --target or --method."
            ) from None
        self.activate(key)
        if bias != "none":
            self._biases.keep(self._model, key, bias)
            self._open_biases(key)
        if start is not None:
            with self._bias_named(key):
                saved.load_weights(self._model, key, start)
        trainable = sum(p.numel() for p in self._model.parameters() if p.requires_grad)
        added = sum(p.numel() for n, p in self._model.named_parameters() if key in n.split("."))
        return trainable, self.facts.parameters + added

    def _added(self, key: str) -> None:
        """What a backend does to the model once the adapter `key` is on it."""

    def _switched(self, key: str | None) -> None:
        """What a backend does when the adapter `key`, or for None the bare base, is to answer."""

    def _about_to_train(self, key: str) -> None:
        """What a backend does before a trainer is built for the adapter `key`."""

    def _rested(self) -> None:
        """What a backend takes off the model after training and after answering."""

    def _wanted(self, config: TrainConfig, start: Path | None) -> Any:
        path, revision = self.facts.path, self.facts.revision
        if start is not None:
            recorded = saved.peft_config(start, path, revision)
            if "dropout" in config.given:
                recorded.lora_dropout = config.dropout
            return self._trainable(recorded)
        plain = self._model.get_base_model() if self._adapted else self._model
        return self._trainable(peft_config(config, _Unwrapped(plain) if self._adapted else plain, path, revision))

    def _trainable(self, wanted: Any) -> Any:
        """`wanted`, unless it trains biases where bitsandbytes keeps casting them to float16.

        A gradient scaler, which float16 needs, takes no float16 gradients.
        """
        facts = self.facts
        if wanted.bias != "none" and facts.bits < 16 and facts.dtype == "float16" and facts.hardware.kind == "cuda":
            raise LoraError(
                f"bias {wanted.bias}: the biases of a {facts.bits}-bit base cannot be trained in float16.",
                "Leave --bias out, or load with --bits 16.",
            )
        return wanted

    def _add(self, key: str, wanted: Any) -> None:
        if self._adapted:
            self._model.add_adapter(key, wanted)
            return
        self._model = self._stack.peft.get_peft_model(self._model, wanted, adapter_name=key)
        self._adapted = True

    def activate(self, key: str | None) -> None:
        """Answer with the adapter `key`, or with the bare base for None."""
        self._biases.switch(key)
        if key is not None:
            self._model.set_adapter(key)
        self._switched(key)
        self._active = key

    def detach(self, key: str) -> None:
        """Take the adapter off; with the last one peft's wrapping goes too."""
        if self._active == key:
            self.activate(None)
        self._biases.drop(key)
        if list(self._model.peft_config) == [key]:
            wrapper = self._stack.peft.utils.ModulesToSaveWrapper
            for module in self._model.modules():
                if isinstance(module, wrapper) and key in module.modules_to_save:
                    module.modules_to_save[key] = module.original_module  # peft leaves what stands here in the base
            self._model = self._model.unload()
            self._model.requires_grad_(False)
            self._adapted = False
        else:
            if self._active is None:  # peft always has an active one, even while it is disabled
                self._model.set_adapter(next(k for k in self._model.peft_config if k != key))
            self._model.delete_adapter(key)
        self._collect()

    def combine(
        self, key: str, parts: Mapping[str, float], method: str, *, rank: int | None, density: float, seed: int
    ) -> None:
        """Put an adapter on the base that is a mixture of others, and make it active."""
        self._biases.switch(None)
        combining.combine(self._model, key, parts, method, rank=rank, density=density, seed=seed,
                          biased=[k for k in parts if self._biases.kind(k) != "none"])  # fmt: skip
        self._added(key)
        self.activate(key)

    def save(self, key: str, folder: Path) -> None:
        """Write the adapter as peft does, right in `folder`, or not at all."""
        if self._active != key:
            self.activate(key)
        with atomic_folder(folder, overwrite=True) as fresh:
            with self._bias_named(key):
                self._model.save_pretrained(fresh, selected_adapters=[key], safe_serialization=True)
            nested = fresh / key
            for file in nested.iterdir() if nested.is_dir() else ():
                file.rename(fresh / file.name)
            if nested.is_dir():
                nested.rmdir()
            (fresh / "README.md").unlink(missing_ok=True)

    def trainer(self, key: str, **parts: Any) -> Any:
        """trl's SFTTrainer for the adapter `key`."""
        self.activate(key)
        self._about_to_train(key)
        self._open_biases(key)
        trainer = build_trainer(self._stack, self._model, self.tokenizer, **parts)
        self._accelerator = trainer.accelerator
        return trainer

    def recompute(self, key: str, checkpointing: str, kept: int = 0, *, expanded: bool = False) -> None:
        """Have the next training steps recompute activations."""
        if not expanded:
            self._expanded.take_off()
        elif not self._expanded:
            self._expanded.put_on(self._model)
        if (checkpointing, kept) == self._recomputing:
            return
        if checkpointing != self._recomputing[0]:
            self._recompute(key, checkpointing)
        self._recomputing = (checkpointing, kept)
        layer = self._stack.transformers.modeling_layers.GradientCheckpointingLayer
        blocks = [module for module in self._model.modules() if isinstance(module, layer)]
        spared = {(i + 1) * len(blocks) // kept - 1 for i in range(min(kept, len(blocks)))}
        for number, block in enumerate(blocks):
            wanted = checkpointing != "off" and number not in spared
            if block.gradient_checkpointing != wanted:
                block.gradient_checkpointing = wanted

    def _recompute(self, key: str, checkpointing: str) -> None:
        """What a backend does to the model to recompute activations another way."""
        if checkpointing == "off":
            self._model.gradient_checkpointing_disable()
        else:
            self._model.gradient_checkpointing_enable({"use_reentrant": False})

    def after_training(self) -> None:
        """Take off what a trainer leaves on the model: checkpointing, hooks, gradients, training mode."""
        self._expanded.take_off()
        if self._accelerator is not None:  # takes mixed precision's wrapper off `forward`
            self._accelerator.unwrap_model(self._model, keep_fp32_wrapper=False)
            self._accelerator = None
            self._model.__dict__.pop("forward", None)
            self._model._is_accelerate_prepared = False  # else the next run goes without mixed precision
        self._model.gradient_checkpointing_disable()
        self._recomputing = ("off", 0)
        self._drop_input_hooks()
        self._model.zero_grad(set_to_none=True)
        self._biases.rest()
        self._model.eval()
        self._drop_optimizer_overrides()
        self._rested()
        self._collect()

    def _drop_optimizer_overrides(self) -> None:
        """bitsandbytes keeps every module that a trainer exempted from 8-bit states: a freed base's embeddings."""
        manager = self._stack.bitsandbytes.optim.GlobalOptimManager.get_instance()
        ours = {id(module) for module in self._model.modules()}
        manager.module_weight_config_triple = [
            kept for kept in manager.module_weight_config_triple if id(kept[0]) not in ours
        ]

    def generate(
        self,
        prompts: Sequence[list[int]],
        decoding: Decoding,
        made: Callable[[int, Answer], None] | None = None,
        seeds: Sequence[int] | None = None,
        heard: Callable[[int, str], None] | None = None,
    ) -> list[Answer]:
        """Answers of whatever is active, in the prompts' order."""
        with self._as_active() as model:
            try:
                return answers.generate(model, self.tokenizer, prompts, decoding, self._batches, made, seeds, heard)
            finally:
                self._rested()

    def losses(self, rows: Sequence[Row], progress: Callable[[int], None] | None = None) -> list[tuple[float, int]]:
        """Of each row, summed nats and trained tokens, by whatever is active."""
        with self._as_active() as model:
            return losses.losses(model, rows, self.tokenizer.pad_token_id, self._batches, progress)

    def logits(self, row: list[int]) -> Any:
        """Next-token logits of whatever is active, (tokens, vocabulary) in float32 on the CPU."""
        torch = self._stack.torch
        with self._as_active() as model, torch.no_grad():
            ids = torch.tensor([row], device=model.device)
            return model(input_ids=ids, use_cache=False).logits[0].float().cpu()

    def free(self) -> None:
        """Let go of every tensor."""
        self._model = self.tokenizer = None
        self._biases, self._expanded = Biases(), Expanded(self._stack)
        self._collect()

    @contextmanager
    def _as_active(self) -> Iterator[Any]:
        self._model.eval()
        if not self._adapted or self._active is not None:
            yield self._model
            return
        self._model.base_model.disable_adapter_layers()
        try:
            yield self._model
        finally:
            self._model.base_model.enable_adapter_layers()

    @contextmanager
    def _bias_named(self, key: str) -> Iterator[None]:
        """peft takes one adapter with biases at a time, so their kind stands in its config only where it is read."""
        config = self._model.peft_config[key]
        config.bias = self._biases.kind(key)
        try:
            yield
        finally:
            config.bias = "none"

    def _open_biases(self, key: str) -> None:
        kind = self._biases.kind(key)
        if kind == "none":
            return
        with self._bias_named(key):
            self._model.base_model._mark_only_adapters_as_trainable(self._model.base_model.model)
        if kind == "lora_only":
            for module in self._model.modules():  # peft opens those of every adapter's layers
                others = hasattr(module, "lora_A") and key not in module.lora_A
                if others and getattr(module, "bias", None) is not None:
                    module.bias.requires_grad_(False)

    def _drop_input_hooks(self) -> None:
        """Take off what has the embeddings' output require gradients: each call of it puts on one more."""
        if hasattr(self._model, "_require_grads_hook") or hasattr(self._model, "_require_grads_hooks"):
            self._model.disable_input_require_grads()
        hooks = self._model.get_input_embeddings()._forward_hooks
        for number, hook in list(hooks.items()):
            if getattr(hook, "__name__", "").startswith("make_inputs_require_grad"):
                del hooks[number]

    def _collect(self) -> None:
        gc.collect()
        if self._stack.torch.cuda.is_available():
            self._stack.torch.cuda.empty_cache()


class _Unwrapped:
    """A model that carries adapters, seen as it was without them: its layers by their own names."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.is_loaded_in_8bit = getattr(model, "is_loaded_in_8bit", False)

    def get_output_embeddings(self) -> Any:
        """The output head as loaded, whatever adapters have put around it."""
        head = self._model.get_output_embeddings()
        head = getattr(head, "original_module", head)
        return head.get_base_layer() if hasattr(head, "get_base_layer") else head

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """Own modules, peft's parts left out and its names dropped from theirs."""
        return self._own(self._model.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """Own parameters."""
        return self._own(self._model.named_parameters())

    def _own(self, named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        for name, part in named:
            if ".lora_" not in name and ".modules_to_save." not in name:
                yield name.replace(".base_layer", "").replace(".original_module", ""), part
