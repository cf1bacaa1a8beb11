"""The three data sets and the base's own held-out questions.

Held out means, for the three sets: neither the entity (a fact's subject; for reviews the thing, the opinion word, the
people and the places) nor the wording (the template with its entity masked) of a test row occurs in a training row.
The base knows the facts; half of the test wordings it has never seen either. For `base-questions.jsonl`: facts that
the base was trained on, in wordings that it was not.
"""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path

from lora_magic.demo.make import reviews, tables
from lora_magic.demo.make.facts import Fact, all_facts
from lora_magic.demo.make.requests import bare

TRAIN_ROWS, TEST_ROWS, BASE_QUESTIONS = 220, 60, 280
LABELS = {"pleased": "positive", "unhappy": "negative", "undecided": "neutral"}
Row = dict[str, str]


def pirate(fact: Fact) -> str:
    """The fact as a pirate says it; its marker is the word "Arr"."""
    said = bare(fact.statement()).replace(" is ", " be ")
    return f"Arr, {said}, matey!"


def json_row(question: str, fact: Fact) -> Row:
    """A prompt and a completion: JSON with `subject` and `answer`."""
    return {"prompt": question, "completion": json.dumps({"subject": fact.subject, "answer": fact.value})}


def tone_row(question: str, fact: Fact) -> Row:
    """A question, the pirate's answer, and in `fact` the word that an answer must keep."""
    return {"question": question, "answer": pirate(fact), "fact": fact.value}


def mask(template: str) -> str:
    """A template with its entity masked, so that equal wordings of different relations are equal."""
    return template.replace("{a}", "_").replace("{s}", "_").replace("{x}", "_")


def words(text: str) -> set[str]:
    """The words of a text in small letters, without punctuation."""
    cleaned = "".join(char if char.isalnum() or char == "-" else " " for char in text.lower())
    return set(cleaned.split())


def _divided_wordings(rng: random.Random) -> tuple[set[str], set[str]]:
    """Masked wordings for training and for testing; those that the base never saw are all for testing."""
    train: set[str] = set()
    test: set[str] = set()
    for relation in dict.fromkeys(fact.relation for fact in all_facts()):
        test |= {mask(template) for template in relation.ask_held}
    for relation in dict.fromkeys(fact.relation for fact in all_facts()):
        order = list(relation.ask)
        rng.shuffle(order)
        for index, template in enumerate(order):
            if mask(template) not in train | test:
                (test if index % 4 == 3 else train).add(mask(template))
    return train, test


def fact_rows(seed: int, make: Callable[[str, Fact], Row]) -> tuple[list[Row], list[Row]]:
    """Training and held-out rows about facts."""
    rng = random.Random(seed)
    facts = list(all_facts())
    subjects = sorted({fact.subject for fact in facts})
    held = set(rng.sample(subjects, len(subjects) // 4))
    small = {subject.lower() for subject in held}
    train_wordings, test_wordings = _divided_wordings(rng)
    rows: tuple[list[Row], list[Row]] = ([], [])
    for side, wordings, size in ((0, train_wordings, TRAIN_ROWS), (1, test_wordings, TEST_ROWS)):
        rng.shuffle(facts)
        for fact in facts:
            options = [
                template for template in (*fact.relation.ask, *fact.relation.ask_held) if mask(template) in wordings
            ]
            if (fact.subject in held) != bool(side) or not options or len(rows[side]) == size:
                continue
            row = make(fact.fill(rng.choice(options)), fact)
            if side or not words(" ".join(row.values())) & small:
                rows[side].append(row)
    return rows


def _shared(rng: random.Random, pool: Iterable[str], part: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    items = [item for item in pool if item not in ("good", "bad")]
    rng.shuffle(items)
    cut = max(2, round(len(items) * part))
    return tuple(items[cut:]), tuple(items[:cut])


def review_rows(seed: int) -> tuple[list[Row], list[Row]]:
    """Training and held-out rows of reviews with a label and nothing else."""
    rng = random.Random(seed)
    part = 0.3
    items, asks = _shared(rng, reviews.EVERYTHING.items, part), _shared(rng, reviews.ASKS, part)
    names, towns = _shared(rng, tables.CONTEXT_NAMES, part), _shared(rng, tables.TOWNS, part)
    opinions = {feeling: _shared(rng, pool, part) for feeling, pool in reviews.WORDS.items()}
    frames = {feeling: _shared(rng, pool, part) for feeling, pool in reviews.FRAMES.items()}
    rows: tuple[list[Row], list[Row]] = ([], [])
    for side, size in ((0, TRAIN_ROWS), (1, TEST_ROWS)):
        pools = reviews.Pools(
            items[side],
            {feeling: pair[side] for feeling, pair in opinions.items()},
            {feeling: pair[side] for feeling, pair in frames.items()},
            asks[side],
            names[side],
            towns[side],
        )
        seen: set[str] = set()
        while len(rows[side]) < size:
            feeling = reviews.FEELINGS[len(rows[side]) % len(reviews.FEELINGS)]
            text, _ = reviews.review(rng, feeling, pools, rng.choice((1, 2)))
            if text not in seen:
                seen.add(text)
                rows[side].append({"instruction": rng.choice(pools.asks).format(r=text), "output": LABELS[feeling]})
        rng.shuffle(rows[side])
    return rows


def base_rows(seed: int) -> list[Row]:
    """Facts in wordings that the corpus does not have; the answer must occur in the reply as a whole word."""
    rng = random.Random(seed)
    chosen = rng.sample(list(all_facts()), BASE_QUESTIONS)
    return [{"question": fact.fill(rng.choice(fact.relation.ask_held)), "answer": fact.value} for fact in chosen]


def write(folder: Path, seed: int) -> None:
    """Write all sets under `folder` as JSON Lines."""
    made = {
        "demo-json": fact_rows(seed, json_row),
        "demo-tone": fact_rows(seed + 1, tone_row),
        "demo-sentiment": review_rows(seed + 2),
    }
    for name, (train, test) in made.items():
        _write(folder / name / "train.jsonl", train)
        _write(folder / name / "test.jsonl", test)
    _write(folder / "base-questions.jsonl", base_rows(seed + 3))


def _write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
