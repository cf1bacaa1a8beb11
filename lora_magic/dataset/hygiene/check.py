"""All the checks of a data set, gravest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lora_magic.dataset.hygiene.leftovers import leftovers
from lora_magic.dataset.hygiene.lengths import odd_lengths, too_few, too_long, unusable
from lora_magic.dataset.hygiene.repeats import contradictions, repeats
from lora_magic.dataset.hygiene.seen import Seen, look
from lora_magic.dataset.hygiene.style import labels, same_prompt, styles
from lora_magic.dataset.turns import Example
from lora_magic.results import DataIssue

_GRAVEST = ("error", "warning", "note")


def check(
    examples: Sequence[Example],
    held_out: Sequence[Example],
    token_counts: Sequence[int],
    *,
    rank: int,
    max_length: int,
    skipped: Sequence[tuple[int, str]],
    skipped_count: int,
) -> tuple[DataIssue, ...]:
    """Looks for what would make training on these examples worse.

    Args:
        examples: the rows looked at, training and held-out ones together.
        held_out: those of them that are held out, told by their row number and content.
        token_counts: tokens of each of `examples`, before any cut.
        rank: of the adapter that is planned.
        max_length: longest row in tokens.
        skipped: the first few rows that became no example, (row number, reason).
        skipped_count: how many there are.

    Returns:
        One issue for each kind of thing that was found; errors, then warnings, then notes, each by rows concerned.
    """
    seen = look(examples, held_out, token_counts)
    found = [*unusable(skipped, skipped_count, len(seen)), *too_few(seen, rank), *too_long(seen, max_length)]
    if seen:
        found += _of_content(seen)
    return tuple(sorted(found, key=lambda issue: (_GRAVEST.index(issue.severity), -issue.count)))


def _of_content(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    yield from repeats(seen)
    yield from contradictions(seen)
    yield from leftovers(seen)
    yield from odd_lengths(seen)
    yield from same_prompt(seen)
    yield from labels(seen)
    yield from styles(seen)
