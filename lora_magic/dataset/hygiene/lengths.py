"""Issues about how many rows there are and how long: too few, too long, suspiciously short, empty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median, quantiles

from lora_magic.dataset.hygiene.excerpts import excerpt
from lora_magic.dataset.hygiene.repeats import SHOWN, rows, severity
from lora_magic.dataset.hygiene.seen import Seen
from lora_magic.dataset.wording import shown
from lora_magic.results import DataIssue

ENOUGH_TO_COMPARE = 20
LONG_MEDIAN, SHORT, RARELY_SHORT, RARE = 40, 2, 10, 0.02
TIMES_MEDIAN, TIMES_LONG = 20, 4
FEWEST_ROWS, ROWS_PER_RANK = 10, 8
LOOKED_AT_MOST = 20_000

_PLACEHOLDERS = frozenset("nan null undefined #n/a #ref! #value! [deleted] [removed] todo tbd lorem ipsum".split())
_SIGNS = frozenset("-–—_.…?*/\\|~ ")


def unusable(skipped: Sequence[tuple[int, str]], count: int, total: int) -> Iterator[DataIssue]:
    """Empty and one-sided rows, which never became examples.

    Args:
        skipped: the first few of them, (row number, reason).
        count: how many there are.
        total: rows that became examples.
    """
    if count:
        yield DataIssue(
            "rows that cannot be used", severity(count, total + count), count,
            "Something is empty or missing in them: they are left out of the training.",
            "Fill in what is missing, or drop them.",
            tuple((row, shown(reason)) for row, reason in skipped[:SHOWN]),
            "they are dropped",
        )  # fmt: skip


def too_few(seen: Sequence[Seen], rank: int) -> Iterator[DataIssue]:
    """Too few training rows at all, or for the rank.

    Fewer than 10 is what OpenAI's fine-tuning guide refuses ("at least 10 examples"; it sees improvements from 50
    to 100). Eight rows for each unit of rank is this project's own rule of thumb, not a measured bound.
    """
    training = sum(not one.held and one.tokens > 0 for one in seen)
    if training < FEWEST_ROWS:
        yield DataIssue(
            "too few rows", "warning", training,
            f"{rows(training)} to train on: the model repeats them instead of learning what they have in common.",
            "Write more; 50 to 100 good rows are a usual start.",
        )  # fmt: skip
    elif training < ROWS_PER_RANK * rank and len(seen) < LOOKED_AT_MOST:
        fits = max(1, training // ROWS_PER_RANK)
        yield DataIssue(
            "too few rows for the rank", "note", training,
            f"{rows(training)} to train on is little for rank {rank}: the adapter has room to learn them by heart.",
            f"Use --rank {fits} or lower, few epochs, or more rows (rule of thumb: {ROWS_PER_RANK} a unit).",
        )  # fmt: skip


def too_long(seen: Sequence[Seen], max_length: int) -> Iterator[DataIssue]:
    """Rows with more tokens than the longest row may have."""
    found = [one for one in seen if one.tokens > max_length]
    if found:
        longest = max(one.tokens for one in found)
        yield DataIssue(
            "longer than --max-length", severity(len(found), len(seen)), len(found),
            f"They are cut at {max_length:,} tokens: the end of the answer is lost, and where it stops. Rows whose "
            "answer starts after that are left out.",
            f"Raise --max-length (the longest row has {longest:,} tokens), or shorten them.",
            tuple((one.row, f"{one.tokens:,} tokens: {excerpt(one.answer)}"[:120]) for one in found[:SHOWN]),
        )  # fmt: skip


def odd_lengths(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """Answers far shorter or far longer than the others.

    Short: placeholders such as "nan" and signs alone, where half of the answers have 40 characters; and one or two
    characters, where fewer than 2% of the answers have ten or fewer. Long: 20 times the median and 4 times what 95%
    of the answers stay below.
    """
    if len(seen) < ENOUGH_TO_COMPARE:
        return
    lengths = [len(one.answer.strip()) for one in seen]
    middle, high = median(lengths), quantiles(lengths, n=20, method="inclusive")[-1]
    if middle >= LONG_MEDIAN:
        rare = sum(length <= RARELY_SHORT for length in lengths) < RARE * len(seen)
        short = [
            one for one, length in zip(seen, lengths, strict=True)
            if _is_placeholder(one.answer) or (rare and 0 < length <= SHORT)
        ]  # fmt: skip
        if 0 < len(short) < RARE * len(seen) or any(_is_placeholder(one.answer) for one in short):
            yield DataIssue(
                "suspiciously short answers", severity(len(short), len(seen)), len(short),
                f"They look empty or cut off (half of the answers have {middle:,.0f} characters or more): "
                "the model learns to stop at once now and then.",
                "Look at these rows; write the answers out or leave the rows out.",
                tuple((one.row, excerpt(one.answer)) for one in short[:SHOWN]),
            )  # fmt: skip
    long = [
        one for one, length in zip(seen, lengths, strict=True)
        if length > TIMES_MEDIAN * middle and length > TIMES_LONG * high
    ]  # fmt: skip
    if long:
        yield DataIssue(
            "suspiciously long answers", "note", len(long),
            f"More than {TIMES_MEDIAN} times the median of {middle:,.0f} characters: a few rows weigh like hundreds.",
            "Check that nothing was joined to them that belongs elsewhere.",
            tuple((one.row, f"{len(one.answer):,} characters: {excerpt(one.answer)}"[:120]) for one in long[:SHOWN]),
        )  # fmt: skip


def _is_placeholder(answer: str) -> bool:
    text = answer.strip().casefold()
    return len(text) < 12 and (text in _PLACEHOLDERS or (bool(text) and _SIGNS.issuperset(text)))
