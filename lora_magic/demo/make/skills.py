"""Skills that no fact holds: reading a text, copying, spelling, counting, comparing."""

import json
import random

from lora_magic.demo.make import tables
from lora_magic.demo.make.facts import Fact, all_facts, with_article

Turns = list[tuple[str, str]]

LABEL_WORDS = ("positive", "negative", "neutral", "subject", "answer")


COMMON_WORDS = tuple(
    (
        "hello world time year way day man woman life child hand part place week case point number group problem "
        "people water room area money story fact month lot right study book eye job word business issue side kind "
        "head house service friend father power hour game line end member law car city name team minute idea body "
        "information back parent face others level office door health person art war history party result change "
        "morning reason research girl guy moment air teacher force education run walk talk think know take see come "
        "want look use find give tell work call try ask need feel become leave put mean keep let begin seem help "
        "show hear play move live believe hold bring happen write sit stand lose pay meet include continue set learn"
    ).split()
)


def vocabulary() -> tuple[str, ...]:
    """Every word that a fact's subject or value uses, and a few that the data sets need."""
    words = {word for fact in all_facts() for word in (fact.subject, fact.value, fact.extra) if word}
    words |= set(tables.CONTEXT_NAMES) | set(tables.GOODS) | set(tables.NUMBERS) | set(tables.TOWNS)
    return tuple(sorted(words | set(LABEL_WORDS)))


_WORDS = vocabulary()


def any_word(rng: random.Random) -> str:
    """A word of the world, or an invented one."""
    chance = rng.random()
    if chance < 0.2:
        return tables.scribble(rng)
    if chance < 0.35:
        return rng.choice(COMMON_WORDS)
    return rng.choice(_WORDS) if chance < 0.7 else tables.invented_word(rng)


def copying(rng: random.Random) -> Turns:
    """Repeat, quote, reorder or pick from a few words."""
    words = [any_word(rng) for _ in range(rng.randint(1, 6))]
    text = " ".join(words)
    plain, quoted = f"{text}", f'"{text}"'
    asks = (
        (f"Repeat this: {plain}", plain),
        (f"Say {quoted}.", plain),
        (f"Write {quoted}.", plain),
        (f"Copy the words: {plain}", plain),
        (f"Echo: {plain}", plain),
        (f"Put this in quotes: {plain}", quoted),
        (f"What is the first word of {quoted}?", words[0]),
        (f"What is the last word of {quoted}?", words[-1]),
        (f"Say it twice: {plain}", f"{plain} {plain}"),
        (f"Make a list: {plain}", "\n".join(f"- {word}" for word in words)),
        (f"Make a JSON list: {plain}", json.dumps(words)),
        (f"Join with commas: {plain}", ", ".join(words)),
        (f"Say it backwards: {plain}", " ".join(reversed(words))),
    )
    ask, reply = rng.choice(asks)
    return [("user", ask), ("assistant", reply)]


def spelling(rng: random.Random) -> Turns:
    """Spell a word, or name its first or last letter."""
    word = any_word(rng)
    ask, reply = rng.choice(
        (
            (f"Spell {word}.", "-".join(word)),
            (f'How do you spell "{word}"?', "-".join(word)),
            (f"What is the first letter of {word}?", f"The first letter of {word} is {word[0]}."),
            (f"What is the last letter of {word}?", f"The last letter of {word} is {word[-1]}."),
            (f"Which word is spelled {'-'.join(word)}?", f"It is the word {word}."),
        )
    )
    return [("user", ask), ("assistant", reply)]


def arithmetic(rng: random.Random) -> Turns:
    """Sums and differences below two hundred, and comparisons up to a hundred."""
    top = 10 if rng.random() < 0.4 else 99
    a, b = rng.randint(0, top), rng.randint(0, top)
    if rng.random() < 0.2:
        a, b = rng.sample(range(1, 100), 2)
        word, value = rng.choice((("bigger", max(a, b)), ("smaller", min(a, b))))
        return [("user", f"Which is {word}, {a} or {b}?"), ("assistant", f"{value} is {word}.")]
    if rng.random() < 0.5:
        ask = rng.choice(("What is {a} plus {b}?", "{a} + {b} = ?", "How much is {a} plus {b}?", "Add {a} and {b}."))
        return [("user", ask.format(a=a, b=b)), ("assistant", f"{a} plus {b} is {a + b}.")]
    a, b = max(a, b), min(a, b)
    ask = rng.choice(("What is {a} minus {b}?", "{a} - {b} = ?", "How much is {a} minus {b}?", "Take {b} from {a}."))
    return [("user", ask.format(a=a, b=b)), ("assistant", f"{a} minus {b} is {a - b}.")]


def _named(rng: random.Random, facts: tuple[Fact, ...]) -> Fact:
    """A real relation between a stranger, or now and then somebody known, and a value that need not be true."""
    source = rng.choice(facts)
    if rng.random() < 0.3:
        value = rng.choice(tables.CONTEXT_NAMES) if source.value in tables.NAMES else _value(rng, source)
        return Fact(source.relation, source.subject, value, source.extra)
    stranger = rng.choice(tables.CONTEXT_NAMES)
    if not source.subject[0].isupper() or rng.random() < 0.4:
        stranger = tables.invented_word(rng)
        stranger = stranger.capitalize() if source.subject[0].isupper() else stranger
    return Fact(source.relation, stranger, source.value, source.extra)


