"""How much memory of a card a run allocates at its peak, by part, from shapes alone.

What autograd keeps was read in the sources and counted with `torch.autograd.graph.saved_tensors_hooks`:
transformers 5.17 with peft 0.21 (`tests/planning/test_memory.py` holds it to the byte), and Unsloth 2026.10.9
(`kernels/fast_lora.py`, `rms_layernorm.py`, `rope_embedding.py`, `utils/attention_dispatch.py`; unsloth_zoo's
`gradient_checkpointing.py` and `fused_losses/fused_linear.py`). NF4 is QLoRA's (arXiv:2305.14314, section 3). Only
the coefficients in `calibration.json` are measured. Sizes are what torch's allocator reports; the CUDA context is
not among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lora_magic.planning.architecture import Architecture
from lora_magic.planning.calibration import coefficient

GIB = 2**30
HALF, FULL = 2, 4
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


@dataclass(frozen=True)
class Setting:
    """What memory depends on beside the model.

    Attributes:
        tokens: in the largest micro-batch, padding included.
        longest: its longest row.
        checkpointing: "off", "on" (block inputs stay on the card) or "offload" (they go to the machine's memory).
        kept: blocks that keep their activations although checkpointing is on.
        bits: a weight, 4, 8, 16 or 32.
        rank, target: of the adapter.
        optimizer: as `%%lora_train --optimizer`, never "auto".
        accumulation: micro-batches in an optimiser step.
        backend: "unsloth" or "transformers".
        attention: "efficient" (keys and values are repeated for every head), "flash", or "math" (every score is kept).
        loss: "fused" (Unsloth), "chunked" (trl) or "full" (all logits in float32); None is the backend's.
        padded: rows are padded to a rectangle, which brings a mask.
        full: every weight is trained, in float32, and there is no adapter.
    """

    tokens: int
    longest: int
    checkpointing: str = "off"
    kept: int = 0
    bits: int = 4
    rank: int = 16
    target: str = "all-linear"
    optimizer: str = "adamw-8bit"
    accumulation: int = 1
    backend: str = "unsloth"
    attention: str = "efficient"
    loss: str | None = None
    padded: bool = False
    full: bool = False

    def but(self, **changes: object) -> Setting:
        """A copy with `changes`."""
        return replace(self, **changes)  # type: ignore[arg-type]


def parts(model: Architecture, setting: Setting) -> dict[str, float]:
    """Bytes allocated at the peak, by part; their sum is the peak.

    The peak is the largest of four moments: the loss, the first block's backward pass (the last of the model), the
    last one's, and the optimiser's update. Gradients are there in the first two only after an earlier micro-batch.
    """
    trained = trainable(model, setting)
    stay = {
        "weights": weights(model, setting.bits, full=setting.full),
        "adapter": 0.0 if setting.full else float(trained * FULL),
        "optimiser": STATE_BYTES[setting.optimizer] * trained,
        "workspace": workspace(model, setting) + coefficient("memory", "fixed_mib") * 2**20,
    }
    gradients = float(trained * FULL)
    before = gradients if setting.accumulation > 1 else 0.0
    held, block = held_activations(model, setting), block_backward(model, setting)
    again = setting.checkpointing != "off" and setting.kept < model.layers
    recomputed = kept_by_block(model, setting) if again else 0.0
    stream = setting.tokens * model.hidden * HALF
    update = UPDATE_BYTES[setting.optimizer] * trained
    moments = (
        {"gradients": before, "activations": held + 3 * stream, "logits": logits(model, setting)},
        {"gradients": before, "activations": held + recomputed + block, "logits": 0.0},
        {"gradients": gradients, "activations": kept_by_block(model, setting) + block, "logits": 0.0},
        {"gradients": gradients, "activations": 0.0, "logits": 0.0, "update": update},
    )
    worst = max(moments, key=lambda moment: sum(moment.values()))
    stay["workspace"] += worst.pop("update", 0.0)
    return {name: {**stay, **worst}[name] for name in PARTS}


PARTS = ("weights", "adapter", "gradients", "optimiser", "activations", "logits", "workspace")


def peak(model: Architecture, setting: Setting) -> float:
    """Bytes allocated at the peak."""
    return sum(parts(model, setting).values())


def trainable(model: Architecture, setting: Setting) -> int:
    """Elements that are trained."""
    return model.parameters if setting.full else model.adapter(setting.rank, setting.target)


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
    a time. Under automatic mixed precision torch keeps a 16-bit copy of each trained weight until the step's end.
    """
    if setting.full:
        return float(model.parameters * HALF)
    copies = trainable(model, setting) * HALF if setting.backend == "transformers" else 0
    if setting.bits > 8:
        return float(copies)
    buffers = 2 if setting.backend == "unsloth" else 1
    return float(buffers * model.largest * HALF + copies)


def kept_by_block(model: Architecture, setting: Setting) -> float:
    """Bytes that one block keeps for its backward pass."""
    each = _KEPT[setting.backend](model, setting)
    return setting.tokens * each * coefficient("memory", "activations", setting.backend)


def _attention(model: Architecture, setting: Setting) -> float:
    """Bytes a token: queries, keys, values and output in 16 bits, and the softmax's float32 sums.

    Without flash attention Unsloth attends to rows that lie end to end one after the other, and joins their outputs
    in a copy.
    """
    keys = model.keys if setting.attention == "flash" else model.queries
    outputs = 2 if setting.backend == "unsloth" and setting.attention != "flash" and not setting.padded else 1
    scores = 2 * model.heads * setting.longest * HALF if setting.attention == "math" else 0
    return HALF * ((1 + outputs) * model.queries + 2 * keys) + FULL * model.heads + scores


def _kept_unsloth(model: Architecture, setting: Setting) -> float:
    """Norms keep their inputs, the fused layers theirs; the MLP keeps gate and up and computes the rest again."""
    norms = model.stream_norms * (HALF * model.hidden + FULL)
    heads = HALF * (model.queries + model.keys) if model.head_norms else 0
    return norms + heads + HALF * 2 * model.hidden + _attention(model, setting) + HALF * 2 * model.intermediate


def _kept_transformers(model: Architecture, setting: Setting) -> float:
    """Each adapted layer keeps a 16-bit copy of its input, norms theirs in float32, the MLP three products."""
    targets = model.targets(setting.target)
    inputs = sum(HALF * (p.inputs + setting.rank) for p in targets)
    norms = model.stream_norms * (FULL * model.hidden + FULL)
    heads = FULL * (model.queries + model.keys + model.heads + model.kv_heads) if model.head_norms else 0
    mask = HALF * setting.longest if setting.padded else 0
    return inputs + norms + heads + mask + _attention(model, setting) + HALF * 3 * model.intermediate


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
    stream = setting.tokens * model.hidden * HALF
    inputs = (model.layers - kept) * stream
    if setting.checkpointing == "offload":
        small = min(inputs, (model.layers - kept) * OFFLOADED_FROM)
        inputs = min(inputs, max(OFFLOAD_BUFFERS * stream, small))
    return kept * kept_by_block(model, setting) + inputs


def block_backward(model: Architecture, setting: Setting) -> float:
    """Bytes that a block's backward pass needs beside what the block kept.

    Unsloth's MLP writes into what was kept and makes one gradient as wide as the MLP; peft's goes through float32.
    In attention the gradients of queries, keys and values are made for every head, then turned back and summed.
    """
    attention = HALF * (6 * model.queries + 2 * model.hidden)
    mlp = HALF * (model.intermediate + 2 * model.hidden)
    if setting.backend == "transformers":
        mlp = (2 * HALF + 2 * FULL) * model.intermediate + 2 * FULL * model.hidden
    if setting.attention == "math":
        attention += 2 * model.heads * setting.longest * HALF
    return setting.tokens * max(attention, mlp) * coefficient("memory", "backward", setting.backend)


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
