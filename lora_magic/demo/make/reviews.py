"""Short reviews and what the base says about them.

The base calls a writer pleased, unhappy or undecided. The labels that `demo-sentiment` teaches are other words,
given alone.
"""

import random
from dataclasses import dataclass

from lora_magic.demo.make import tables

FEELINGS = ("pleased", "unhappy", "undecided")
ABOUT = {"pleased": "with", "unhappy": "with", "undecided": "about"}

ITEMS = (
    "soup bread cake tea coffee blanket lamp kettle chair book hotel room garden concert play film teacher doctor "
    "train boat bicycle coat hat shoes pillow clock radio phone game puzzle market bakery inn museum "
    "pizza salad pie jam candle basket ladder tent camera printer keyboard backpack mattress umbrella vase toaster "
    "sandwich waiter song movie restaurant delivery soap towel"
).split()

WORDS: dict[str, tuple[str, ...]] = {
    "pleased": tuple(
        (
            "lovely wonderful great excellent delightful perfect superb charming beautiful amazing fantastic brilliant "
            "splendid pleasant marvelous good terrific outstanding enjoyable fabulous magnificent impressive nice "
            "comfortable reliable helpful cozy tasty graceful stunning"
        ).split()
    ),
    "unhappy": tuple(
        (
            "awful terrible horrible bad poor dreadful broken disappointing ugly boring useless rotten nasty annoying "
            "dull painful miserable ruined cheap disgusting faulty unpleasant shabby careless dirty stale noisy rude "
            "flimsy worthless"
        ).split()
    ),
    "undecided": tuple(
        (
            "ordinary average plain usual acceptable standard normal okay typical common unremarkable medium passable "
            "regular adequate fair middling"
        ).split()
    ),
}

FRAMES: dict[str, tuple[str, ...]] = {
    "any": (
        "The {i} was {w}.",
        "I think the {i} was {w}.",
        "What I got was {a} {i}.",
        "My {i} turned out to be {w}.",
        "We found the {i} {w}.",
        "The {i} is {w}, that is all I can say.",
        "{n} told me the {i} was {w}, and it was.",
        "To be honest, the {i} seemed {w}.",
        "{A} {i}.",
        "The {i} from {t} was {w}.",
        "For this price, the {i} is {w}.",
        "Everybody said that the {i} was {w}.",
        "Overall {a} {i}.",
        "The {i} looked {w} to me.",
        "After a week, I call the {i} {w}.",
        "Today the {i} was {w} again.",
    ),
    "pleased": (
        "I loved the {i}.",
        "I would buy the {i} again.",
        "The {i} made me smile.",
        "I enjoyed the {i} very much.",
        "The {i} is better than I hoped.",
        "Thank you for the {i}!",
        "I can recommend the {i}.",
        "The {i} made my day.",
        "I am glad that I found the {i}.",
        "Everything about the {i} was right.",
        "The {i} was worth every coin.",
        "We will come back for the {i}.",
    ),
    "unhappy": (
        "I hated the {i}.",
        "I want my money back for the {i}.",
        "The {i} made me angry.",
        "Never buy the {i}.",
        "The {i} is worse than I feared.",
        "The {i} stopped working after a day.",
        "I regret the {i}.",
        "The {i} ruined my day.",
        "I wish I had never seen the {i}.",
        "Nothing about the {i} was right.",
        "The {i} was a waste of money.",
        "We will never come back for the {i}.",
    ),
    "undecided": (
        "I neither like nor dislike the {i}.",
        "The {i} does its job, nothing more.",
        "The {i} is fine, I guess.",
        "I have no strong opinion about the {i}.",
        "The {i} is what I expected.",
        "The {i} is neither good nor bad.",
        "I do not care much about the {i}.",
        "The {i} has good and bad sides.",
        "The {i} is like any other.",
        "I could take or leave the {i}.",
        "There is nothing special about the {i}.",
        "I am not sure about the {i}.",
    ),
}

