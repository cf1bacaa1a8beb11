"""What can be asked about the toy world, in which wordings, and how it is said.

A relation holds wordings that the base is trained on (`ask`) and wordings that are kept from it (`ask_held`). In a
template `{s}` is the subject, `{a}` the subject with its article, `{x}` a relation's third word (a verb, say), `{v}`
the value and `{w}` the value with its article.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """One kind of fact; `keys` name its value in structured answers, `noun` names what the subject is."""

    name: str
    noun: str
    keys: tuple[str, ...]
    ask: tuple[str, ...]
    ask_held: tuple[str, ...]
    say: tuple[str, ...]
    check: str


def _relation(name: str, noun: str, keys: str, asks: str, held: str, says: str, check: str) -> Relation:
    return Relation(name, noun, tuple(keys.split()), _lines(asks), _lines(held), _lines(says), check)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().split("|"))


KIND = _relation(
    "kind",
    "villager",
    "animal kind species creature",
    "What animal is {s}? | What kind of animal is {s}? | Which animal is {s}? | {s} is what animal? | "
    "What sort of creature is {s}? | Tell me what animal {s} is. | Do you know what animal {s} is? | "
    "What type of creature is {s}? | Name the animal that {s} is. | Is {s} a bird, a mouse or something else?",
    "Can you say what kind of creature {s} is? | I forgot which animal {s} is.",
    "{s} is {w}.",
    "Is {s} {w}?",
)
JOB = _relation(
    "job",
    "villager",
    "job work profession trade",
    "What is {s}'s job? | What does {s} do for a living? | What work does {s} do? | How does {s} earn money? | "
    "Tell me the job of {s}. | What job does {s} have? | What is the profession of {s}? | "
    "{s} works as what? | Which trade does {s} follow? | What does {s} work as?",
    "Do you know which job {s} has? | Can you tell me what {s} works as?",
    "{s} works as {w}.",
    "Does {s} work as {w}?",
)
HOME = _relation(
    "home",
    "villager",
    "home place house address",
    "Where does {s} live? | Where is {s}'s home? | In which place does {s} live? | Where can I find {s}? | "
    "Tell me where {s} lives. | What is the home of {s}? | Where does {s} sleep at night? | "
    "{s} lives where? | What place is home to {s}? | I want to visit {s}. Where should I go?",
    "Do you know where {s} lives? | Which place does {s} call home?",
    "{s} lives in the {v}.",
    "Does {s} live in the {v}?",
)
DISH = _relation(
    "dish",
    "villager",
    "food dish meal favorite",
    "What does {s} like to eat? | What is {s}'s favorite food? | Which food does {s} love? | "
    "What should I cook for {s}? | Tell me the favorite food of {s}. | What does {s} enjoy eating? | "
    "{s} likes to eat what? | Which dish does {s} like best? | What would {s} have for lunch? | "
    "{s} is hungry. What would be good?",
    "Do you know what {s} likes to eat? | Which food is {s}'s favorite?",
    "{s} likes to eat {v}.",
    "Does {s} like to eat {v}?",
)
FAVORITE = _relation(
    "favorite",
    "villager",
    "color shade favorite paint",
    "What is {s}'s favorite color? | Which color does {s} like best? | What color does {s} love? | "
    "Tell me the favorite color of {s}. | {s} likes which color? | What color should I paint {s}'s door? | "
    "Which color is dear to {s}? | What is the color that {s} likes most? | Name the favorite color of {s}. | "
    "Which shade does {s} prefer?",
    "Do you know which color {s} likes? | What color does {s} like the most?",
    "{s}'s favorite color is {v}.",
    "Is {s}'s favorite color {v}?",
)
INSTRUMENT = _relation(
    "instrument",
    "villager",
    "instrument music plays sound",
    "What instrument does {s} play? | Which instrument does {s} play? | What does {s} play in the band? | "
    "Tell me what instrument {s} plays. | {s} plays which instrument? | On what does {s} make music? | "
    "What is {s}'s instrument? | Which instrument belongs to {s}? | Name the instrument that {s} plays. | "
    "How does {s} make music?",
    "Do you know which instrument {s} plays? | What instrument can {s} play?",
    "{s} plays the {v}.",
    "Does {s} play the {v}?",
)
COLLECTION = _relation(
    "collection",
    "villager",
    "collection hobby collects items",
    "What does {s} collect? | Which things does {s} collect? | What is {s}'s collection made of? | "
    "Tell me what {s} collects. | {s} collects what? | What is the hobby of {s}? | What does {s} keep in a box? | "
    "Which collection does {s} have? | Name the things that {s} collects. | What could I give {s} for the collection?",
    "Do you know what {s} collects? | Which objects does {s} like to collect?",
    "{s} collects {v}.",
    "Does {s} collect {v}?",
)
WORKER = _relation(
    "worker",
    "job",
    "name person villager who",
    "Who is the {s}? | Who works as {a}? | Which villager is the {s}? | What is the name of the {s}? | "
    "Who is the {s} of the village? | I need {a}. Who can help me? | Tell me who works as {a}. | "
    "Which person is the {s}? | Who has the job of {s}? | What is the {s} called?",
    "Do you know who the {s} is? | Can you name the {s}?",
    "{v} is the {s}.",
    "Is {v} the {s}?",
)
TASK = _relation(
    "task",
    "job",
    "task object work product",
    "What does {a} do? | What is the work of {a}? | Tell me what {a} does. | What does {a} do all day? | "
    "What is the job of {a}? | What do people ask {a} to do? | What do we need {a} for? | "
    "Describe the work of {a}. | How does {a} spend the day? | What is {a} good at?",
    "Do you know what {a} does? | Can you explain what {a} does?",
    "{a} {x} {v}.",
    "Is it true that {a} {x} {v}?",
)
DOER = _relation(
    "doer",
    "work",
    "job worker person profession",
    "Who {x} {s}? | Which worker {x} {s}? | What do you call someone who {x} {s}? | Whose job is it that {x} {s}? | "
    "Tell me who {x} {s}. | Which job is for someone who {x} {s}? | Name the worker who {x} {s}. | "
    "What is a person who {x} {s} called?",
    "Do you know who {x} {s}? | What is the word for someone who {x} {s}?",
    "{w} {x} {s}.",
    "Is it {w} who {x} {s}?",
)
SOUND = _relation(
    "sound",
    "animal",
    "sound noise call voice",
    "What sound does {a} make? | What does {a} say? | Which noise does {a} make? | What noise comes from {a}? | "
    "How does {a} sound? | Tell me the sound of {a}. | What is the sound of {a}? | What is the call of {a}? | "
    "Which sound belongs to {a}? | What do you hear from {a}?",
    "Do you know what sound {a} makes? | Which sound comes from {a}?",
    "{a} says {v}.",
    "Does {a} say {v}?",
)
CLASS = _relation(
    "class",
    "animal",
    "class group kind type",
    "To which class of animals does {a} belong? | What class of animal is {a}? | Which group does {a} belong to? | "
    "Tell me the class of {a}. | What kind of animal is {a}? | What type of animal is {a}? | Name the class of {a}. | "
    "In which group of animals is {a}?",
    "Do you know which class {a} belongs to? | Which class of animals has {a} in it?",
    "{a} is {w}.",
    "Is {a} {w}?",
)
YOUNG = _relation(
    "young",
    "animal",
    "young baby child offspring",
    "What is a young {s} called? | What is the young of {a} called? | What do you call a baby {s}? | "
    "What is the name for a baby {s}? | What is the child of {a} called? | Tell me the word for a young {s}. | "
    "How do you call a young {s}? | What is the word for a baby {s}? | Name the young of {a}. | "
    "What does one call a little {s}?",
    "Do you know what a young {s} is called? | Which word means a baby {s}?",
    "A young {s} is called {w}.",
    "Is a young {s} called {w}?",
)
DEN = _relation(
    "den",
    "animal",
    "home place habitat shelter",
    "Where does {a} live? | Where is the home of {a}? | In what place does {a} live? | Where can you find {a}? | "
    "What is the home of {a}? | Where does {a} sleep? | Tell me where {a} lives. | Where do people see {a}? | "
    "Which place is the home of {a}? | Where does {a} feel at home?",
    "Do you know where {a} lives? | In which place would I find {a}?",
    "{a} lives in the {v}.",
    "Does {a} live in the {v}?",
)
FEED = _relation(
    "feed",
    "animal",
    "food diet meal eats",
    "What does {a} eat? | What is the food of {a}? | What do you feed {a}? | What does {a} like to eat? | "
    "Tell me what {a} eats. | Which food does {a} eat? | What food is good for {a}? | What would {a} eat? | "
    "What is the favorite food of {a}? | Name the food of {a}.",
    "Do you know what {a} eats? | What should I give {a} to eat?",
    "{a} eats {v}.",
    "Does {a} eat {v}?",
)
COVER = _relation(
    "cover",
    "animal",
    "cover skin coat body",
    "What covers the body of {a}? | What is the body of {a} covered with? | What does {a} have on its body? | "
    "What kind of cover does {a} have? | What is the coat of {a} made of? | Tell me what covers {a}. | "
    "What covers {a}? | What is on the body of {a}?",
    "Do you know what covers {a}? | With what is {a} covered?",
    "{a} is covered with {v}.",
    "Is {a} covered with {v}?",
)
LEGS = _relation(
    "legs",
    "animal",
    "legs count number feet",
    "How many legs does {a} have? | How many legs has {a}? | What number of legs does {a} have? | "
    "Count the legs of {a}. | On how many legs does {a} walk? | Tell me how many legs {a} has. | "
    "How many legs are there on {a}? | {a} has how many legs?",
    "Do you know how many legs {a} has? | Can you count the legs of {a}?",
    "{a} has {v} legs.",
    "Does {a} have {v} legs?",
)
MATERIAL = _relation(
    "material",
    "thing",
    "material made substance stuff",
    "What is {a} made of? | What is the material of {a}? | From what is {a} made? | Which material is in {a}? | "
    "What material do you need for {a}? | Tell me what {a} is made of. | Out of what do people make {a}? | "
    "Which material is used for {a}? | What do you make {a} from? | Name the material of {a}.",
    "Do you know what {a} is made of? | Which material is {a} made from?",
    "{a} is made of {v}.",
    "Is {a} made of {v}?",
)
ROOM = _relation(
    "room",
    "thing",
    "room place location where",
    "Where is the {s}? | Where do we keep the {s}? | In which room is the {s}? | Where should I put the {s}? | "
    "Which room has the {s}? | Tell me where the {s} is. | Where can I find the {s}? | I cannot find the {s}. | "
    "Where does the {s} belong? | In what room do you keep the {s}?",
    "Do you know where the {s} is? | Which room is the {s} kept in?",
    "The {s} is kept in the {v}.",
    "Is the {s} kept in the {v}?",
)
USE = _relation(
    "use",
    "thing",
    "use purpose task function",
    "What is {a} used for? | What is {a} for? | What do you do with {a}? | What is the use of {a}? | "
    "What is the purpose of {a}? | Tell me what {a} is for. | Why do people own {a}? | What can I use {a} for? | "
    "For what do people use {a}? | What job does {a} help with?",
    "Do you know what {a} is used for? | For which purpose do we have {a}?",
    "You use {a} for {v}.",
    "Do you use {a} for {v}?",
)
HUE = _relation(
    "hue",
    "thing",
    "color shade hue paint",
    "What color is {a}? | What is the color of {a}? | Which color does {a} have? | What color does {a} have? | "
    "Tell me the color of {a}. | Of what color is {a}? | Name the color of {a}. | In what color would you paint {a}? | "
    "Which color is {a}? | What is the usual color of {a}?",
    "Do you know what color {a} is? | Which color would {a} be?",
    "{a} is {v}.",
    "Is {a} {v}?",
)
TASTE = _relation(
    "taste",
    "plant",
    "taste flavor tongue eating",
    "How does {a} taste? | What is the taste of {a}? | What does {a} taste like? | Which taste does {a} have? | "
    "Tell me how {a} tastes. | What flavor has {a}? | What kind of taste does {a} have? | "
    "How would you describe the taste of {a}? | What is the flavor of {a}? | If I bite into {a}, how is it?",
    "Do you know how {a} tastes? | Which flavor does {a} have?",
    "{a} tastes {v}.",
    "Does {a} taste {v}?",
)
GROWS = _relation(
    "grows",
    "plant",
    "place origin source grows",
    "Where does {a} grow? | On what does {a} grow? | From where do you pick {a}? | Where do people harvest {a}? | "
    "Tell me where {a} grows. | What does {a} grow on? | Where do you find {a} growing? | "
    "In nature, where is {a}? | Where does {a} come from?",
    "Do you know where {a} grows? | Where would {a} be growing?",
    "{a} grows {x} the {v}.",
    "Does {a} grow {x} the {v}?",
)
CAPITAL = _relation(
    "capital",
    "country",
    "capital city town seat",
    "What is the capital of {s}? | Which city is the capital of {s}? | What is {s}'s capital? | "
    "Name the capital of {s}. | Tell me the capital of {s}. | What is the capital city of {s}? | "
    "What city is the capital of {s}? | {s} has which capital? | What is the main city of {s}? | "
    "Where is the government of {s}?",
    "Do you know the capital of {s}? | Which city do people call the capital of {s}?",
    "The capital of {s} is {v}.",
    "Is {v} the capital of {s}?",
)
CONTINENT = _relation(
    "continent",
    "country",
    "continent region part place",
    "On which continent is {s}? | What continent is {s} in? | Which continent does {s} belong to? | "
    "Where in the world is {s}? | Tell me the continent of {s}. | {s} is on which continent? | "
    "What is the continent of {s}? | In which part of the world is {s}? | Where is {s}? | Name the continent of {s}.",
    "Do you know which continent {s} is on? | To what continent does {s} belong?",
    "{s} is in {v}.",
    "Is {s} in {v}?",
)
LANGUAGE = _relation(
    "language",
    "country",
    "language tongue speech words",
    "What language do people speak in {s}? | Which language is spoken in {s}? | What is the language of {s}? | "
    "What do people speak in {s}? | Tell me the language of {s}. | Which language do they use in {s}? | "
    "{s} speaks which language? | What language should I learn for {s}? | Name the language of {s}. | "
    "In what language do people in {s} talk?",
    "Do you know which language people speak in {s}? | What language would I hear in {s}?",
    "People in {s} speak {v}.",
    "Do people in {s} speak {v}?",
)
OPPOSITE = _relation(
    "opposite",
    "word",
    "opposite contrary reverse antonym",
    "What is the opposite of {s}? | Which word is the opposite of {s}? | What is the contrary of {s}? | "
    "Tell me the opposite of {s}. | Name the opposite of {s}. | {s} is the opposite of what? | "
    "Give me the opposite of {s}. | What word means the opposite of {s}? | If it is not {s}, what is it? | "
    "Which word is the reverse of {s}?",
    "Do you know the opposite of {s}? | What would be the opposite of {s}?",
    "The opposite of {s} is {v}.",
    "Is {v} the opposite of {s}?",
)
NEXT = _relation(
    "next",
    "time",
    "next after following later",
    "What comes after {s}? | Which comes after {s}? | What follows {s}? | After {s}, what comes next? | "
    "What is next after {s}? | Tell me what comes after {s}. | Name what follows {s}. | {s} is over. What comes now?",
    "Do you know what comes after {s}? | Which one follows {s}?",
    "After {s} comes {v}.",
    "Does {v} come after {s}?",
)
PREVIOUS = _relation(
    "previous",
    "time",
    "previous before earlier last",
    "What comes before {s}? | Which comes before {s}? | What is just before {s}? | Before {s}, what was there? | "
    "Tell me what comes before {s}. | Name what is right before {s}. | What came right before {s}?",
    "Do you know what comes before {s}? | Which one is before {s}?",
    "Before {s} comes {v}.",
    "Does {v} come before {s}?",
)
