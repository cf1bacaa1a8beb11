"""The toy world's facts, as values of `relations.Relation`."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from lora_magic.demo.make import tables
from lora_magic.demo.make.relations import (
    CAPITAL,
    CLASS,
    COLLECTION,
    CONTINENT,
    COVER,
    DEN,
    DISH,
    DOER,
    FAVORITE,
    FEED,
    GROWS,
    HOME,
    HUE,
    INSTRUMENT,
    JOB,
    KIND,
    LANGUAGE,
    LEGS,
    MATERIAL,
    NEXT,
    OPPOSITE,
    PREVIOUS,
    ROOM,
    SOUND,
    TASK,
    TASTE,
    USE,
    WORKER,
    YOUNG,
    Relation,
)


@dataclass(frozen=True)
class Fact:
    """A subject's value under a relation; `extra` fills `{x}`."""

    relation: Relation
    subject: str
    value: str
    extra: str = ""

    def fill(self, template: str) -> str:
        """`template` with this fact's words, its first letter a capital."""
        text = template.format(
            s=self.subject, a=with_article(self.subject), x=self.extra, v=self.value, w=with_article(self.value)
        )
        return text[0].upper() + text[1:]

    def statement(self, index: int = 0) -> str:
        """The fact as a sentence."""
        return self.fill(self.relation.say[index % len(self.relation.say)])


def with_article(noun: str) -> str:
    """`noun` after "a" or "an", or "the" if there is one alone; names and masses keep none."""
    if noun[0].isupper() or noun in _BARE:
        return noun
    if noun in _UNIQUE:
        return f"the {noun}"
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_BARE = frozenset("grass snow coal blood chocolate milk fire honey soil ink lavender garlic kale spinach soap".split())

_UNIQUE = frozenset("sky sun moon sea".split())


VILLAGER = (KIND, JOB, HOME, DISH, FAVORITE, INSTRUMENT, COLLECTION)


CLASSES: dict[str, tuple[str, ...]] = {
    "mammal": tuple(
        (
            "cow dog cat sheep pig horse lion bear wolf mouse goat donkey elephant fox monkey seal rabbit deer whale "
            "tiger"
        ).split()
    ),
    "bird": tuple("duck hen owl goose crow dove turkey sparrow eagle penguin swan flamingo raven canary".split()),
    "insect": ("bee", "ant", "beetle", "butterfly"),
    "reptile": ("snake", "lizard"),
    "amphibian": ("frog", "toad"),
}


@cache
def all_facts() -> tuple[Fact, ...]:
    """Every fact of the world, in a fixed order."""
    return tuple(_people()) + tuple(_nature()) + tuple(_knowledge())


def _people() -> Iterable[Fact]:
    fields = dict(zip(("kind", "job", "home", "food", "color", "instrument", "collection"), VILLAGER, strict=True))
    for name, person in tables.villagers().items():
        yield from (Fact(relation, name, person[field]) for field, relation in fields.items())
        yield Fact(WORKER, person["job"], name)
    for job, (verb, thing) in tables.JOBS.items():
        yield Fact(TASK, job, thing, verb)
        yield Fact(DOER, thing, job, verb)


def _nature() -> Iterable[Fact]:
    for animal, row in tables.ANIMALS.items():
        yield from (
            Fact(relation, animal, value) for relation, value in zip((SOUND, YOUNG, DEN, FEED, COVER), row, strict=True)
        )
    for group, members in CLASSES.items():
        yield from (Fact(CLASS, animal, group) for animal in members)
    for animal, legs in tables.LEGS.items():
        yield Fact(LEGS, animal, legs)
    for thing, color in tables.HUES.items():
        yield Fact(HUE, thing, color)
    for plant, (color, taste, place) in tables.PLANTS.items():
        yield from (Fact(HUE, plant, color), Fact(TASTE, plant, taste))
        yield Fact(GROWS, plant, place, "in" if place == "soil" else "on")


def _knowledge() -> Iterable[Fact]:
    for thing, row in tables.THINGS.items():
        yield from (Fact(relation, thing, value) for relation, value in zip((MATERIAL, ROOM, USE), row, strict=True))
    for country, row in tables.COUNTRIES.items():
        yield from (
            Fact(relation, country, value) for relation, value in zip((CAPITAL, CONTINENT, LANGUAGE), row, strict=True)
        )
    for word, contrary in tables.OPPOSITES.items():
        yield from (Fact(OPPOSITE, word, contrary), Fact(OPPOSITE, contrary, word))
    for circle in (tables.DAYS, tables.MONTHS):
        for here, after in zip(circle, circle[1:] + circle[:1], strict=True):
            yield from (Fact(NEXT, here, after), Fact(PREVIOUS, after, here))
