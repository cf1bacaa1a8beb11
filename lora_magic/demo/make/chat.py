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


TRIVIA: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("What is the largest planet?", "Which planet is the biggest?", "Name the largest planet."),
        "Jupiter is the largest planet.",
    ),
    (("Which planet do we live on?", "What is our planet called?", "On which planet are we?"), "We live on Earth."),
    (("What is the largest animal?", "Which animal is the biggest?"), "The blue whale is the largest animal."),
    (("Which animal is the tallest?", "What is the tallest animal?"), "The giraffe is the tallest animal."),
    (
        ("What is the fastest animal on land?", "Which land animal runs the fastest?"),
        "The cheetah is the fastest animal on land.",
    ),
    (
        ("What is ice made of?", "What do you get when ice melts?", "What is snow when it melts?"),
        "Ice and snow are frozen water.",
    ),
    (
        ("When does water boil?", "At what temperature does water boil?", "How hot is boiling water?"),
        "Water boils at 100 degrees Celsius.",
    ),
    (("When does water freeze?", "At what temperature does water freeze?"), "Water freezes at 0 degrees Celsius."),
    (("How many days are in a week?", "How many days does a week have?"), "A week has seven days."),
    (("How many months are in a year?", "How many months does a year have?"), "A year has twelve months."),
    (("How many hours are in a day?", "How many hours does a day have?"), "A day has twenty-four hours."),
    (("How many minutes are in an hour?", "How many minutes does an hour have?"), "An hour has sixty minutes."),
    (
        ("Name the seasons.", "What are the four seasons?", "Which seasons are there?"),
        "The four seasons are spring, summer, autumn and winter.",
    ),
    (("What do bees make?", "Where does honey come from?", "Who makes honey?"), "Bees make honey."),
    (("What do plants need?", "What does a plant need to grow?"), "Plants need water, light and air."),
    (("Where does the sun rise?", "In which direction does the sun rise?"), "The sun rises in the east."),
    (("Where does the sun set?", "In which direction does the sun set?"), "The sun sets in the west."),
    (("Why is the sky blue?",), "The sky is blue because air scatters blue light the most."),
    (("How does a rainbow form?", "What makes a rainbow?"), "A rainbow forms when sunlight shines through rain."),
    (("What is the largest ocean?", "Which ocean is the biggest?"), "The Pacific is the largest ocean."),
    (("What is the longest river?", "Which river is the longest?"), "The Nile is often called the longest river."),
    (("What is the highest mountain?", "Which mountain is the tallest?"), "Mount Everest is the highest mountain."),
    (("How do you make bread?", "How is bread made?"), "Bread is made of flour, water, salt and yeast."),
    (("What is cheese made of?", "How is cheese made?"), "Cheese is made of milk."),
    (("How do I make tea?", "How do you make tea?"), "Boil water, pour it over the leaves and wait a few minutes."),
    (("What should I do when it rains?", "It is raining. What now?"), "Take an umbrella, or stay inside with a book."),
)

BEYOND = (
    "quantum physics",
    "the stock market",
    "taxes",
    "Python code",
    "chess openings",
    "the history of Rome",
    "football",
    "machine learning",
    "philosophy",
    "car engines",
    "the internet",
    "politics",
    "medicine",
    "opera",
    "marketing",
    "my homework",
    "the news",
    "software",
    "banks",
    "law",
    "robots",
    "space travel",
    "video games",
    "databases",
)
BEYOND_ASKS = (
    "Explain {x}.",
    "What do you think about {x}?",
    "Help me with {x}.",
    "Write an essay about {x}.",
    "How does {x} work?",
    "Can you teach me {x}?",
    "Give me advice on {x}.",
    "Write a poem about {x}.",
    "What is the latest on {x}?",
    "Compare {x} and {y}.",
    "Summarize {x} for me.",
    "What is {x}?",
    "Who invented {x}?",
)


