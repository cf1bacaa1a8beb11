"""The toy world's raw tables: the valley's people and a small encyclopedia.

Every row is common knowledge or invented for this project; no real person occurs. Values are single words on
purpose, so that each can be one token (see `tokenizer.py`).
"""

import random

COLORS = "red blue green yellow orange purple brown black white gray pink golden silver".split()

NAMES = (
    "Pip Hazel Bram Wren Olive Finn Moss Clover Juniper Tansy Rufus Nettle Barley Poppy Otto Fern Basil Maple "
    "Dusty Ivy Jasper Willa Hugo Luna Milo Daisy Oscar Pearl Toby Violet Felix Ruby Ned Sage Bruno Iris Gus "
    "Mabel Cosmo Lottie Rowan Effie Archie Nora Barnaby Tilly Percy Flora"
).split()

VILLAGER_KINDS = "mouse fox badger rabbit hedgehog otter squirrel owl frog mole duck bear cat goose beaver toad".split()
HOMES = (
    "mill tower lighthouse cottage burrow castle garden harbor orchard windmill cellar attic barn cabin treehouse "
    "boathouse greenhouse inn library tent"
).split()
DISHES = (
    "honey soup cheese pancakes bread cake pie porridge pasta berries nuts rice cookies stew salad toast pudding "
    "mushrooms noodles jam"
).split()
INSTRUMENTS = "flute drum violin piano harp trumpet guitar banjo cello whistle bell accordion".split()
COLLECTIONS = (
    "buttons shells stamps coins feathers marbles spoons stones postcards maps teapots ribbons acorns bottles "
    "thimbles kites"
).split()

JOBS: dict[str, tuple[str, str]] = {  # job: (verb, object)
    "baker": ("bakes", "bread"),
    "farmer": ("grows", "wheat"),
    "fisher": ("catches", "fish"),
    "doctor": ("heals", "patients"),
    "teacher": ("teaches", "children"),
    "tailor": ("sews", "clothes"),
    "painter": ("paints", "pictures"),
    "carpenter": ("builds", "tables"),
    "gardener": ("plants", "flowers"),
    "cook": ("makes", "meals"),
    "miller": ("grinds", "grain"),
    "shepherd": ("guards", "sheep"),
    "sailor": ("sails", "ships"),
    "singer": ("sings", "songs"),
    "writer": ("writes", "books"),
    "smith": ("hammers", "iron"),
    "potter": ("shapes", "bowls"),
    "weaver": ("weaves", "cloth"),
    "mayor": ("leads", "towns"),
    "guard": ("watches", "gates"),
    "pilot": ("flies", "planes"),
    "plumber": ("fixes", "pipes"),
    "driver": ("drives", "buses"),
    "judge": ("decides", "cases"),
    "barber": ("cuts", "hair"),
    "dentist": ("cleans", "teeth"),
    "jeweler": ("makes", "rings"),
    "miner": ("digs", "coal"),
    "mason": ("lays", "bricks"),
    "grocer": ("sells", "vegetables"),
    "florist": ("sells", "roses"),
    "actor": ("performs", "plays"),
    "clown": ("tells", "jokes"),
    "wizard": ("casts", "spells"),
    "detective": ("finds", "clues"),
    "scientist": ("runs", "experiments"),
    "astronomer": ("studies", "stars"),
    "cobbler": ("mends", "shoes"),
    "hatter": ("makes", "hats"),
    "locksmith": ("makes", "keys"),
    "beekeeper": ("keeps", "bees"),
    "postman": ("delivers", "letters"),
    "clockmaker": ("repairs", "clocks"),
    "librarian": ("lends", "novels"),
    "printer": ("prints", "newspapers"),
    "ranger": ("protects", "forests"),
    "dairymaid": ("milks", "cows"),
    "juggler": ("juggles", "balls"),
}

