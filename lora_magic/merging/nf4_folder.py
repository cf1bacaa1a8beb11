"""Which weights of a merged model are written in NF4, and what its config.json says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_magic.errors import LoraError
from lora_magic.merging.nf4 import SETTINGS
from lora_magic.merging.originals import Originals
from lora_magic.merging.updates import Plan, finder
from lora_magic.merging.write import Shard


def packable(originals: Originals, plan: Plan, trust_remote_code: bool) -> frozenset[str]:
    """Names of the outputs that are weights of linear layers, the output head aside.

    Raises:
        LoraError: the model has none, or its linear layers lie transposed.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    from lora_magic.merging.skeleton import skeleton

    model = skeleton(originals.folder, trust_remote_code)
    head = model.get_output_embeddings()
    find = finder({output.parameter: output for output in plan.outputs})
    names = set()
    for name, module in model.named_modules():
        if isinstance(module, Conv1D):
            raise LoraError(f"{name} lies transposed, which is not written in 4 bits.", "Leave --to 4bit out.")
        if type(module) is nn.Linear and module is not head:
            found = find(f"{name}.weight")
            if found is None:
                raise LoraError(f"The files hold no weight {name}.weight.", "Leave --to 4bit out.")
            names.add(found.name)
    if not names:
        raise LoraError("The model has no linear layers that could be written in 4 bits.", "Leave --to 4bit out.")
    return frozenset(names)


def quantisation_config(shards: Sequence[Shard], dtype: str) -> dict[str, Any]:
    """`quantization_config` for the config.json of a folder with packed weights.

    Args:
        shards: what was written.
        dtype: torch's name of what the layers compute in.
    """
    entries = [entry for shard in shards for entry in shard.entries]
    if all(entry.part is None for entry in entries):
        return {}
    plain = {entry.name.removesuffix(".weight") for entry in entries if entry.part is None and len(entry.shape) == 2}
    return {**SETTINGS, "bnb_4bit_compute_dtype": dtype, "llm_int8_skip_modules": sorted(plain | {"lm_head"})}
