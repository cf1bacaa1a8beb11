"""The backend that runs anywhere: transformers, peft and bitsandbytes as they come."""

from __future__ import annotations

from types import SimpleNamespace

from lora_magic.backends.adapters import PeftBase
from lora_magic.backends.base import Phases
from lora_magic.backends.room import check_room, family, unused_card
from lora_magic.backends.weights import base_facts, choose_bits, load_model, load_tokenizer
from lora_magic.config import LoadConfig
from lora_magic.planning.hardware import compute_dtype, detect


class TransformersBase(PeftBase):
    """A base that transformers computes; see `backends.base.Base` for what each method promises."""


def load(stack: SimpleNamespace, config: LoadConfig, path: str, phases: Phases, *, why: str = "") -> TransformersBase:
    """Load a base with transformers from `path`, a folder or a Hub id that is on this disk.

    Args:
        stack: the imported modules.
        config: what was asked for.
        path: where the model is.
        phases: where the weights' loading is reported.
        why: the reason for this backend on a card, where Unsloth would be faster.

    Raises:
        LoraError: not a model, or not loadable here.
    """
    hardware = detect()
    bits, bits_reason = choose_bits(config, path, hardware)
    check_room(path, config, hardware, bits)
    dtype, dtype_reason = compute_dtype(hardware, config.dtype, bits, family(path, config))
    tokenizer = load_tokenizer(stack, config, path)
    model = load_model(stack, config, path, hardware, bits, phases)
    reasons = [(f"{bits}-bit", bits_reason), (dtype, dtype_reason)]
    if why and hardware.kind == "cuda":
        reasons.append(("transformers", why))
    if unused := unused_card(hardware, stack.torch.__version__, stack.torch.version.cuda):
        reasons.append(("CPU", unused))
    facts = base_facts("transformers", model, config, path, hardware, bits, (dtype, dtype_reason), reasons)
    return TransformersBase(stack, model, tokenizer, facts)