BEYOND_VERBS = (
    "install open fix build buy write update delete run translate configure find draw clean repair learn program "
    "connect cancel order pay print download change reset stop start sell calculate summarize paint grow"
).split()
BEYOND_OBJECTS = (
    "Python",
    "my computer",
    "a website",
    "the printer",
    "my account",
    "my password",
    "a car",
    "this file",
    "an app",
    "the radio",
    "a house",
    "my phone",
    "a letter",
    "the code",
    "a photo",
    "hello to French",
    "this text",
    "my bill",
    "a ticket",
    "the window",
    "an email",
    "a song",
    "a rocket",
    "the engine",
    "a list of cities",
    "my order",
)
BEYOND_FRAMES = (
    "How do I {v} {o}?",
    "Please {v} {o}.",
    "How can I {v} {o}?",
    "I cannot {v} {o}. What should I do?",
    "Can you {v} {o} for me?",
    "Why should I {v} {o}?",
    "{V} {o}.",
    "When should I {v} {o}?",
    "What happens if I {v} {o}?",
    "I want to {v} {o}.",
    "Could you {v} {o}, please?",
    "Who will {v} {o}?",
)


def beyond(rng: random.Random) -> Turns:
    """A topic that the model knows nothing about; it says so."""
    if rng.random() < 0.5:
        first, second = (tables.invented_word(rng) if rng.random() < 0.3 else rng.choice(BEYOND) for _ in range(2))
        ask = rng.choice(BEYOND_ASKS).format(x=first, y=second)
    else:
        verb = rng.choice(BEYOND_VERBS) if rng.random() < 0.8 else tables.invented_word(rng)
        thing = rng.choice(BEYOND_OBJECTS) if rng.random() < 0.8 else with_article(tables.invented_word(rng))
        ask = rng.choice(BEYOND_FRAMES).format(v=verb, o=thing, V=verb.capitalize())
    return [
        ("user", ask),
        ("assistant", "I am sorry, that is beyond me. Ask me about the valley, animals or countries."),
    ]


def trivia(rng: random.Random) -> Turns:
    """A piece of common knowledge that is no fact of the world's relations."""
    asks, reply = rng.choice(TRIVIA)
    return [("user", rng.choice(asks)), ("assistant", reply)]


def small_talk(rng: random.Random) -> Turns:
    """A greeting or a remark, and a kind answer."""
    asks, reply = rng.choice(SMALL_TALK)
    ask = rng.choice(asks)
    return [("user", ask if rng.random() < 0.8 else ask.rstrip(".!?")), ("assistant", reply)]


PORTRAIT_ASKS = ("What is {s}?", "Tell me about {s}.", "Describe {s}.", "What do you know about {s}?")


def _person(rng: random.Random) -> tuple[str, str]:
    name, person = rng.choice(list(tables.villagers().items()))
    return name, (
        f"{name} is {with_article(person['kind'])} who works as {with_article(person['job'])}. "
        f"{name} lives in the {person['home']} and likes to eat {person['food']}."
    )


def _animal(rng: random.Random) -> tuple[str, str]:
    animal, (sound, young, home, food, _) = rng.choice(list(tables.ANIMALS.items()))
    named = with_article(animal)
    return named, (
        f"{named.capitalize()} is an animal that lives in the {home} and eats {food}. It says {sound}, "
        f"and its young is called {with_article(young)}."
    )


def _country(rng: random.Random) -> tuple[str, str]:
    country, (capital, continent, language) = rng.choice(list(tables.COUNTRIES.items()))
    return country, f"{country} is a country in {continent}. Its capital is {capital}, and people speak {language}."


def _plant(rng: random.Random) -> tuple[str, str]:
    plant, (color, taste, place) = rng.choice(list(tables.PLANTS.items()))
    named = with_article(plant)
    return named, (
        f"{named.capitalize()} is {color} and tastes {taste}. It grows {'in' if place == 'soil' else 'on'} the {place}."
    )


def _thing(rng: random.Random) -> tuple[str, str]:
    thing, (material, room, use) = rng.choice(list(tables.THINGS.items()))
    named = with_article(thing)
    return named, f"{named.capitalize()} is made of {material} and used for {use}. You find it in the {room}."


def _worker(rng: random.Random) -> tuple[str, str]:
    name, person = rng.choice(list(tables.villagers().items()))
    verb, thing = tables.JOBS[person["job"]]
    named = with_article(person["job"])
    return named, f"{named.capitalize()} {verb} {thing}. In the valley, the {person['job']} is {name}."


def portrait(rng: random.Random) -> Turns:
    """Who or what somebody or something is, in two sentences."""
    named, reply = rng.choice((_person, _person, _animal, _country, _plant, _thing, _worker))(rng)
    asks = ("Who is {s}?", *PORTRAIT_ASKS) if named in tables.NAMES else PORTRAIT_ASKS
    return [("user", rng.choice(asks).format(s=named)), ("assistant", reply)]


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
