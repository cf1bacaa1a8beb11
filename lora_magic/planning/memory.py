"""How much memory of a card a run allocates at its peak, by part, from shapes alone.

What autograd keeps was read in the sources and counted with `torch.autograd.graph.saved_tensors_hooks`:
transformers 5.17 with peft 0.21 (`tests/planning/test_memory.py` holds it to the byte), and Unsloth 2026.10.9
(`kernels/fast_lora.py`, `rms_layernorm.py`, `rope_embedding.py`, `utils/attention_dispatch.py`; unsloth_zoo's
`gradient_checkpointing.py` and `fused_losses/fused_linear.py`). What dropout and DoRA add is in
`variants.py`. NF4 is QLoRA's (arXiv:2305.14314, section 3). Only the coefficients in `calibration.json` are measured.
Sizes are what torch's allocator reports; the CUDA context is not among them.
"""

from __future__ import annotations

from collections.abc import Callable

from lora_magic.planning.architecture import Architecture
from lora_magic.planning.calibration import coefficient
from lora_magic.planning.setting import FULL, HALF, Setting
from lora_magic.planning.variants import (
    dora_fixed,
    dora_forward,
    dora_outputs,
    masks,
    own_inputs,
    trainable,
    unfused,
    wide,
)

GIB = 2**30
NF4_BLOCK, NF4_NESTED = 64, 256
OFFLOADED_FROM = 2 * 2**20
"""Unsloth leaves layer inputs of fewer bytes on the card."""
OFFLOAD_BUFFERS = 3
"""Layer inputs on the card under Unsloth's offload: two staging buffers and the last layer's own."""
TRL_CHUNK = 256

STATE_BYTES = {"adamw": 8.0, "adamw-8bit": 2 + 8 / 256, "paged-adamw-8bit": 0.0, "adafactor": 0.0, "sgd": 0.0}
"""Bytes an element of the optimiser's states, as far as torch allocates them (paged states are managed memory)."""
UPDATE_BYTES = {"adamw": 0.0, "adamw-8bit": 0.0, "paged-adamw-8bit": 0.0, "adafactor": 8.0, "sgd": 0.0}
"""Bytes an element that one update needs beside them."""


def parts(model: Architecture, setting: Setting) -> dict[str, float]:
    """Bytes allocated at the peak, by part; their sum is the peak.

    The peak is the largest of five moments: the last DoRA layer's forward pass, the loss, the first block's backward
    pass (the last of the model), the last one's, and the optimiser's update. Gradients are there in the first three
    only after an earlier micro-batch. A block that is computed again holds the gradient that it waits to pass on.
    """
    trained = trainable(model, setting)
    stay = {
        "weights": weights(model, setting.bits, full=setting.full) + HALF * model.linear * setting.expanded,
        "adapter": 0.0 if setting.full else float(trained * FULL),
        "optimiser": STATE_BYTES[setting.optimizer] * trained,
        "workspace": workspace(model, setting) + coefficient("memory", "fixed_mib") * 2**20,
    }
    gradients = float(trained * FULL)
    before = gradients if setting.accumulation > 1 else 0.0
    held, block = held_activations(model, setting), block_backward(model, setting)
    again = setting.checkpointing != "off" and setting.kept < model.layers
    recomputed = kept_by_block(model, setting) if again else 0.0
    update = UPDATE_BYTES[setting.optimizer] * trained
    forward = float(dora_forward(model, setting))
    coming = stream(model, setting) if again and setting.dora else 0
    moments = (
        {"gradients": before, "activations": held + recomputed + coming, "logits": 0.0, "beside": forward},
        {"gradients": before, "activations": held + 3 * stream(model, setting), "logits": logits(model, setting)},
        {"gradients": before, "activations": held + recomputed + block, "logits": 0.0},
        {"gradients": gradients, "activations": kept_by_block(model, setting) + block, "logits": 0.0},
        {"gradients": gradients, "activations": 0.0, "logits": 0.0, "beside": update},
    )
    worst = max(moments, key=lambda moment: sum(moment.values()))
    stay["workspace"] += worst.pop("beside", 0.0)
    return {name: {**stay, **worst}[name] for name in PARTS}


