"""Batched generation with transformers: one decoding for every column, prompts padded on the left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lora_magic.backends.base import Answer, Decoding
from lora_magic.seeding import seeded


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    decoding: Decoding,
    progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Answers in the prompts' order; prompts of like length are decoded together.

    Args:
        model: a causal model in evaluation mode, adapters as they should answer.
        tokenizer: its tokenizer, with a pad token.
        prompts: token ids.
        decoding: lengths, sampling and seed.
        progress: called with the number of prompts that are done.
    """
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    stops = stop_ids(model, tokenizer)
    answers: dict[int, Answer] = {}
    with seeded(decoding.seed):
        for start in range(0, len(order), decoding.rows_at_once):
            group = order[start : start + decoding.rows_at_once]
            made = _batch(model, [prompts[i] for i in group], decoding, stops, tokenizer.pad_token_id)
            for index, ids in zip(group, made, strict=True):
                answers[index] = _answer(tokenizer, ids, stops)
            if progress:
                progress(len(answers))
    return [answers[i] for i in range(len(prompts))]


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the model's own list and the tokenizer's end-of-sequence."""
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return sorted({i for i in [*listed, tokenizer.eos_token_id] if i is not None})


def _batch(model: Any, prompts: list[list[int]], decoding: Decoding, stops: list[int], pad: int) -> list[list[int]]:
    import torch
    from transformers import GenerationConfig

    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if decoding.temperature > 0:
        sampling = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
    how = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens, eos_token_id=stops or None, pad_token_id=pad, use_cache=True, **sampling
    )
    with torch.no_grad():
        made = model.generate(input_ids=ids, attention_mask=mask, generation_config=how)
    return [row[longest:].tolist() for row in made]


def _answer(tokenizer: Any, ids: list[int], stops: list[int]) -> Answer:
    end = next((i for i, token in enumerate(ids) if token in stops), None)
    kept = ids[:end]
    return Answer(tokenizer.decode(kept, skip_special_tokens=True).strip(), tuple(kept), cut=end is None)
