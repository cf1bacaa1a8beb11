"""The one place that imports the training stack, in the order that it needs."""

from __future__ import annotations

import logging
import os
import warnings
from types import SimpleNamespace

from lora_magic.errors import LoraError
from lora_magic.interrupts import held_back


def import_stack() -> SimpleNamespace:
    """torch, bitsandbytes, transformers, peft and trl, quiet and without progress bars of their own.

    The environment is set before the first import: tokenizers must not fork warnings, and trl's experimental
    notices and the Hub's widget bars do not belong into a notebook.

    Returns:
        The modules by name.

    Raises:
        LoraError: a package is missing or does not import, with what to install.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    # On some CPUs bitsandbytes looks for an optional kernel package and warns that there is none.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        with held_back(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # isort: off
            import torch
            import bitsandbytes
            import transformers
            import peft
            import trl
            from safetensors import SafetensorError
            from trl import SFTConfig, SFTTrainer
            # isort: on
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        raise LoraError(
            f"The training stack does not import: {error}.", f"pip install -U {name or 'lora_magic'}"
        ) from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return SimpleNamespace(
        torch=torch, bitsandbytes=bitsandbytes, transformers=transformers, peft=peft, trl=trl,
        SFTTrainer=SFTTrainer, SFTConfig=SFTConfig, safetensors_error=SafetensorError,
    )  # fmt: skip