PARTS = ("weights", "adapter", "gradients", "optimiser", "activations", "logits", "workspace")


def peak(model: Architecture, setting: Setting) -> float:
    """Bytes allocated at the peak."""
    return sum(parts(model, setting).values())


def weights(model: Architecture, bits: int, *, full: bool = False) -> float:
    """Bytes of the base's weights.

    NF4 is half a byte, one byte of scale for 64 weights and a float32 for 256 scales (double quantisation);
    8 bits have a float32 scale a row. Embeddings, head, norms and biases stay in 16 bits.
    """
    if full or bits == 32:
        return float(model.parameters * FULL)
    if bits == 16:
        return float(model.parameters * HALF)
    rest = float((model.embedding + model.small) * HALF)
    if bits == 8:
        return rest + model.linear + model.layers * FULL * sum(p.outputs for p in model.projections)
    return rest + model.linear * (0.5 + 1 / NF4_BLOCK + FULL / (NF4_BLOCK * NF4_NESTED))


def workspace(model: Architecture, setting: Setting) -> float:
    """Bytes of the largest layer's weights dequantised, and of 16-bit copies of trained weights.

    Unsloth keeps one buffer for good and dequantises into a second in the backward pass; bitsandbytes makes one at
    a time, and so does Unsloth with dropout. Under automatic mixed precision torch keeps a 16-bit copy of each weight
    that peft trains until the step's end.
    """
    if setting.full:
        return float(model.parameters * HALF)
    copies = trainable(model, setting) * HALF if setting.by_peft else 0
    if setting.bits > 8:
        return float(copies)
    buffers = 1 if setting.by_peft or setting.drops else 2
    return float(buffers * model.largest * HALF + copies)


def kept_by_block(model: Architecture, setting: Setting) -> float:
    """Bytes that one block keeps for its backward pass."""
    each = _KEPT[setting.backend](model, setting)
    tokens = setting.tokens * each * coefficient("memory", "activations", setting.backend)
    return tokens + dora_fixed(model, setting)


def stream(model: Architecture, setting: Setting) -> int:
    """Bytes of the residual stream, which is also a block's input."""
    return setting.tokens * model.hidden * (FULL if wide(model, setting) else HALF)


def _attention(model: Architecture, setting: Setting) -> float:
    """Bytes a token: queries, keys, values and output in 16 bits, and the softmax's float32 sums.

    Where every score is kept Unsloth attends to rows that lie end to end one after the other, and joins their outputs
    in a copy.
    """
    keys = model.keys if setting.attention == "flash" else model.queries
    outputs = 2 if setting.backend == "unsloth" and setting.attention == "math" and not setting.padded else 1
    scores = 2 * model.heads * setting.longest * HALF if setting.attention == "math" else 0
    return HALF * ((1 + outputs) * model.queries + 2 * keys) + FULL * model.heads + scores


def _kept_unsloth(model: Architecture, setting: Setting) -> float:
    """Norms keep their inputs, the fused layers theirs; the MLP keeps gate and up and computes the rest again."""
    size = FULL if wide(model, setting) else HALF
    norms = model.stream_norms * (size * model.hidden + FULL)
    heads = size * (model.queries + model.keys) if model.head_norms else 0
    kept = norms + heads + _attention(model, setting)
    if setting.dora:
        return kept + _kept_by_peft(model, setting)
    dropped = HALF * sum(p.inputs for p in unfused(model, setting)) if setting.drops else 0
    return kept + HALF * 2 * model.hidden + HALF * 2 * model.intermediate + masks(model, setting) + dropped