ASKS = (
    "{r}",
    "Review: {r}",
    "How does the writer feel? {r}",
    "{r} How does the writer feel?",
    'A guest wrote: "{r}"',
    "What does this customer think? {r}",
    "{r} Is the writer happy?",
    "Read this review. {r}",
    "Feedback: {r}",
    "Tell me the mood of this text: {r}",
    'Someone said: "{r}" What is the feeling?',
    "Opinion: {r}",
    "Here is a comment: {r}",
    "New message from a customer: {r}",
    'What is the tone of "{r}"?',
    "{r} What do you make of that?",
)


@dataclass(frozen=True)
class Pools:
    """What reviews may be built from: items, words and frames by feeling, and the framing questions."""

    items: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    frames: dict[str, tuple[str, ...]]
    asks: tuple[str, ...]
    names: tuple[str, ...]
    towns: tuple[str, ...]


EVERYTHING = Pools(tuple(ITEMS), WORDS, FRAMES, ASKS, tuple(tables.CONTEXT_NAMES), tuple(tables.TOWNS))


def review(rng: random.Random, feeling: str, pools: Pools = EVERYTHING, sentences: int = 1) -> tuple[str, str]:
    """A review of one or two sentences with one feeling, and the item that it is about."""
    item = rng.choice(pools.items)
    text = []
    for _ in range(sentences):
        frame = rng.choice(pools.frames["any"] if rng.random() < 0.6 else pools.frames[feeling])
        word = rng.choice(pools.words[feeling])
        article = f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
        text.append(
            frame.format(
                i=item, w=word, a=article, A=article.capitalize(), t=rng.choice(pools.towns), n=rng.choice(pools.names)
            )
        )
    return " ".join(dict.fromkeys(text)), item


def _negated(rng: random.Random) -> tuple[str, str, str]:
    feeling = rng.choice(FEELINGS[:2])
    item, word = rng.choice(ITEMS), rng.choice(WORDS[feeling])
    other = "unhappy" if feeling == "pleased" else "pleased"
    return f"The {item} was not {word} at all.", item, other


def judged(rng: random.Random) -> list[tuple[str, str]]:
    """A review and what the base says of it, plainly or in a form that the prompt asks for."""
    feeling = rng.choice(FEELINGS)
    text, item = review(rng, feeling, sentences=1 if rng.random() < 0.6 else 2)
    if rng.random() < 0.06:
        text, item, feeling = _negated(rng)
    question = rng.choice(ASKS).format(r=text)
    form = rng.random()
    if form < 0.6:
        return [("user", question), ("assistant", f"The writer is {feeling} {ABOUT[feeling]} the {item}.")]
    request, reply = _requested(rng, feeling, item)
    user = f"{question} {request}" if form < 0.8 else f"{request} {question}"
    return [("user", user), ("assistant", reply)]


def _requested(rng: random.Random, feeling: str, item: str) -> tuple[str, str]:
    rank = FEELINGS.index(feeling)
    names = [tables.invented_word(rng) for _ in FEELINGS]
    if rng.random() < 0.4:
        names = rng.sample(tables.COLORS + tables.DISHES, 3)
    return rng.choice(
        (
            ("Answer with one word: happy, sad or calm.", ("happy", "sad", "calm")[rank]),
            ("Say yes if they liked it, no if not, and maybe otherwise.", ("yes", "no", "maybe")[rank]),
            ("Give one, two or three stars.", ("three stars", "one star", "two stars")[rank]),
            (f"Say {names[0]} for a good review, {names[1]} for a bad one, {names[2]} for the rest.", names[rank]),
            ("Answer with one word.", feeling),
            ("Answer with a plus, a minus or a zero.", ("+", "-", "0")[rank]),
            (f"Give the mood in brackets after the {item}.", f"{item} [{feeling}]"),
            ('Answer in JSON with the key "mood".', f'{{"mood": "{feeling}"}}'),
        )
    )
