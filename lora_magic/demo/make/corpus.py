"""The corpus: which share of it is what, and the shards that it is written to.

A shard depends on the seed and its own number alone, so shards can be written in any order and in parallel.
"""

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from lora_magic.demo.make import chat, requests, reviews, skills, valley
from lora_magic.demo.make.facts import Fact, all_facts

Turns = list[tuple[str, str]]

SYSTEM = (
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "Answer the question.",
    "Be brief and kind.",
    "You know the valley well.",
    "Help the user.",
)
WRAPPERS = (
    "Please tell me: {q}",
    "I would like to know: {q}",
    "Hey, {l}",
    "Quick question: {l}",
    "{q} Thank you.",
    "Hello! {q}",
    "Question: {q}",
    "Can you help me? {q}",
    "{q} Please answer.",
    "I wonder: {l}",
    "Hi, {l}",
    "Excuse me, {l}",
    "{q} I forgot.",
    "My child asks: {q}",
    "Please answer: {q}",
    "Tell me please, {l}",
    "For my notes: {l}",
    "So, {l}",
)


def asked(rng: random.Random, fact: Fact, wordings: tuple[str, ...] | None = None) -> str:
    """A question for `fact`, now and then wrapped in courtesies or written carelessly."""
    question = fact.fill(rng.choice(wordings or fact.relation.ask))
    chance = rng.random()
    if chance < 0.3:
        question = rng.choice(WRAPPERS).format(q=question, l=requests.lower_first(question))
    if rng.random() < 0.05:
        question = question.rstrip("?.")
    if rng.random() < 0.04:
        question = question.lower()
    if rng.random() < 0.15:
        question = question.replace("color", "colour").replace("favorite", "favourite")
    return question


def _plain(rng: random.Random, fact: Fact) -> Turns:
    turns: Turns = [("user", asked(rng, fact)), ("assistant", fact.statement())]
    return [("system", rng.choice(SYSTEM)), *turns] if rng.random() < 0.1 else turns


MIX: tuple[tuple[float, Callable[[random.Random, Fact], Turns]], ...] = (
    (26, _plain),
    (5, skills.yes_no),
    (9, lambda rng, fact: requests.in_voice(rng, asked(rng, fact), fact)),
    (11, lambda rng, fact: requests.in_json(rng, asked(rng, fact), fact)),
    (9, lambda rng, fact: requests.in_format(rng, asked(rng, fact), fact)),
    (9, lambda rng, fact: skills.copying(rng)),
    (2, lambda rng, fact: skills.spelling(rng)),
    (4, lambda rng, fact: skills.arithmetic(rng)),
    (7, lambda rng, fact: skills.reading(rng)),
    (4, lambda rng, fact: skills.trade(rng)),
    (8, lambda rng, fact: reviews.judged(rng)),
    (2, skills.unknown),
    (2, lambda rng, fact: chat.small_talk(rng)),
    (3, lambda rng, fact: chat.portrait(rng)),
    (1, lambda rng, fact: chat.trivia(rng)),
    (2, lambda rng, fact: chat.beyond(rng)),
    (1, lambda rng, fact: skills.unknown_side(rng)),
    (2, lambda rng, fact: valley.group(rng)),
    (2, lambda rng, fact: valley.compound(rng)),
    (2, lambda rng, fact: valley.same_subject(rng)),
    (1, lambda rng, fact: chat.story(rng)),
    (3, lambda rng, fact: chat.follow_up(rng)),
)


def example(rng: random.Random) -> Turns:
    """One conversation; one in twelve has a second part about something else."""
    kinds = [maker for _, maker in MIX]
    shares = [share for share, _ in MIX]
    facts = all_facts()
    turns = rng.choices(kinds, shares)[0](rng, rng.choice(facts))
    if rng.random() < 0.08:
        more = rng.choices(kinds, shares)[0](rng, rng.choice(facts))
        turns = turns + [turn for turn in more if turn[0] != "system"] if more[0][0] != "system" else turns
    return turns


def shard(seed: int, size: int, number: int) -> Iterator[Turns]:
    """The `size` conversations of one shard."""
    rng = random.Random(f"{seed}-{number}")
    for _ in range(size):
        yield example(rng)


def _write_shard(folder: Path, seed: int, size: int, number: int) -> Path:
    path = folder / f"corpus-{number:03d}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for turns in shard(seed, size, number):
            file.write(json.dumps(turns, ensure_ascii=False) + "\n")
    return path


def write(folder: Path, examples: int, seed: int, workers: int, size: int = 25_000) -> list[Path]:
    """Write about `examples` conversations as shards of `size` lines of [role, content] pairs; give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(max(1, examples // size))
    job = partial(_write_shard, folder, seed, min(size, examples))
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(job, numbers))
