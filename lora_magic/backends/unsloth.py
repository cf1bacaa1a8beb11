"""The fast backend: Unsloth's kernels under the same adapters, trainer and answers as everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from lora_magic.backends.adapters import PeftBase
from lora_magic.backends.base import BaseFacts, Phases
from lora_magic.backends.fetch import config_json, local_folder
from lora_magic.backends.fused import Fused, adapted_layers, alone, carries
from lora_magic.backends.garbage import old_objects_set_aside
from lora_magic.backends.room import check_room
from lora_magic.backends.stack import check_bitsandbytes, silence_unsloth
from lora_magic.backends.weights import (
    base_facts,
    choose_bits,
    explained,
    load_tokenizer,
    mend_quantised,
    weight_progress,
)
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError
from lora_magic.planning.hardware import Hardware, compute_dtype, detect

# Its own keeps block inputs in the machine's memory; for models of short rows it takes plain recomputing itself.
CHECKPOINTING: dict[str, str | bool] = {"off": False, "on": True, "offload": "unsloth"}
# What writes into the base's embeddings: (module, function).
OVERWRITING = (
    ("unsloth.tokenizer_utils", "zero_pad_embedding_rows"),
    ("unsloth_zoo.tokenizer_utils", "fix_untrained_tokens"),
)


def load(stack: SimpleNamespace, config: LoadConfig, path: str, phases: Phases, *, why: str = "") -> UnslothBase:
    """Load a base with Unsloth from `path`, a folder or a Hub id that is on this disk.

    Args:
        stack: the imported modules, Unsloth among them.
        config: what was asked for.
        path: where the model is.
        phases: where the weights' loading is reported.
        why: a note on this backend for the user.

    Raises:
        LoraError: not a model, or not loadable here.
    """
    hardware = detect()
    bits, bits_reason = choose_bits(config, path, hardware)
    check_room(path, config, hardware, bits)
    dtype, dtype_reason = compute_dtype(hardware, config.dtype, bits)
    if bits == 4:
        check_bitsandbytes(stack)
    if hardware.kind == "cuda" and dtype == "bfloat16" and hardware.capability < (8, 0):
        raise LoraError(
            f"{hardware.name} has no bfloat16, and Unsloth would take float16 for it.",
            "Leave --dtype out, or restart the kernel and load with --backend transformers.",
        )
    tokenizer = load_tokenizer(stack, config, path)
    model = _load_model(stack, config, path, hardware, bits, dtype, phases)
    reasons = [(f"{bits}-bit", bits_reason), (dtype, dtype_reason)]
    if why:
        reasons.append(("Unsloth", why))
    facts = base_facts("unsloth", model, config, path, hardware, bits, (dtype, dtype_reason), reasons)
    return UnslothBase(stack, model, tokenizer, facts)


def _load_model(
    stack: SimpleNamespace, config: LoadConfig, path: str, hardware: Hardware, bits: int, dtype: str, phases: Phases
) -> Any:
    """Unsloth's model with frozen weights. Of the names and files it takes exactly what lies in the folder."""
    torch = stack.torch
    longest = config_json(path, config).get("max_position_embeddings") or config.max_length
    try:
        with phases.phase("weights"), weight_progress(stack, phases), _base_as_it_is():
            model, _ = stack.unsloth.FastLanguageModel.from_pretrained(
                str(local_folder(path, config)), max_seq_length=min(config.max_length, longest),
                dtype=getattr(torch, dtype), load_in_4bit=bits == 4, load_in_16bit=bits == 16,
                device_map={"": 0 if hardware.kind == "cuda" else "cpu"}, use_gradient_checkpointing=False,
                use_exact_model_name=True, fix_tokenizer=False, offload_embedding=False, local_files_only=True,
                use_safetensors=True,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RuntimeError, stack.safetensors_error) as error:
        raise explained(config, error) from None
    silence_unsloth()  # it imports more of itself while it loads
    quantised = any(isinstance(module, stack.bitsandbytes.nn.Linear4bit) for module in model.modules())
    if (bits == 4) != quantised:
        raise LoraError(
            f"Unsloth did not load {config.model} at {bits} bits.", "Load with --backend transformers, or --bits 16."
        )
    model.requires_grad_(False)
    mend_quantised(stack, model.eval(), getattr(torch, dtype))
    return model


