"""Rows that say the same: exact and near duplicates, leaks into the held-out part, contradicting answers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from lora_magic.dataset.hygiene.excerpts import excerpt
from lora_magic.dataset.hygiene.near import SIMILARITY, Sketches
from lora_magic.dataset.hygiene.seen import Seen
from lora_magic.dataset.turns import Example
from lora_magic.results import DataIssue

SHOWN = 5
MANY = 0.05
LABEL_WORDS, CLEARLY_DIFFERENT = 3, 0.5


def content_key(example: Example) -> bytes:
    """16 bytes that only examples of the same turns and tools share."""
    turns = [[turn.role, turn.content, turn.tool_calls] for turn in example.turns]
    return blake2b(json.dumps([turns, example.tools]).encode(), digest_size=16).digest()


def severity(count: int, rows: int) -> str:
    """How grave so many rows are: "warning" from one in twenty on, "note" below."""
    return "warning" if count >= MANY * rows else "note"


def rows(count: int) -> str:
    """`1 row` or `1,234 rows`."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def repeats(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """Exact duplicates, near duplicates, and repeats of training rows in the held-out part."""
    first: dict[bytes, Seen] = {}
    exact: list[tuple[Seen, Seen]] = []
    for one in seen:
        earlier = first.setdefault(content_key(one.example), one)
        if earlier is not one:
            exact.append((one, earlier))
    different = list(first.values())
    sketches = Sketches()
    unseen = sum(not sketches.add(number, one) for number, one in enumerate(different))
    near = [(different[late], different[early]) for late, early in sketches.repeated()]
    if exact:
        yield _duplicates("exact duplicates", exact, len(seen), "Exactly the same row")
    if near:
        yield _duplicates("near duplicates", near, len(seen), f"Prompt and answer at least {SIMILARITY:.0%} the same")
    if unseen:
        yield DataIssue(
            "near duplicates not looked for", "note", unseen,
            f"Near duplicates were looked for in the first {rows(len(sketches))} only: the rows are very long.",
            "Look at a part of the data alone to see the rest.",
        )  # fmt: skip
    yield from _leaks([*exact, *near], seen)


def _duplicates(kind: str, pairs: Sequence[tuple[Seen, Seen]], total: int, how: str) -> DataIssue:
    return DataIssue(
        kind, severity(len(pairs), total), len(pairs),
        f"{how} as an earlier one: it is trained on more often than the others and learned by heart sooner.",
        "Keep one of each, unless the repetition is meant.",
        tuple((late.row, f"like row {early.row}: {excerpt(_opening(late))}"[:120]) for late, early in pairs[:SHOWN]),
        "the later ones are dropped",
    )  # fmt: skip


def _opening(one: Seen) -> str:
    return one.example.prompt or one.answered


def _leaks(pairs: Sequence[tuple[Seen, Seen]], seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """Held-out rows in a group of repeats that also has a training row."""
    leaked: list[tuple[Seen, Seen]] = []
    for group in _whole_groups(pairs):
        training = next((one for one in group if not one.held), None)
        if training is not None:
            leaked += [(one, training) for one in group if one.held]
    if not leaked:
        return
    held = sum(one.held for one in seen)
    yield DataIssue(
        "training rows in the held-out part", "warning", len(leaked),
        f"{rows(len(leaked))} of the {held:,} held-out ones repeat a training row: the held-out loss looks better than "
        "it is, and the best checkpoint may be the one that has learned most by heart.",
        "Drop the repeats before splitting, or give held-out rows of your own with --eval-data.",
        tuple((one.row, f"like row {other.row}: {excerpt(_opening(one))}"[:120]) for one, other in leaked[:SHOWN]),
        "the later row of each pair is dropped",
    )  # fmt: skip


def _whole_groups(pairs: Sequence[tuple[Seen, Seen]]) -> list[list[Seen]]:
    """Repeats joined with what they repeat; an exact repeat of a near one belongs to the same group."""
    group_of: dict[int, list[Seen]] = {}
    for late, early in pairs:
        one, other = group_of.get(id(early), [early]), group_of.get(id(late), [late])
        if one is not other:
            one += other
        for member in one:
            group_of[id(member)] = one
    return list({id(group): group for group in group_of.values()}.values())


def contradictions(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """The same prompt with answers that clearly differ.

    Short answers (three words or fewer) clearly differ when they are different, longer ones when they share less
    than half of their words. Longer answers may all be right, so those are a note unless one row in twenty has them.
    """
    asked: dict[tuple[object, ...], list[Seen]] = defaultdict(list)
    for one in seen:
        if one.question:
            asked[one.question].append(one)
    if len(asked) < max(2, len(seen) / 10):
        return
    found = [pair for group in asked.values() if len(group) > 1 for pair in _contradicting(group)]
    if not found:
        return
    short = sum(min(len(one.answer_words), len(other.answer_words)) <= LABEL_WORDS for one, other in found)
    yield DataIssue(
        "same prompt, different answers", "warning" if short else severity(len(found), len(seen)), len(found),
        "The model cannot satisfy both answers: it learns to choose between them by chance.",
        "Keep the right answer, or put into the prompt what decides between them. Several good answers are fine.",
        tuple(
            (one.row, f"row {other.row} says {_quoted(other.answer)}, this one {_quoted(one.answer)}: "
            f"{excerpt(_opening(one))}"[:120])
            for one, other in found[:SHOWN]
        ),
    )  # fmt: skip


def _quoted(text: str) -> str:
    return f'"{excerpt(text[:21])[:20]}{"…" if len(text) > 20 else ""}"'


def _contradicting(group: Sequence[Seen]) -> list[tuple[Seen, Seen]]:
    """Each row whose answer clearly differs from the first one's."""
    first = group[0]
    return [(one, first) for one in group[1:] if _differ(first.answer_words, one.answer_words)]


def _differ(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if one == other or not one or not other:
        return False
    if min(len(one), len(other)) <= LABEL_WORDS:
        return not (set(one) <= set(other) or set(other) <= set(one))
    left, right = set(one), set(other)
    return len(left & right) < CLEARLY_DIFFERENT * len(left | right)
