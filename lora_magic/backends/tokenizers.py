"""A model's tokenizer without its weights, to look at data before anything large is loaded."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from lora_magic.backends.base import Phases
from lora_magic.backends.fetch import resolve
from lora_magic.backends.weights import load_tokenizer
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError
from lora_magic.interrupts import held_back


def tokenizer_of(model: str, phases: Phases) -> Any:
    """The tokenizer of `model`: demo, a folder or a Hub id.

    Raises:
        LoraError: there is no such model, or no tokenizer in it.
    """
    config = LoadConfig(model)
    path = resolve(config, phases, tokenizer_alone=True)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with phases.phase("imports"):
        try:
            with held_back():
                import transformers
        except ImportError as error:
            raise LoraError(f"transformers does not import: {error}.", "pip install -U transformers") from None
        transformers.utils.logging.set_verbosity_error()
    with phases.phase("tokenizer"):
        return load_tokenizer(SimpleNamespace(transformers=transformers), config, path)
