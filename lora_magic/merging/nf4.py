"""bitsandbytes' 4-bit format in safetensors: a weight and the tensors that say how to unpack it.

A packed weight `x.weight` lies beside `x.weight.absmax`, `.quant_map`, `.nested_absmax`, `.nested_quant_map` and
`.quant_state.bitsandbytes__nf4`, a JSON text as bytes. QLoRA (arXiv:2305.14314, sections 3 and 4) describes NF4
and double quantisation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from lora_magic.errors import LoraError
from lora_magic.merging.tensors import CODES, Reader, Stored

if TYPE_CHECKING:
    import torch

BLOCK, NESTED_BLOCK = 64, 256
"""Values that share an absolute maximum, and such maxima that share one of their own (bitsandbytes' defaults)."""

STATE = "quant_state.bitsandbytes__nf4"
SETTINGS: Mapping[str, Any] = {
    "quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True, "bnb_4bit_quant_storage": "uint8",
}  # fmt: skip
"""`quantization_config` of a folder that is written in this format; the compute dtype and what is left out join."""

_STATES = (STATE, "quant_state.bitsandbytes__fp4")
_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map", *_STATES)
_STATE_BYTES = 320


def paired(weights: Mapping[str, Stored]) -> dict[str, Stored]:
    """`weights` with every packed weight and its parts made into one entry; others as they are.

    Raises:
        LoraError: a packed weight lacks a part, or its state cannot be read.
    """
    parts: dict[str, dict[str, Stored]] = {}
    for name, stored in weights.items():
        for part in _PARTS:
            if name.endswith(f".{part}"):
                parts.setdefault(name.removesuffix(f".{part}"), {})[part] = stored
    taken = {stored.name for found in parts.values() for stored in found.values()}
    made = {}
    with Reader() as reader:
        for name, stored in weights.items():
            if name not in taken:
                made[name] = _packed(stored, parts[name], reader) if name in parts else stored
    return made


def _packed(stored: Stored, parts: Mapping[str, Stored], reader: Reader) -> Stored:
    try:
        state_name = next(part for part in parts if part in _STATES)
        state = json.loads(bytes(reader.read(parts[state_name]).tolist()).decode())
        shape, dtype = tuple(int(size) for size in state["shape"]), CODES[str(state["dtype"])]
    except (StopIteration, ValueError, KeyError, TypeError) as error:
        raise LoraError(
            f"{stored.name} in {stored.file} lacks a readable state of its quantisation.", "Download it again."
        ) from error
    return Stored(stored.name, stored.file, shape, dtype, stored.start, {"weight": stored, **parts})


def unpacked(parts: Mapping[str, torch.Tensor], stored: Stored) -> torch.Tensor:
    """A packed weight in float32, (outputs, inputs).

    Args:
        parts: the packed values as "weight", and the others by the ends of their names.
        stored: the weight, for its shape and the message.

    Raises:
        LoraError: the parts do not belong together.
    """
    import torch
    from bitsandbytes.functional import QuantState, dequantize_4bit

    rest: Any = {name: part for name, part in parts.items() if name != "weight"}
    try:
        state = QuantState.from_dict(rest, torch.device("cpu"))
        state.dtype = torch.float32  # the packed values are exact in it; a narrower one would round them again
        weight: torch.Tensor = dequantize_4bit(parts["weight"], state).reshape(stored.shape)
    except (AssertionError, ValueError, KeyError, RuntimeError) as error:
        problem = f"{stored.name} in {stored.file} cannot be unpacked ({error})."
        raise LoraError(problem, "Download it again.") from error
    return weight


def part_shapes(values: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """(safetensors dtype, shape) of each part of a packed weight, in an order that keeps float32 values aligned.

    Args:
        values: how many the weight holds.
    """
    blocks = ceil(values / BLOCK)
    packed = ceil(values / 2)
    filled = (blocks + packed + _STATE_BYTES) % 8
    return {
        "absmax": ("U8", (blocks,)),
        "": ("U8", (packed, 1)),
        STATE: ("U8", (_STATE_BYTES + (8 - filled) % 8,)),
        "nested_absmax": ("F32", (ceil(blocks / NESTED_BLOCK),)),
        "nested_quant_map": ("F32", (256,)),
        "quant_map": ("F32", (16,)),
    }


def quantised(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """A weight in NF4 with double quantisation, as the parts that `part_shapes` names, on the CPU.

    Args:
        weight: (outputs, inputs), in the dtype that it is to be computed in.
    """
    import torch
    from bitsandbytes.functional import quantize_4bit

    packed, state = quantize_4bit(weight.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4")
    parts: dict[str, torch.Tensor] = state.as_dict(packed=True)
    shapes = part_shapes(weight.numel())
    text = bytes(parts[STATE].tolist()).ljust(shapes[STATE][1][0])  # JSON may end in spaces
    parts = {**parts, "": packed, STATE: torch.tensor(list(text), dtype=torch.uint8)}
    return {name: parts[name].cpu().reshape(shape) for name, (_, shape) in shapes.items()}
