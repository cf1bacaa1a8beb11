"""What the embedded model's figures mean: how an answer is judged, and what counts as held out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_magic.demo.make import reviews, sets
from lora_magic.demo.make.facts import all_facts

Row = dict[str, str]
COLUMNS = {
    "demo-json": ("prompt", "completion"),
    "demo-tone": ("question", "answer"),
    "demo-sentiment": ("instruction", "output"),
}


def read(path: Path) -> list[Row]:
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def has_word(word: str, text: str) -> bool:
    """Whether `word` occurs in `text` as a whole word, whatever its case."""
    return word.lower() in sets.words(text)


def as_object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is, or nothing."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _right_field(row: Row, text: str) -> bool:
    return (as_object(text) or {}).get("answer") == json.loads(row["completion"])["answer"]


CHECKS: dict[str, dict[str, Callable[[Row, str], bool]]] = {
    "demo-json": {"valid": lambda row, text: as_object(text) is not None, "field": _right_field},
    "demo-tone": {
        "marker": lambda row, text: has_word("arr", text),
        "fact": lambda row, text: has_word(row["fact"], text),
    },
    "demo-sentiment": {"label": lambda row, text: text.strip() == row["output"]},
}


def shares(name: str, rows: list[Row], answers: list[str]) -> dict[str, float]:
    """The share of answers, 0 to 1, that pass each of the set's checks."""
    pairs = list(zip(rows, answers, strict=True))
    return {label: sum(check(*pair) for pair in pairs) / len(pairs) for label, check in CHECKS[name].items()}


def overlap(name: str, train: list[Row], test: list[Row]) -> tuple[set[str], set[str]]:
    """Wordings and entities that held-out prompts share with training rows; both should be empty."""
    column = COLUMNS[name][0]
    known, common = _review_entities() if name == "demo-sentiment" else _fact_entities()
    asked = {word for row in test for word in sets.words(row[column]) & known} - common
    told = {word for row in train for word in sets.words(" ".join(row.values()))}
    masked = known | {"a", "an", "the"}
    return _wordings(train, column, masked) & _wordings(test, column, masked), asked & told


def _wordings(rows: list[Row], column: str, entities: set[str]) -> set[str]:
    texts = [part for row in rows for part in row[column].split(". ")]
    return {
        " ".join("_" if word.lower().strip('.,:?!"').removesuffix("'s") in entities else word for word in text.split())
        for text in texts
    }


def _fact_entities() -> tuple[set[str], set[str]]:
    relations = {fact.relation for fact in all_facts()}
    wordings = [text for relation in relations for text in (*relation.ask, *relation.ask_held)]
    common = {word for text in wordings for word in sets.words(sets.mask(text))}
    return {fact.subject.lower() for fact in all_facts()}, common


def _review_entities() -> tuple[set[str], set[str]]:
    pools = reviews.EVERYTHING
    opinions = {word for pool in pools.words.values() for word in pool}
    named = {word.lower() for word in (*pools.names, *pools.towns)}
    common = {word for pool in pools.frames.values() for text in (*pool, *pools.asks) for word in sets.words(text)}
    return {*pools.items, *opinions, *named}, common
