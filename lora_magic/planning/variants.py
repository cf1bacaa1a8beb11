"""What dropout and DoRA add to a run's memory.

Read in the sources and counted like the rest of `memory.py`.

Dropout, peft 0.21: a layer keeps a mask of a byte an element (torch's fused kernel on cards) and the dropped input.
Unsloth 2026.10.9 (`kernels/fast_lora.py`) keeps the mask alone and makes the dropped input again; it dequantises
without the buffer that it else keeps for good. Layers that it does not fuse are peft's.

DoRA, peft 0.21 (`tuners/lora/dora.py`, `variants.py`, `bnb.py`): the base's output and the adapter's are kept for the
magnitude's gradient. The norm of W + sBA is taken over whole matrices, in the input's precision, from A and B applied
to a unit matrix. With dropout the base's output is computed again from the dropped input, which keeps the dequantised
weight for the backward pass. On a 4-bit base the output stays in float32 under automatic mixed precision, and so do
the residual stream and the MLP after it. Unsloth fuses no layer that has magnitudes: they are computed by peft.
"""

from __future__ import annotations

from lora_magic.planning.architecture import Architecture, Projection
from lora_magic.planning.setting import FULL, HALF, Setting

FUSED = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj", "down_proj"))
"""Projections that one of Unsloth's functions computes together, if all of them are adapted and none has a bias."""
INTO_ATTENTION = ("q_proj", "k_proj", "v_proj", "qkv_proj")


def trainable(model: Architecture, setting: Setting) -> int:
    """Elements that are trained: the adapter, DoRA's magnitudes, and biases."""
    if setting.full:
        return model.parameters
    targets = model.targets(setting.target)
    magnitudes = sum(p.outputs for p in targets) if setting.dora else 0
    biased = {"none": (), "lora_only": targets, "all": model.projections}[setting.bias]
    biases = sum(p.outputs for p in biased if p.bias)
    return model.adapter(setting.rank, setting.target) + model.layers * (magnitudes + biases)


def wide(model: Architecture, setting: Setting) -> bool:
    """The residual stream is in float32: DoRA's outputs on a 4-bit base reach it.

    Those of the layers before attention do not, since attention computes in 16 bits.
    """
    reaching = any(p.name not in INTO_ATTENTION for p in model.targets(setting.target))
    return setting.dora and setting.bits == 4 and reaching


def own_inputs(model: Architecture, setting: Setting) -> tuple[Projection, ...]:
    """Of the layers that peft computes, those that keep a 16-bit copy of their input for themselves.

    Attention's output is in 16 bits and kept already; only a layer that casts or drops it has a copy.
    """
    shared = wide(model, setting) and not setting.drops
    return tuple(p for p in model.targets(setting.target) if not (shared and p.name == "o_proj"))


def masks(model: Architecture, setting: Setting) -> int:
    """Bytes a token of one block's dropout masks."""
    return sum(p.inputs for p in model.targets(setting.target)) if setting.drops else 0


def unfused(model: Architecture, setting: Setting) -> tuple[Projection, ...]:
    """Adapted layers that Unsloth leaves to peft."""
    targets = model.targets(setting.target)
    plain = {p.name for p in targets if not p.bias and not setting.dora}
    fused = {name for group in FUSED if plain.issuperset(group) for name in group}
    return tuple(p for p in targets if p.name not in fused)


def dora_outputs(model: Architecture, setting: Setting) -> int:
    """Bytes a token of the outputs that one block keeps for DoRA: the base's and the adapter's of each layer."""
    if not setting.dora:
        return 0
    full = wide(model, setting) and not setting.drops
    bases = {p: FULL if full and p.name != "o_proj" else HALF for p in model.targets(setting.target)}
    return sum((size + HALF) * p.outputs for p, size in bases.items())


def dora_fixed(model: Architecture, setting: Setting) -> int:
    """Bytes that one block keeps for DoRA whatever the tokens: three vectors of norms and scales in float32 a layer.

    With dropout also each layer's weight in 16 bits.
    """
    if not setting.dora:
        return 0
    targets = model.targets(setting.target)
    again = HALF * sum(p.weights for p in targets) if setting.drops else 0
    return 3 * FULL * sum(p.outputs for p in targets) + again


def dora_forward(model: Architecture, setting: Setting) -> int:
    """Bytes that the worst DoRA layer needs for a moment of its forward pass, beside what its block keeps.

    Three moments: a unit matrix of inputs x inputs in float32 and in 16 bits with the product BA in 16 bits; the 16-bit
    unit matrix with BA, W, sBA and their sum in float32; and the unit matrix, BA and W with three outputs in float32.
    The input is there in float32, with dropout twice, and in 16 bits where the stream is.
    """
    if not setting.dora:
        return 0
    each = FULL * (2 if setting.drops else 1) + (0 if wide(model, setting) else HALF)
    return max(each * setting.tokens * p.inputs + _dora_layer(p, setting) for p in model.targets(setting.target))


def _dora_layer(layer: Projection, setting: Setting) -> int:
    unit, matrix = layer.inputs**2, layer.weights
    outputs = (3 * FULL + (HALF if setting.drops else 0)) * layer.outputs * setting.tokens
    return max(
        (FULL + HALF) * unit + HALF * matrix,
        HALF * unit + 4 * FULL * matrix,
        HALF * unit + 2 * FULL * matrix + outputs,
    )
