"""Training of the base model: a small Llama on the corpus, loss on the replies alone.

Muon for the matrices of the layers, AdamW for embeddings and norms. Rows are batched by length, so that causal
attention needs no mask: padding stands behind every real token.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEP = 16  # rows are padded to a multiple of this many tokens


@dataclass(frozen=True)
class Shape:
    """The Llama's sizes; every row width is a multiple of 256, so that NF4's blocks of 64 x 256 are full."""

    vocabulary: int = 3072
    hidden: int = 256
    mlp: int = 512
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    positions: int = 2048


@dataclass(frozen=True)
class Recipe:
    """How long and how fast: `tokens` is a batch's size with padding, rates are peaks."""

    steps: int = 9_000
    tokens: int = 32_768
    muon_rate: float = 0.008
    adam_rate: float = 4e-3
    warmup: float = 0.02
    decay: float = 0.6
    seed: int = 0


class Muon:
    """Momentum orthogonalised by five Newton-Schulz steps (Keller Jordan, 2024), matrices of a shape at a time."""

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        shapes: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for param in params:
            shapes.setdefault(tuple(param.shape), []).append(param)
        self.momentum = momentum
        self.param_groups: list[dict[str, Any]] = [{"params": group, "lr": lr} for group in shapes.values()]
        self.held = [torch.zeros(len(group), *shape, device=group[0].device) for shape, group in shapes.items()]

    def step(self) -> None:
        """One update from the gradients of all parameters."""
        with torch.no_grad():
            for group, held in zip(self.param_groups, self.held, strict=True):
                params = group["params"]
                grad = torch.stack([param.grad for param in params])
                held.lerp_(grad, 1 - self.momentum)
                update = orthogonal(grad.lerp(held, self.momentum))
                scale = max(1.0, grad.size(-2) / grad.size(-1)) ** 0.5
                torch._foreach_add_(params, list(update.to(grad.dtype).unbind()), alpha=-group["lr"] * scale)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or set them to zero."""
        for group in self.param_groups:
            for param in group["params"]:
                param.grad = None if set_to_none else torch.zeros_like(param)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearly orthogonal factor of each matrix in [n, rows, columns]; coefficients are the author's quintic."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Batches:
    """All rows on the device, by padded length; `endless` yields batches in a seeded order, epoch after epoch."""

    def __init__(self, shards: list[tuple[bytes, bytes, bytes]], pad: int, tokens: int, device: str) -> None:
        self.tokens, self.device = tokens, device
        ids, flags, lengths = (
            torch.cat([torch.frombuffer(bytearray(shard[part]), dtype=kind) for shard in shards]).to(device)
            for part, kind in enumerate((torch.int16, torch.int8, torch.int32))
        )
        starts = lengths.long().cumsum(0) - lengths
        self.buckets: list[tuple[Tensor, Tensor]] = []
        padded = (lengths + STEP - 1) // STEP * STEP
        for length in padded.unique().tolist():
            rows = (padded == length).nonzero().squeeze(1)
            columns = torch.arange(length, device=device)
            places = (starts[rows, None] + columns).clamp(max=ids.numel() - 1)
            real = columns < lengths[rows, None]
            self.buckets.append(
                (torch.where(real, ids[places], pad), torch.where(real & (flags[places] == 1), ids[places], -1))
            )

    def endless(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Ids and labels, both [rows, length]; a label of -1 carries no loss."""
        rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
        while True:
            plan: list[tuple[int, Tensor]] = []
            for index, (ids, _) in enumerate(self.buckets):
                order = torch.randperm(ids.size(0), generator=generator).to(self.device)
                plan += [(index, part) for part in order.split(max(1, self.tokens // ids.size(1)))]
            rng.shuffle(plan)
            for index, part in plan:
                ids, labels = self.buckets[index]
                yield ids[part].long(), labels[part].long()


def build(shape: Shape, pad: int, bos: int, eos: int) -> Any:
    """A Llama with fresh weights, in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.hidden // shape.heads,
        max_position_embeddings=shape.positions,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=bos,
        eos_token_id=eos,
    )
    return LlamaForCausalLM(config)


def loss_of(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy in nats over the labelled tokens of one batch."""
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    wanted = labels[:, 1:]
    chosen = (wanted >= 0).flatten().nonzero().squeeze(1)
    logits = F.linear(hidden.flatten(0, 1).index_select(0, chosen), model.lm_head.weight)
    return F.cross_entropy(logits.float(), wanted.flatten().index_select(0, chosen))


def rate(step: int, recipe: Recipe) -> float:
    """The share of the peak rate: a linear warm-up, a plateau, a linear fall to nothing."""
    warm = min(1.0, (step + 1) / max(1.0, recipe.warmup * recipe.steps))
    return min(warm, (recipe.steps - step) / (recipe.decay * recipe.steps))


def fit(model: Any, batches: Batches, recipe: Recipe) -> None:
    """Train `model` in place; prints loss and tokens a second about fifty times."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embed" in n]
    fused = batches.device == "cuda"
    optimizers = [
        Muon(matrices, recipe.muon_rate),
        torch.optim.AdamW(others, recipe.adam_rate, (0.9, 0.98), weight_decay=0.0, fused=fused),
    ]
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    start, seen = time.perf_counter(), 0
    stream = batches.endless(recipe.seed)
    for step in range(recipe.steps):
        ids, labels = next(stream)
        with torch.autocast(batches.device, torch.bfloat16, enabled=fused):
            loss = loss_of(model, ids, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(others, 1.0)
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * rate(step, recipe)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen += ids.numel()
        if step % max(1, recipe.steps // 50) == 0:
            speed = seen / (time.perf_counter() - start)
            print(f"step {step:6d}  loss {loss.item():.4f}  {speed:,.0f} tokens/s", flush=True)


def save(model: Any, folder: Path, end: int, pad: int) -> None:
    """Write the weights in bfloat16 as one safetensors file, with config and greedy generation settings."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        eos_token_id=end, pad_token_id=pad, bos_token_id=model.config.bos_token_id, do_sample=False, max_new_tokens=64
    )
    model.to(torch.bfloat16).save_pretrained(folder)