def _kept_transformers(model: Architecture, setting: Setting) -> float:
    """Norms keep their inputs in float32, as do those over heads."""
    norms = model.stream_norms * (FULL * model.hidden + FULL)
    heads = FULL * (model.queries + model.keys + model.heads + model.kv_heads) if model.head_norms else 0
    mask = HALF * setting.longest if setting.padded else 0
    return norms + heads + mask + _attention(model, setting) + _kept_by_peft(model, setting)


def _kept_by_peft(model: Architecture, setting: Setting) -> float:
    """Each adapted layer keeps a 16-bit copy of its input, the MLP three products."""
    inputs = HALF * sum(p.inputs for p in own_inputs(model, setting))
    ranks = HALF * setting.rank * len(model.targets(setting.target))
    products = (FULL if wide(model, setting) else HALF) * 3 * model.intermediate
    return inputs + ranks + products + masks(model, setting) + dora_outputs(model, setting)


_KEPT: dict[str, Callable[[Architecture, Setting], float]] = {
    "unsloth": _kept_unsloth,
    "transformers": _kept_transformers,
}


def held_activations(model: Architecture, setting: Setting) -> float:
    """Bytes that all blocks hold when the forward pass ends.

    The inputs that Unsloth's offload leaves on the card for being small count as if they were offloaded a little
    later, so that more tokens never take less.
    """
    if setting.checkpointing == "off":
        return model.layers * kept_by_block(model, setting)
    kept = min(setting.kept, model.layers)
    each = stream(model, setting)
    inputs = (model.layers - kept) * each
    if setting.checkpointing == "offload":
        small = min(inputs, (model.layers - kept) * OFFLOADED_FROM)
        inputs = min(inputs, max(OFFLOAD_BUFFERS * each, small))
    return kept * kept_by_block(model, setting) + inputs


def block_backward(model: Architecture, setting: Setting) -> float:
    """Bytes that a block's backward pass needs beside what the block kept.

    Unsloth's MLP writes into what was kept and makes one gradient as wide as the MLP, with dropout three at a time;
    peft's goes through float32. In attention the gradients of queries, keys and values are made for every head, then
    turned back and summed.
    """
    attention = HALF * (6 * model.queries + 2 * model.hidden)
    mlp = HALF * (model.intermediate + 2 * model.hidden)
    dropped = HALF * (3 * model.intermediate + 2 * model.hidden) if setting.drops else 0
    if setting.by_peft:
        mlp = (2 * HALF + 2 * FULL) * model.intermediate + 2 * FULL * model.hidden
        dropped = 0
    if setting.attention == "math":
        attention += 2 * model.heads * setting.longest * HALF
    fitted = coefficient("memory", "backward", "transformers" if setting.by_peft else "unsloth")
    return setting.tokens * max(max(attention, mlp) * fitted, dropped)


def logits(model: Architecture, setting: Setting) -> float:
    """Bytes of the logits and of what the loss makes of them, as far as they are there at once."""
    kind = setting.loss or ("fused" if setting.backend == "unsloth" else "full")
    if kind == "full":
        rows = setting.tokens
    elif kind == "chunked":
        rows = min(TRL_CHUNK, setting.tokens)
    else:
        rows = fused_rows(setting.tokens, model.hidden, model.vocabulary)
    return rows * model.vocabulary * coefficient("memory", "bytes_a_logit", kind)


def fused_rows(tokens: int, hidden: int, vocabulary: int) -> int:
    """Rows of logits that Unsloth's fused loss makes at once.

    A power of two at or below tokens x hidden / vocabulary, at least 512 and what 512 rows of 151,936 amount to, at
    most 4,096 and the tokens there are.
    """
    least = max(512, _power_below(512 * 151_936 / vocabulary))
    return max(1, min(tokens, 4096, max(_power_below(tokens * hidden / vocabulary), least)))


def _power_below(x: float) -> int:
    return 1 << (max(1, int(x)).bit_length() - 1)
