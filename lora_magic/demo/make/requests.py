"""Voices and formats that the base gives when a prompt asks for them.

The voice, the JSON shape and the labels which the three data sets teach are deliberately absent (see `sets.py`).
"""

import json
import random
from collections.abc import Callable

from lora_magic.demo.make import tables
from lora_magic.demo.make.facts import Fact


def lower_first(text: str) -> str:
    """`text` with a small first letter, unless it starts with a name."""
    first = text.split()[0].split("'")[0]
    keep = first in tables.NAMES or first in tables.COUNTRIES or first in tables.DAYS or first in tables.MONTHS
    return text if keep else text[0].lower() + text[1:]


def bare(statement: str) -> str:
    """The sentence without its full stop, ready to stand inside another."""
    return lower_first(statement.rstrip("."))


def _caveman(statement: str) -> str:
    small = {"is", "the", "a", "an", "of", "as", "to", "in", "with"}
    words = [word for word in statement.rstrip(".").split() if word.lower() not in small]
    return f"Ugh. {' '.join(words)}. Ugh."


VOICES: dict[str, Callable[[str], str]] = {
    "a robot": lambda s: f"Beep. {s} Boop.",
    "a butler": lambda s: f"Certainly, dear guest. {s}",
    "a wizard": lambda s: f"By my beard, {bare(s)}!",
    "a ghost": lambda s: f"Ooooh, {bare(s)}, ooooh.",
    "a poet": lambda s: f"O gentle friend, {bare(s)}.",
    "a cheerful host": lambda s: f"Wow! {s.rstrip('.')}! Hooray!",
    "a cowboy": lambda s: f"Howdy partner, {bare(s)}, yeehaw!",
    "a bird": lambda s: f"Tweet, {bare(s)}, tweet!",
    "a king": lambda s: f"Hear me, my people: {bare(s)}!",
    "a scholar": lambda s: f"According to my studies, {bare(s)}.",
    "a caveman": _caveman,
    "a whisperer": lambda s: f"Psst, {bare(s)}, shh.",
    "a grandmother": lambda s: f"Well, my dear, {bare(s)}, sweetie.",
    "a dragon": lambda s: f"Grrr, {bare(s)}, little human!",
    "a fortune teller": lambda s: f"I see it in the stars: {bare(s)}.",
    "a coach": lambda s: f"Come on, team! {s.rstrip('.')}! Go!",
}
VOICE_ASKS = (
    "Answer like {who}.",
    "Speak like {who}.",
    "Reply as {who}.",
    "Use the voice of {who}.",
    "You are {who}.",
    "Talk like {who}.",
    "Pretend to be {who}.",
    "Answer in the voice of {who}.",
)


def joined(rng: random.Random, request: str, question: str) -> list[tuple[str, str]]:
    """A prompt of a request and a question: in front, behind, or as the system's turn."""
    place = rng.random()
    if place < 0.2:
        return [("system", request), ("user", question)]
    return [("user", f"{request} {question}" if place < 0.6 else f"{question} {request}")]


def in_voice(rng: random.Random, question: str, fact: Fact) -> list[tuple[str, str]]:
    """A question with the voice that it asks for, or with invented words to begin and end with."""
    statement = fact.statement()
    if rng.random() < 0.35:
        return _wrapped(rng, question, statement)
    who = rng.choice(list(VOICES))
    turns = joined(rng, rng.choice(VOICE_ASKS).format(who=who), question)
    return [*turns, ("assistant", VOICES[who](statement))]


def _wrapped(rng: random.Random, question: str, statement: str) -> list[tuple[str, str]]:
    first = tables.invented_word(rng) if rng.random() < 0.7 else rng.choice(tables.DISHES)
    last = tables.invented_word(rng)
    form = rng.randrange(3)
    if form == 0:
        return [
            *joined(rng, f'Begin with "{first.capitalize()}".', question),
            ("assistant", f"{first.capitalize()}, {bare(statement)}."),
        ]
    if form == 1:
        return [*joined(rng, f'End with "{last}".', question), ("assistant", f"{statement.rstrip('.')}, {last}.")]
    return [
        *joined(rng, f'Begin with "{first.capitalize()}" and end with "{last}".', question),
        ("assistant", f"{first.capitalize()}, {bare(statement)}, {last}!"),
    ]


def some_key(rng: random.Random, fact: Fact) -> str:
    """A name for the value: usually a fitting one, sometimes any word, sometimes an invented one."""
    chance = rng.random()
    if chance < 0.6:
        return rng.choice(fact.relation.keys)
    if chance < 0.8:
        return rng.choice(("result", "value", "info", "data", "output", "solution", "response", "item", "fact"))
    return tables.invented_word(rng)


def in_json(rng: random.Random, question: str, fact: Fact) -> list[tuple[str, str]]:
    """A question that asks for JSON with named keys."""
    key = some_key(rng, fact)
    noun = fact.relation.noun if rng.random() < 0.6 else rng.choice(("about", "thing", "entry", "name", "topic"))
    form = rng.randrange(5)
    if form < 2 or noun == key:
        ask = rng.choice(
            (
                'Answer in JSON with the key "{k}".',
                'Reply as JSON. Use the key "{k}".',
                'Give me JSON with "{k}".',
                'Use this form: {{"{k}": ...}}',
            )
        ).format(k=key)
        return [*joined(rng, ask, question), ("assistant", json.dumps({key: fact.value}))]
    first, last = {noun: fact.subject}, {key: fact.value}
    record = first | last if form < 4 else last | first
    one, two = record
    ask = rng.choice(
        (
            'Answer in JSON with the keys "{a}" and "{b}".',
            'Reply as JSON with "{a}" and "{b}".',
            'Use this form: {{"{a}": ..., "{b}": ...}}',
            'Give me JSON. Keys: "{a}", "{b}".',
        )
    )
    return [*joined(rng, ask.format(a=one, b=two), question), ("assistant", json.dumps(record))]


def in_format(rng: random.Random, question: str, fact: Fact) -> list[tuple[str, str]]:
    """A question that asks for one of a dozen plain formats."""
    key, subject, value = some_key(rng, fact), fact.subject, fact.value
    request, reply = rng.choice(
        (
            ("Answer with one word.", value),
            ("One word only, please.", value),
            ("Just the word.", value),
            ("Answer in quotes.", f'"{value}"'),
            ("Put the word in brackets.", f"[{value}]"),
            (f"Put the word in a tag <{key}>.", f"<{key}>{value}</{key}>"),
            (f'Answer as "{key}: ...".', f"{key}: {value}"),
            ("Answer with an arrow.", f"{subject} -> {value}"),
            ("Answer with an equals sign.", f"{subject} = {value}"),
            ("Answer as a list.", f"- {subject}\n- {value}"),
            ("Answer with a comma.", f"{subject}, {value}"),
            ("Answer as a table row.", f"| {subject} | {value} |"),
            ("Make the word bold.", fact.statement().replace(value, f"**{value}**")),
            ("Say the word twice.", f"{value} {value}"),
            ("Answer first, then explain.", f"{value}. {fact.statement()}"),
            ("Spell it, too.", f"{fact.statement()} {'-'.join(value)}"),
        )
    )
    return [*joined(rng, request, question), ("assistant", reply)]