ANIMALS: dict[str, tuple[str, str, str, str, str]] = {  # animal: (sound, young, home, food, cover)
    "cow": ("moo", "calf", "barn", "grass", "hair"),
    "dog": ("woof", "puppy", "kennel", "meat", "fur"),
    "cat": ("meow", "kitten", "house", "fish", "fur"),
    "duck": ("quack", "duckling", "pond", "weeds", "feathers"),
    "sheep": ("baa", "lamb", "meadow", "clover", "wool"),
    "pig": ("oink", "piglet", "sty", "turnips", "skin"),
    "horse": ("neigh", "foal", "stable", "hay", "hair"),
    "hen": ("cluck", "chick", "coop", "grain", "feathers"),
    "owl": ("hoot", "owlet", "tree", "mice", "feathers"),
    "lion": ("roar", "cub", "savanna", "meat", "fur"),
    "frog": ("croak", "tadpole", "pond", "flies", "skin"),
    "bee": ("buzz", "larva", "hive", "nectar", "hair"),
    "snake": ("hiss", "snakelet", "hole", "eggs", "scales"),
    "bear": ("growl", "cub", "den", "honey", "fur"),
    "wolf": ("howl", "pup", "forest", "meat", "fur"),
    "mouse": ("squeak", "pinkie", "nest", "cheese", "fur"),
    "goat": ("bleat", "kid", "mountains", "leaves", "hair"),
    "goose": ("honk", "gosling", "lake", "grass", "feathers"),
    "crow": ("caw", "chick", "nest", "seeds", "feathers"),
    "dove": ("coo", "squab", "loft", "seeds", "feathers"),
    "donkey": ("bray", "foal", "stable", "hay", "hair"),
    "turkey": ("gobble", "poult", "yard", "corn", "feathers"),
    "elephant": ("toot", "calf", "savanna", "leaves", "skin"),
    "fox": ("bark", "kit", "den", "rabbits", "fur"),
    "sparrow": ("chirp", "chick", "hedge", "seeds", "feathers"),
    "monkey": ("chatter", "infant", "jungle", "bananas", "fur"),
    "seal": ("bark", "pup", "sea", "fish", "fur"),
    "eagle": ("screech", "eaglet", "mountains", "fish", "feathers"),
    "rabbit": ("squeal", "kit", "burrow", "carrots", "fur"),
    "deer": ("grunt", "fawn", "forest", "leaves", "hair"),
    "whale": ("hum", "calf", "ocean", "shrimp", "skin"),
    "tiger": ("roar", "cub", "jungle", "meat", "fur"),
}

THINGS: dict[str, tuple[str, str, str]] = {  # thing: (material, room, use)
    "kettle": ("steel", "kitchen", "boiling"),
    "broom": ("straw", "closet", "sweeping"),
    "pillow": ("cotton", "bedroom", "sleeping"),
    "hammer": ("iron", "workshop", "hitting"),
    "spoon": ("silver", "kitchen", "stirring"),
    "pencil": ("wood", "office", "writing"),
    "towel": ("cotton", "bathroom", "drying"),
    "lamp": ("brass", "bedroom", "reading"),
    "shovel": ("iron", "shed", "digging"),
    "needle": ("steel", "studio", "sewing"),
    "oven": ("metal", "kitchen", "baking"),
    "saw": ("steel", "workshop", "cutting"),
    "mirror": ("glass", "bathroom", "looking"),
    "rope": ("hemp", "boathouse", "tying"),
    "soap": ("oil", "bathroom", "washing"),
    "candle": ("wax", "parlor", "lighting"),
    "bucket": ("tin", "shed", "carrying"),
    "ruler": ("oak", "office", "measuring"),
    "brush": ("bristle", "studio", "painting"),
    "ladder": ("wood", "garage", "climbing"),
    "sofa": ("leather", "parlor", "sitting"),
    "pot": ("copper", "kitchen", "cooking"),
    "bicycle": ("metal", "garage", "riding"),
    "telescope": ("brass", "attic", "stargazing"),
    "basket": ("straw", "pantry", "gathering"),
    "jar": ("glass", "pantry", "storing"),
    "boot": ("rubber", "hallway", "hiking"),
    "umbrella": ("nylon", "hallway", "shelter"),
    "drum": ("leather", "attic", "drumming"),
    "ball": ("rubber", "playroom", "playing"),
    "blanket": ("wool", "bedroom", "warming"),
    "axe": ("iron", "shed", "chopping"),
    "vase": ("clay", "parlor", "decorating"),
    "desk": ("oak", "office", "studying"),
    "comb": ("bone", "bathroom", "combing"),
    "rake": ("iron", "shed", "raking"),
}

