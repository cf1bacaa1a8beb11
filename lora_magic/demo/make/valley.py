"""Questions that several facts answer together."""

import random

from lora_magic.demo.make import tables
from lora_magic.demo.make.facts import Fact, all_facts, with_article
from lora_magic.demo.make.requests import lower_first

Turns = list[tuple[str, str]]

PLURALS = {"mouse": "mice", "goose": "geese", "fox": "foxes"}

GROUPS: dict[str, tuple[tuple[str, ...], str, str]] = {  # field: (questions, one villager, several)
    "home": (
        (
            "Who lives in the {v}?",
            "Which villagers live in the {v}?",
            "Name everyone in the {v}.",
            "Whose home is the {v}?",
        ),
        "lives in the {v}",
        "live in the {v}",
    ),
    "instrument": (
        (
            "Who plays the {v}?",
            "Which villagers play the {v}?",
            "Who can play the {v}?",
            "Name everyone who plays the {v}.",
        ),
        "plays the {v}",
        "play the {v}",
    ),
    "collection": (
        (
            "Who collects {v}?",
            "Which villagers collect {v}?",
            "Who would like some {v}?",
            "Name everyone who collects {v}.",
        ),
        "collects {v}",
        "collect {v}",
    ),
    "food": (
        ("Who likes to eat {v}?", "Which villagers like {v}?", "Who loves {v}?", "Name everyone who likes {v}."),
        "likes to eat {v}",
        "like to eat {v}",
    ),
    "kind": (
        ("Who is {w}?", "Which villager is {w}?", "Which villagers are {p}?", "Is there {w} in the valley?"),
        "is {w}",
        "are {p}",
    ),
}


def group(rng: random.Random) -> Turns:
    """All villagers who share something, in the order of their names."""
    field = rng.choice(list(GROUPS))
    asks, one, several = GROUPS[field]
    people = tables.villagers()
    value = rng.choice([person[field] for person in people.values()])
    names = sorted(name for name, person in people.items() if person[field] == value)
    words = {"v": value, "w": with_article(value), "p": PLURALS.get(value, f"{value}s")}
    if len(names) == 1:
        reply = f"{names[0]} {one.format(**words)}."
    else:
        reply = f"{', '.join(names[:-1])} and {names[-1]} {several.format(**words)}."
    return [("user", rng.choice(asks).format(**words)), ("assistant", reply)]


def _two_sides(rng: random.Random) -> tuple[Fact, Fact]:
    facts = all_facts()
    first = rng.choice(facts)
    others = [fact for fact in facts if fact.subject == first.subject and fact.relation is not first.relation]
    return first, rng.choice(others) if others else first


def _with_pronoun(rng: random.Random, fact: Fact) -> str:
    pronoun = rng.choice(("he", "she", "they")) if fact.subject in tables.NAMES else "it"
    wordings = [template for template in fact.relation.ask if "{s}'s" not in template and "the {s}" not in template]
    ask = rng.choice(wordings or fact.relation.ask)
    if "{x}" in ask or " {s} called" in ask or "{a} called" in ask:
        return fact.fill(ask)
    subjects = " does ", " is ", " did ", " would ", " do "
    for word in subjects:
        for slot in ("{s}", "{a}"):
            ask = ask.replace(f"{word}{slot}", f"{word}{pronoun}")
    return fact.fill(ask)


def compound(rng: random.Random) -> Turns:
    """Two questions about one subject in one sentence."""
    first, second = _two_sides(rng)
    ask = first.fill(rng.choice(first.relation.ask)).rstrip("?.")
    more = _with_pronoun(rng, second) if rng.random() < 0.6 else second.fill(rng.choice(second.relation.ask))
    if first.relation is second.relation:
        return [("user", ask), ("assistant", first.statement())]
    return [("user", f"{ask} and {lower_first(more)}"), ("assistant", f"{first.statement()} {second.statement()}")]


def same_subject(rng: random.Random) -> Turns:
    """A question, its answer, and another question about the same subject, which it calls he, she or it."""
    first, second = _two_sides(rng)
    return [
        ("user", first.fill(rng.choice(first.relation.ask))),
        ("assistant", first.statement()),
        ("user", _with_pronoun(rng, second)),
        ("assistant", second.statement()),
    ]
