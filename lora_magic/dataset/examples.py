"""Rows into examples: conversations that end with an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lora_magic.dataset.formats import Format, Row, Unusable, detect
from lora_magic.dataset.turns import Example, Turn
from lora_magic.errors import LoraError

__all__ = ["Example", "Turn", "examples"]


def examples(source_rows: Sequence[Row], *, system: str | None) -> tuple[list[Example], Format, tuple[str, ...]]:
    """Turns rows into examples; rows that cannot be used are left out and counted.

    Args:
        source_rows: column names to values, as `sources.read` gives them.
        system: a system text, put first where a row brings none; None or "" for none.

    Returns:
        The examples in the rows' order, the format, and notes: a sentence for each reason to skip.

    Raises:
        LoraError: no row has usable columns, a role cannot be trained on, or no row is left.
    """
    found = detect(source_rows)
    made: list[Example] = []
    skipped: Counter[str] = Counter()
    for number, row in enumerate(source_rows, start=1):
        try:
            turns = found.turns(row)
        except Unusable as reason:
            skipped[str(reason)] += 1
        except LoraError as error:
            raise LoraError(f"Row {number}: {error.problem}", error.remedy) from None
        else:
            made.append(Example(_with_system(turns, system)))
    if not made:
        reasons = ", ".join(f"{count} with {reason}" for reason, count in skipped.items())
        raise LoraError(f"None of the {len(source_rows)} rows can be used: {reasons}.", "Fill in the answers.")
    return made, found, _notes(skipped, made, system)


def _with_system(turns: tuple[Turn, ...], system: str | None) -> tuple[Turn, ...]:
    if not system or turns[0].role in ("system", "text"):
        return turns
    return (Turn("system", system), *turns)


def _notes(skipped: Counter[str], made: Sequence[Example], system: str | None) -> tuple[str, ...]:
    notes = [f"{count} {'row' if count == 1 else 'rows'} skipped: {reason}" for reason, count in skipped.items()]
    texts = sum(example.is_text for example in made)
    if texts:
        notes.append(f"{texts} rows are plain text: trained on fully, and not used as prompts to compare with")
    if texts and system:
        notes.append("the system text does not go into plain text")
    return tuple(notes)