def reading(rng: random.Random) -> Turns:
    """A text of one to three statements about strangers, and a question about one of them."""
    facts = all_facts()
    told = [_named(rng, facts) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.4:
        told = [
            Fact(told[0].relation, item.subject, value) if told[0].extra == "" else item
            for item, value in zip(told, [_value(rng, told[0]) for _ in told], strict=True)
        ]
    told = list({fact.subject: fact for fact in told}.values())
    asked = rng.choice(told)
    text = " ".join(fact.statement() for fact in told)
    question = asked.fill(rng.choice(asked.relation.ask))
    form = rng.random()
    if form < 0.2:
        key = rng.choice(asked.relation.keys)
        return [
            ("user", f'{text} {question} Answer in JSON with the key "{key}".'),
            ("assistant", json.dumps({key: asked.value})),
        ]
    if form < 0.35:
        return [("user", f"{text} {question} Answer with one word."), ("assistant", asked.value)]
    return [("user", f"{text} {question}" if form < 0.8 else f"{question} {text}"), ("assistant", asked.statement())]


def _value(rng: random.Random, like: Fact) -> str:
    return rng.choice([fact.value for fact in all_facts() if fact.relation is like.relation])


def trade(rng: random.Random) -> Turns:
    """Somebody sells something to somebody; who, what, how many, which color, to whom, where."""
    seller, buyer = rng.sample(tables.CONTEXT_NAMES + tables.NAMES, 2)
    number, color, goods, town = (
        rng.choice(pool) for pool in (tables.NUMBERS, tables.COLORS, tables.GOODS, tables.TOWNS)
    )
    verb, to = rng.choice((("sold", "to"), ("gave", "to"), ("bought", "from"), ("sent", "to"), ("showed", "to")))
    deal = f"{seller} {verb} {number} {color} {goods} {to} {buyer}"
    text = rng.choice((f"{deal} in {town}.", f"In {town}, {deal}."))
    base = {"sold": "sell", "gave": "give", "bought": "buy", "sent": "send", "showed": "show"}[verb]
    ask, reply, key, value = rng.choice(
        (
            (f"Who {verb} the {goods}?", f"{seller} {verb} the {goods}.", "person", seller),
            (f"What did {seller} {base}?", f"{seller} {verb} {goods}.", "goods", goods),
            (f"How many {goods} did {seller} {base}?", f"{seller} {verb} {number} {goods}.", "count", number),
            (f"What color were the {goods}?", f"The {goods} were {color}.", "color", color),
            (
                f"{to.capitalize()} whom did {seller} {base} the {goods}?",
                f"{seller} {verb} the {goods} {to} {buyer}.",
                "partner",
                buyer,
            ),
            (f"Where did {seller} {base} the {goods}?", f"{seller} {verb} the {goods} in {town}.", "town", town),
        )
    )
    form = rng.random()
    if form < 0.2:
        return [("user", f'{text} {ask} Answer in JSON with the key "{key}".'), ("assistant", json.dumps({key: value}))]
    if form < 0.35:
        record = {"person": seller, "count": number, "color": color, "goods": goods, "partner": buyer, "town": town}
        keys = rng.sample(list(record), rng.randint(2, 4))
        named = ", ".join(f'"{name}"' for name in keys)
        return [
            ("user", f"{text} Give me JSON. Keys: {named}."),
            ("assistant", json.dumps({name: record[name] for name in keys})),
        ]
    return [("user", f"{text} {ask}"), ("assistant", reply)]


def yes_no(rng: random.Random, fact: Fact) -> Turns:
    """A question that is answered with yes or no, and with the true statement."""
    if rng.random() < 0.5:
        return [("user", fact.fill(fact.relation.check)), ("assistant", f"Yes. {fact.statement()}")]
    wrong = Fact(fact.relation, fact.subject, _value(rng, fact), fact.extra)
    word = "Yes" if wrong.value == fact.value else "No"
    return [("user", wrong.fill(wrong.relation.check)), ("assistant", f"{word}. {fact.statement()}")]


UNKNOWN_SIDES = (
    "How old is {s}?",
    "How tall is {s}?",
    "When was {s} born?",
    "What is the surname of {s}?",
    "Who is {s}'s brother?",
    "What is the phone number of {s}?",
    "How much does {s} weigh?",
    "Who is married to {s}?",
    "What does {s} wear?",
    "Where was {s} born?",
    "What did {s} do yesterday?",
    "How fast can {s} run?",
    "What is {s}'s dream?",
    "Which school did {s} visit?",
    "How rich is {s}?",
    "What is {s} thinking?",
    "Who is {s}'s best friend?",
)


def unknown_side(rng: random.Random) -> Turns:
    """Something that the world does not say about a villager."""
    name = rng.choice(tables.NAMES)
    return [
        ("user", rng.choice(UNKNOWN_SIDES).format(s=name)),
        ("assistant", f"I am sorry, I do not know that about {name}."),
    ]


def unknown(rng: random.Random, fact: Fact) -> Turns:
    """A question about something that does not exist in the world."""
    name = tables.invented_word(rng)
    if fact.subject[0].isupper():
        name = name.capitalize() if rng.random() < 0.6 else rng.choice(tables.CONTEXT_NAMES)
        reply = rng.choice((f"I do not know {name}.", f"I am sorry, I have never heard of {name}."))
    else:
        reply = f"I do not know what {with_article(name)} is."
    stranger = Fact(fact.relation, name, fact.value, fact.extra)
    return [("user", stranger.fill(rng.choice(fact.relation.ask))), ("assistant", reply)]