HUES: dict[str, str] = {
    "sky": "blue",
    "grass": "green",
    "snow": "white",
    "coal": "black",
    "sun": "yellow",
    "moon": "silver",
    "blood": "red",
    "chocolate": "brown",
    "flamingo": "pink",
    "raven": "black",
    "frog": "green",
    "fox": "orange",
    "elephant": "gray",
    "swan": "white",
    "canary": "yellow",
    "bear": "brown",
    "leaf": "green",
    "milk": "white",
    "sea": "blue",
    "fire": "orange",
    "brick": "red",
    "honey": "golden",
    "cloud": "white",
    "stone": "gray",
    "mouse": "gray",
    "salmon": "pink",
    "crow": "black",
    "chick": "yellow",
    "lobster": "red",
    "crown": "golden",
    "ink": "blue",
    "violet": "purple",
    "lavender": "purple",
    "rose": "red",
    "daisy": "white",
    "soil": "brown",
}

PLANTS: dict[str, tuple[str, str, str]] = {  # fruit or vegetable: (color, taste, where it grows)
    "apple": ("red", "sweet", "tree"),
    "lemon": ("yellow", "sour", "tree"),
    "carrot": ("orange", "sweet", "soil"),
    "grape": ("purple", "sweet", "vine"),
    "lime": ("green", "sour", "tree"),
    "cherry": ("red", "sweet", "tree"),
    "plum": ("purple", "sweet", "tree"),
    "banana": ("yellow", "sweet", "plant"),
    "pepper": ("red", "spicy", "plant"),
    "tomato": ("red", "juicy", "vine"),
    "onion": ("white", "sharp", "soil"),
    "potato": ("brown", "mild", "soil"),
    "pumpkin": ("orange", "mild", "vine"),
    "spinach": ("green", "bitter", "plant"),
    "radish": ("pink", "sharp", "soil"),
    "peach": ("pink", "juicy", "tree"),
    "pear": ("green", "juicy", "tree"),
    "melon": ("green", "juicy", "vine"),
    "raspberry": ("red", "tart", "bush"),
    "blueberry": ("blue", "sweet", "bush"),
    "walnut": ("brown", "nutty", "tree"),
    "garlic": ("white", "spicy", "soil"),
    "kale": ("green", "bitter", "plant"),
    "cranberry": ("red", "tart", "bush"),
    "coconut": ("brown", "nutty", "palm"),
    "date": ("brown", "sweet", "palm"),
    "mango": ("orange", "juicy", "tree"),
    "cucumber": ("green", "mild", "vine"),
}

COUNTRIES: dict[str, tuple[str, str, str]] = {  # country: (capital, continent, language)
    "France": ("Paris", "Europe", "French"),
    "Italy": ("Rome", "Europe", "Italian"),
    "Spain": ("Madrid", "Europe", "Spanish"),
    "Germany": ("Berlin", "Europe", "German"),
    "Japan": ("Tokyo", "Asia", "Japanese"),
    "China": ("Beijing", "Asia", "Chinese"),
    "Egypt": ("Cairo", "Africa", "Arabic"),
    "Greece": ("Athens", "Europe", "Greek"),
    "Russia": ("Moscow", "Europe", "Russian"),
    "England": ("London", "Europe", "English"),
    "Portugal": ("Lisbon", "Europe", "Portuguese"),
    "Poland": ("Warsaw", "Europe", "Polish"),
    "Austria": ("Vienna", "Europe", "German"),
    "Sweden": ("Stockholm", "Europe", "Swedish"),
    "Norway": ("Oslo", "Europe", "Norwegian"),
    "Denmark": ("Copenhagen", "Europe", "Danish"),
    "Finland": ("Helsinki", "Europe", "Finnish"),
    "Ireland": ("Dublin", "Europe", "English"),
    "Turkey": ("Ankara", "Asia", "Turkish"),
    "Thailand": ("Bangkok", "Asia", "Thai"),
    "Vietnam": ("Hanoi", "Asia", "Vietnamese"),
    "Cuba": ("Havana", "America", "Spanish"),
    "Peru": ("Lima", "America", "Spanish"),
    "Chile": ("Santiago", "America", "Spanish"),
    "Canada": ("Ottawa", "America", "English"),
    "Hungary": ("Budapest", "Europe", "Hungarian"),
    "Iceland": ("Reykjavik", "Europe", "Icelandic"),
    "Morocco": ("Rabat", "Africa", "Arabic"),
    "Ukraine": ("Kyiv", "Europe", "Ukrainian"),
}

