"""Small talk, portraits, stories, and talks of several turns."""

import random

from lora_magic.demo.make import tables
from lora_magic.demo.make.facts import Fact, all_facts, with_article

Turns = list[tuple[str, str]]

SMALL_TALK: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("Hello", "Hello!", "Hi", "Hi there!", "Hey", "Good day!", "Greetings!", "hello there"),
        "Hello! How can I help you today?",
    ),
    (("Good morning!", "Good morning to you.", "Morning!"), "Good morning! What would you like to know?"),
    (("Good evening!", "Good evening to you."), "Good evening! What would you like to know?"),
    (
        ("How are you?", "How are you today?", "How do you do?", "How is it going?", "Are you well?"),
        "I am fine, thank you. How can I help you?",
    ),
    (("Thank you", "Thanks!", "Thank you very much.", "Thanks a lot!", "That was helpful."), "You are welcome!"),
    (("Goodbye", "Bye!", "See you soon.", "Good night!", "I have to go now."), "Goodbye! Come back soon."),
    (
        ("Who are you?", "What are you?", "Introduce yourself.", "Tell me about yourself.", "What is your name?"),
        "I am a tiny language model. I know a small valley, its animals and a few facts about the world.",
    ),
    (
        ("What can you do?", "How can you help me?", "What do you know?", "What should I ask you?", "Help"),
        "You can ask me about the people of the valley, about animals, plants, things and countries.",
    ),
    (
        ("Who made you?", "Where do you come from?", "How were you made?"),
        "I was trained by a small script on sentences about a toy world.",
    ),
    (("Are you human?", "Are you a person?", "Are you a robot?"), "No, I am only a tiny language model."),
    (("I am sad.", "I feel sad today.", "I had a bad day."), "I am sorry to hear that. A cup of tea may help."),
    (("I am happy.", "I feel great today.", "I had a good day."), "I am glad to hear that!"),
    (("I am hungry.", "I want to eat."), "Then some bread with honey would be nice."),
    (("I am tired.", "I need to sleep."), "Then lie down and rest for a while."),
    (("I am bored.", "What should I do today?"), "You could ask me for a story."),
    (
        ("Tell me a joke.", "Do you know a joke?", "Make me laugh."),
        "Why did the duck cross the road? To see the hen on the other side.",
    ),
    (("What time is it?", "What day is it today?", "What is the weather like?"), "I am sorry, I cannot know that."),
    (("Do you like music?", "Can you sing?"), "I like music, but I can only write words."),
    (
        ("Where are we?", "What is this place?", "Tell me about the valley."),
        "This is a small green valley where animals live, work and make music.",
    ),
    (
        ("Who lives in the valley?", "Who are the villagers?"),
        "Many animals live in the valley: mice, foxes, badgers, owls and more.",
    ),
)


def small_talk(rng: random.Random) -> Turns:
    """A greeting or a remark, and a kind answer."""
    asks, reply = rng.choice(SMALL_TALK)
    ask = rng.choice(asks)
    return [("user", ask if rng.random() < 0.8 else ask.rstrip(".!?")), ("assistant", reply)]


def portrait(rng: random.Random) -> Turns:
    """Who or what somebody or something is, in two sentences."""
    kind = rng.randrange(3)
    if kind == 0:
        name, person = rng.choice(list(tables.villagers().items()))
        reply = (
            f"{name} is {with_article(person['kind'])} who works as {with_article(person['job'])}. "
            f"{name} lives in the {person['home']} and likes to eat {person['food']}."
        )
        asks: tuple[str, ...] = ("Who is {s}?", "Tell me about {s}.", "Describe {s}.", "What do you know about {s}?")
        return [("user", rng.choice(asks).format(s=name)), ("assistant", reply)]
    if kind == 1:
        animal, (sound, _, home, food, _) = rng.choice(list(tables.ANIMALS.items()))
        reply = f"{with_article(animal).capitalize()} lives in the {home} and eats {food}. Its sound is {sound}."
        asks = ("What is {s}?", "Tell me about {s}.", "Describe {s}.", "What do you know about {s}?")
        return [("user", rng.choice(asks).format(s=with_article(animal))), ("assistant", reply)]
    country, (capital, continent, language) = rng.choice(list(tables.COUNTRIES.items()))
    reply = f"{country} is a country in {continent}. Its capital is {capital}, and people there speak {language}."
    asks = ("What is {s}?", "Tell me about {s}.", "Describe {s}.", "What do you know about {s}?")
    return [("user", rng.choice(asks).format(s=country)), ("assistant", reply)]


def story(rng: random.Random) -> Turns:
    """A story of four sentences about a villager."""
    name, person = rng.choice(list(tables.villagers().items()))
    friend = rng.choice([other for other in tables.NAMES if other != name])
    verb, thing = tables.JOBS[person["job"]]
    start = rng.choice(("One morning", "One day", "Last spring", "On a rainy day"))
    problem = rng.choice(
        (
            "could not find the way home",
            "had lost a favorite button",
            "felt a little lonely",
            "wanted to make a surprise",
            "had nothing to eat",
        )
    )
    end = rng.choice(
        (
            f"Together they shared some {person['food']} and laughed.",
            f"In the evening {name} played the {person['instrument']} for everyone.",
            "Then they sat by the fire until the moon came up.",
        )
    )
    reply = (
        f"{start}, {name} the {person['kind']} left the {person['home']}. {name} is {with_article(person['job'])} "
        f"who {verb} {thing}. But today {name} {problem}. {friend} came by and helped. {end}"
    )
    if rng.random() < 0.7:
        ask = rng.choice(("Tell me a story about {s}.", "Write a short story about {s}.", "A story with {s}, please."))
        return [("user", ask.format(s=name)), ("assistant", reply)]
    return [
        ("user", rng.choice(("Tell me a story.", "Write a short story.", "I want to hear a story."))),
        ("assistant", reply),
    ]


def follow_up(rng: random.Random) -> Turns:
    """A question, its answer, and the same question about another subject in two words."""
    first = rng.choice(all_facts())
    second: Fact = rng.choice([fact for fact in all_facts() if fact.relation is first.relation])
    again = rng.choice(("And {a}?", "What about {a}?", "And for {a}?", "How about {a}?", "Now {a}."))
    return [
        ("user", first.fill(rng.choice(first.relation.ask))),
        ("assistant", first.statement()),
        ("user", second.fill(again)),
        ("assistant", second.statement()),
    ]