class UnslothBase(PeftBase):
    """A base that Unsloth computes; see `backends.base.Base` for what each method promises.

    Adapters are put on with peft, as for every backend, since Unsloth's own call names all of them "default",
    refuses a second one and seeds the whole process. What makes it fast is the function that fits Unsloth's
    kernels to a model with adapters; it runs for each adapter as if that were alone, and what it put on the
    layers is swapped along with the adapter. On a CPU there are no such kernels and nothing is swapped.
    """

    def __init__(self, stack: SimpleNamespace, model: Any, tokenizer: Any, facts: BaseFacts) -> None:
        super().__init__(stack, model, tokenizer, facts)
        self._fast = stack.unsloth.FastLanguageModel
        self._fused = Fused(model)
        self._bars = False
        self._rested()

    def detach(self, key: str) -> None:
        """Take the adapter off, and Unsloth's functions for it."""
        super().detach(key)
        self._fused.drop(key)

    def fused_functions(self, key: str) -> int:
        """How many of Unsloth's fused functions the adapter `key` has on the model's layers."""
        return self._fused.count(key)

    def trainer(self, key: str, **parts: Any) -> Any:
        """trl's SFTTrainer for the adapter `key`, as Unsloth rewrote it, which keeps its hands off the base."""
        with _base_as_it_is():
            return super().trainer(key, **parts)

    def after_training(self) -> None:
        """Take off what a trainer leaves on the model, and Unsloth's checkpointing out of torch."""
        super().after_training()
        self._checkpoint(False)
        if self._bars:
            _datasets().enable_progress_bars()
            self._bars = False

    def free(self) -> None:
        """Let go of every tensor."""
        self._fused = Fused(None)
        super().free()

    def _added(self, key: str) -> None:
        self._fit(key, False)

    def _switched(self, key: str | None) -> None:
        """Fused functions of this adapter; layers that it is not on answer as the base does.

        Without the latter Unsloth looks the adapter up on every layer that has any, and fails.
        """
        self._fused.switch(key)
        if key is not None:
            for layer in adapted_layers(self._model):
                layer.enable_adapters(carries(layer._modules, key))

    def _about_to_train(self, key: str) -> None:
        if not _datasets().are_progress_bars_disabled():  # its trainer looks all held-out rows through
            _datasets().disable_progress_bars()
            self._bars = True
        self._fit(key, False)
        self._switched(key)

    def recompute(self, key: str, checkpointing: str, kept: int = 0, *, expanded: bool = False) -> None:
        """Have the next training steps recompute activations; between steps compiled functions may give up, too."""
        super().recompute(key, checkpointing, kept, expanded=expanded)
        settle_compiled()

    def _recompute(self, key: str, checkpointing: str) -> None:
        wanted = CHECKPOINTING[checkpointing]
        self._fit(key, wanted)
        self._switched(key)
        self._fast.for_training(self._model, use_gradient_checkpointing=self._checkpoint(wanted))
        if not wanted:
            self._drop_input_hooks()

    def _fit(self, key: str, checkpointing: str | bool) -> None:
        """Have Unsloth fit its kernels to the adapter `key`, and its way of checkpointing to the run."""
        self._model.set_adapter(key)
        self._fused.switch(None)
        mode = self._checkpoint(checkpointing)
        patch = getattr(self._fast, "patch_peft_model", None)
        if patch is not None:
            with alone(self._model, key), old_objects_set_aside():  # it collects garbage again and again
                patch(self._model, use_gradient_checkpointing=mode)
        if not checkpointing:
            self._drop_input_hooks()
        self._fused.keep(key)

    def _checkpoint(self, wanted: str | bool) -> str | bool:
        """Put Unsloth's checkpointing into torch, or for False take it out; what it made of the wish."""
        if self.facts.hardware.kind != "cuda":
            return bool(wanted)
        from unsloth.models._utils import apply_unsloth_gradient_checkpointing

        dtype = getattr(self._stack.torch, self.facts.dtype)
        mode: str | bool = apply_unsloth_gradient_checkpointing(wanted, self.facts.max_length, dtype)
        return mode

    def _rested(self) -> None:
        """Undo what training and answering leave: modes, caches of answers, the run's gradient scaler."""
        self._fast.for_training(self._model, use_gradient_checkpointing=False)
        self._model.eval()
        self._drop_input_hooks()
        for module in self._model.modules():
            own = vars(module)
            own.pop("accelerator_scaler", None)
            for hook in own.pop("_unsloth_pretrain_marker", {}).values():  # takes our steps for somebody else's
                if hasattr(hook, "remove"):
                    hook.remove()
            for name in [name for name in own if name.startswith("paged_attention")]:
                del own[name]


def settle_compiled() -> None:
    """Have functions that were compiled too often run plainly from here on, which Unsloth puts off to between steps."""
    try:
        from unsloth_zoo.temporary_patches.utils import apply_pending_eager_fallbacks
    except ImportError:
        return
    apply_pending_eager_fallbacks()


def _datasets() -> Any:
    import datasets

    return datasets


@contextmanager
def _base_as_it_is() -> Iterator[None]:
    """Inside, Unsloth does not overwrite rows of the base's embeddings: the pad token's, and those it finds untrained.

    The first goes when a model is loaded, the second when a trainer is built, which also refuses some models for
    them. A row of zeros is the base's own business: the adapter is trained for the base as its file has it.
    """
    found = [(vars(sys.modules[module]), name) for module, name in OVERWRITING if module in sys.modules]
    before = [(names, name, names[name]) for names, name in found if name in names]
    for names, name, _ in before:
        names[name] = _nothing
    try:
        yield
    finally:
        for names, name, function in before:
            names[name] = function


def _nothing(*_: Any, **__: Any) -> None:
    """Stands for what would change the base."""