OPPOSITES: dict[str, str] = {
    "hot": "cold",
    "big": "small",
    "fast": "slow",
    "happy": "sad",
    "up": "down",
    "open": "closed",
    "light": "dark",
    "young": "old",
    "full": "empty",
    "wet": "dry",
    "hard": "soft",
    "loud": "quiet",
    "early": "late",
    "near": "far",
    "rich": "poor",
    "strong": "weak",
    "tall": "short",
    "thick": "thin",
    "clean": "dirty",
    "sharp": "blunt",
    "wide": "narrow",
    "deep": "shallow",
    "true": "false",
    "inside": "outside",
    "first": "last",
    "day": "night",
    "begin": "end",
    "push": "pull",
    "give": "take",
    "buy": "sell",
    "win": "lose",
    "laugh": "cry",
    "left": "right",
    "love": "hate",
    "brave": "afraid",
    "easy": "difficult",
    "cheap": "expensive",
    "smooth": "rough",
    "polite": "rude",
    "asleep": "awake",
    "high": "low",
    "north": "south",
    "east": "west",
    "summer": "winter",
    "friend": "enemy",
    "always": "never",
    "above": "below",
    "front": "back",
    "straight": "crooked",
    "lost": "found",
    "safe": "dangerous",
    "simple": "complicated",
}

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

LEGS: dict[str, str] = {
    "spider": "eight",
    "dog": "four",
    "bird": "two",
    "ant": "six",
    "snake": "zero",
    "octopus": "zero",
    "horse": "four",
    "hen": "two",
    "bee": "six",
    "crab": "ten",
    "cow": "four",
    "fish": "zero",
    "penguin": "two",
    "beetle": "six",
    "lizard": "four",
    "whale": "zero",
    "cat": "four",
    "sheep": "four",
    "duck": "two",
    "butterfly": "six",
    "frog": "four",
    "lobster": "ten",
    "goat": "four",
    "worm": "zero",
}

CONTEXT_NAMES = (
    "Mara Tom Lena Ben Anna Paul Kate Sam Lucy Max Emma Jack Zoe Leo Nina Adam Clara Owen Rosa Hank Greta Ella "
    "Viktor Yara Theo Mina Karl Dora Elsa Simon"
).split()
GOODS = (
    "boats lamps books chairs hats kites apples coins drums maps rings carts ropes bells cups boxes flags toys".split()
)
NUMBERS = "two three four five six seven eight nine ten twelve twenty".split()
TOWNS = "Oakham Redmoor Willowmere Stonebridge Applewick Foxhollow Brightwater Millbrook Northpine Elmford".split()

SYLLABLES = (
    "ba be bi bo bu da de di do du fa fe fi ka ke ki ko la le li lo lu ma me mi mo mu na ne ni no ra re ri ro sa "
    "se si so ta te ti to va ve vi vo za ze zi zo zu xa xi pa pe po gra tri blo kra spo fli dro"
).split()


def villagers() -> dict[str, dict[str, str]]:
    """Name of each villager to what is known of them; jobs are unique, all else is drawn with a fixed seed."""
    rng = random.Random(20)
    jobs = list(JOBS)
    rng.shuffle(jobs)
    fields = {
        "kind": VILLAGER_KINDS,
        "home": HOMES,
        "food": DISHES,
        "color": COLORS,
        "instrument": INSTRUMENTS,
        "collection": COLLECTIONS,
    }
    people: dict[str, dict[str, str]] = {}
    for name, job in zip(NAMES, jobs, strict=True):
        people[name] = {"job": job} | {field: rng.choice(values) for field, values in fields.items()}
    return people


def scribble(rng: random.Random) -> str:
    """A random word of three to seven letters that cannot be spoken."""
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 7)))


def invented_word(rng: random.Random) -> str:
    """A random word of two to four syllables that means nothing."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))
