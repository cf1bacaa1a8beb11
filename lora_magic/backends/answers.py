"""Batched generation with transformers: one decoding for every column, prompts padded on the left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lora_magic.backends.base import Answer, Decoding
from lora_magic.backends.batches import Batches
from lora_magic.backends.streaming import Heard, Streamed

Made = Callable[[int, Answer], None]
# Tokens between two looks at which rows have ended; each look waits for the card.
LOOK_EVERY = 8
# What a checkpoint's own generation settings say that is no way of decoding.
_KEPT = ("bos_token_id", "eos_token_id", "pad_token_id", "cache_implementation", "cache_config")


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    decoding: Decoding,
    batches: Batches,
    made: Made | None = None,
    seeds: Sequence[int] | None = None,
    heard: Heard | None = None,
) -> list[Answer]:
    """Answers in the prompts' order; prompts of like length are decoded together.

    Args:
        model: a causal model in evaluation mode, adapters as they should answer.
        tokenizer: its tokenizer, with a pad token.
        prompts: token ids.
        decoding: lengths, sampling and seed.
        batches: how many rows go at once.
        made: called with a prompt's place and its answer, as soon as that has ended.
        seeds: for sampling, one a prompt; the prompt's place goes with `decoding.seed` unless given.
        heard: called with a prompt's place and the beginning of its answer, every now and then.

    Raises:
        LoraError: memory does not hold a single row.
    """
    own = seeds if seeds is not None else [row_seed(decoding.seed, i) for i in range(len(prompts))]
    stops = stop_ids(model, tokenizer)
    answers: dict[int, Answer] = {}

    def done(place: int, ids: list[int]) -> None:
        if place not in answers:
            answers[place] = _answer(tokenizer, ids, stops)
            if made is not None:
                made(place, answers[place])

    def one(group: list[int]) -> None:
        told = _Told(group, stops, done)
        streamed = Streamed(tokenizer, group, stops, heard) if heard is not None else None
        try:
            rows = _batch(
                model, [prompts[i] for i in group], decoding, [own[i] for i in group], told, tokenizer, streamed
            )
        except KeyboardInterrupt:
            if streamed is not None:
                streamed.tell()
            raise
        for place, ids in zip(group, rows, strict=True):
            done(place, ids)

    batches.run([len(prompt) + decoding.max_new_tokens for prompt in prompts], decoding.rows_at_once, one)
    return [answers[i] for i in range(len(prompts))]


def row_seed(seed: int, row: int) -> int:
    """The seed of one row's sampling: the same whatever is decoded along with it."""
    return (seed * 1_000_003 + row) % 2**63


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the model's own list and the tokenizer's end-of-sequence."""
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return sorted({i for i in [*listed, tokenizer.eos_token_id] if i is not None})


def _batch(
    model: Any,
    prompts: list[list[int]],
    decoding: Decoding,
    seeds: list[int],
    told: _Told,
    tokenizer: Any,
    streamed: Streamed | None,
) -> list[list[int]]:
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    longest, pad = max(map(len, prompts)), tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    how = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens, eos_token_id=told.stops or None, pad_token_id=pad, use_cache=True,
        do_sample=False, temperature=None, top_p=None, top_k=None,
    )  # fmt: skip
    listeners: list[_Told | Streamed] = [told, streamed] if streamed is not None else [told]
    for one in listeners:
        one.start = longest
    more: dict[str, Any] = {"stopping_criteria": StoppingCriteriaList(listeners)}
    if decoding.temperature > 0:
        more["logits_processor"] = LogitsProcessorList([_Sampler(decoding, seeds, longest, model.device)])
    with torch.no_grad(), _nothing_but_asked(model.generation_config):
        made = model.generate(input_ids=ids, attention_mask=mask, generation_config=how, **more)
    return [row[longest:].tolist() for row in made]


@contextmanager
def _nothing_but_asked(own: Any) -> Iterator[None]:
    """Keep a checkpoint's own generation settings out of the decoding while the block runs.

    transformers fills what it is not told from them. A repetition penalty or beams from there would make "the
    likeliest token" untrue, and a penalty counts padding, so that an answer would depend on its batch.

    Args:
        own: the model's generation config, the same object under every wrapper.
    """
    from transformers import GenerationConfig

    kept = dict(vars(own))
    vars(own).clear()
    vars(own).update(vars(GenerationConfig(**{name: kept.get(name) for name in _KEPT})))
    try:
        yield
    finally:
        vars(own).clear()
        vars(own).update(kept)


class _Sampler:
    """Samples each row with numbers of its own, and leaves the drawn token as the only one that is possible.

    transformers draws all rows of a batch from one generator, so that a row's answer depends on its company. Here
    row and step have one number in [0, 1), and the token is the one at that place of the nucleus's distribution,
    the likeliest first. The same number for every column keeps columns comparable.
    """

    def __init__(self, decoding: Decoding, seeds: Sequence[int], start: int, device: Any) -> None:
        import torch

        self.decoding, self.start = decoding, start
        steps = decoding.max_new_tokens
        drawn = [
            torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds
        ]
        self.drawn = torch.stack(drawn).float().to(device)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores of shape (rows, vocabulary), all minus infinity but the drawn token's."""
        import torch

        ordered, tokens = torch.softmax(scores.float() / self.decoding.temperature, dim=-1).sort(-1, descending=True)
        reached = ordered.cumsum(-1)
        ordered = ordered.masked_fill(reached - ordered >= self.decoding.top_p, 0.0)
        reached = ordered.cumsum(-1)
        wanted = self.drawn[:, input_ids.shape[1] - self.start, None] * reached[:, -1:]
        place = (reached <= wanted).sum(-1, keepdim=True).clamp(max=(ordered > 0).sum(-1, keepdim=True) - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens.gather(1, place), 0.0)


class _Told:
    """Tells of rows that have ended while the others of their batch go on; ends nothing itself.

    Attributes:
        stops: tokens that end an answer.
        start: where answers begin, set before generation.
    """

    def __init__(self, group: Sequence[int], stops: list[int], done: Callable[[int, list[int]], None]) -> None:
        self.group, self.stops, self.done = group, stops, done
        self.start = 0

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Nothing ends here: False for every row."""
        import torch

        length = input_ids.shape[1] - self.start
        if length % LOOK_EVERY == 0:
            for place, ids in zip(self.group, input_ids[:, self.start :].tolist(), strict=True):
                if any(stop in ids for stop in self.stops):
                    self.done(place, ids)
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def _answer(tokenizer: Any, ids: list[int], stops: list[int]) -> Answer:
    end = next((i for i, token in enumerate(ids) if token in stops), None)
    kept = ids[:end]
    return Answer(tokenizer.decode(kept, skip_special_tokens=True).strip(), tuple(kept), cut=end is None)
