"""Which kinds of task the rows are, where a column says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lora_magic.dataset.wording import shown

TASK_COLUMNS = (
    "task", "task_type", "task_name", "category", "type", "kind", "subset", "source", "dataset", "domain", "topic",
    "subject", "skill", "language", "lang", "difficulty", "level", "label",
)  # fmt: skip
FEWEST_VALUES, MOST_VALUES, LONGEST_VALUE = 2, 20, 40
FILLED = 0.9
ROWS_PER_VALUE = 2


def tasks(
    rows: Sequence[Mapping[str, Any]], tokens: Mapping[int, int], *, used: Collection[str] = ()
) -> tuple[tuple[str, int, float], ...]:
    """Breaks rows down by the column that says what kind of task a row is.

    That is the first of `TASK_COLUMNS` (in any case, with spaces or dashes for _) that nine of ten rows fill, with
    2 to 20 different values of at most 40 characters, each in two rows or more on average.

    Args:
        rows: the rows looked at, in the source's order, the unusable ones too.
        tokens: tokens of each row that became an example, by its number from 1.
        used: columns that hold the conversation; they are no task columns.

    Returns:
        (value, rows, mean tokens) by rows, most first; empty without such a column.
    """
    usable = [(row, tokens[number]) for number, row in enumerate(rows, start=1) if number in tokens]
    names = {_plain(key): key for row, _ in usable[:100] for key in row if key not in used}
    for wanted in TASK_COLUMNS:
        found = _breakdown(usable, names[wanted]) if wanted in names else ()
        if found:
            return found
    return ()


def _plain(name: object) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def _breakdown(usable: Sequence[tuple[Mapping[str, Any], int]], column: str) -> tuple[tuple[str, int, float], ...]:
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for row, tokens in usable:
        value = row.get(column)
        text = str(value).strip() if isinstance(value, str | int) else ""
        if len(text) > LONGEST_VALUE:
            return ()
        if text:
            counts[text] += 1
            totals[text] += tokens
            if len(counts) > MOST_VALUES:
                return ()
    if len(counts) < FEWEST_VALUES or counts.total() < max(FILLED * len(usable), ROWS_PER_VALUE * len(counts)):
        return ()
    return tuple((shown(value), count, totals[value] / count) for value, count in counts.most_common())
