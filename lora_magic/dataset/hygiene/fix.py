"""The cleaned copy: what is plainly wrong is repaired or left out, and every change is on record.

Repaired, in the columns used: broken encodings, terminal codes, and in answers HTML entities and (where most answers
have none) HTML tags. Left out: rows that cannot be used, exact duplicates, near duplicates. Nothing else is touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_magic.dataset.examples import Examples, examples
from lora_magic.dataset.files import Row, Rows
from lora_magic.dataset.hygiene import residue
from lora_magic.dataset.hygiene.leftovers import WANTED
from lora_magic.dataset.hygiene.near import Sketches
from lora_magic.dataset.hygiene.output import both, changes_path, refuse_targets
from lora_magic.dataset.hygiene.repeats import content_key
from lora_magic.dataset.hygiene.rewrite import Change, plain, rewritten
from lora_magic.dataset.hygiene.seen import Seen
from lora_magic.dataset.turns import Example
from lora_magic.results import FixedCopy

UNUSABLE, EXACT, NEAR = "rows that cannot be used", "exact duplicates", "near duplicates"
UNWRITABLE = "rows that JSON cannot hold"
NOT_LOOKED_AT = "not looked at for near duplicates"


def write_fixed(
    source_rows: Rows, columns: Mapping[str, str], out: Path, *, overwrite: bool, source_path: Path | None
) -> FixedCopy:
    """Writes a cleaned copy of a source, and beside it a record of every change.

    The copy is JSON Lines with the source's own columns. The record, `STEM.changes.jsonl`, has one line a change:
    {"row": number in the source from 1, "kind": …, "before": the row, "after": the row, or null where it is dropped}.
    Cleaning the copy again changes nothing, unless the source has more rows than near duplicates are looked for in
    (100,000, or 16 million runs of words); how many were not looked at is then among the changes.

    Args:
        source_rows: column names to values; gone through several times, never held as a whole.
        columns: which column is "prompt", "completion", "system", "messages" or "text"; empty to find them.
        out: the copy to be, NAME.jsonl.
        overwrite: replace a copy and a record that are there.
        source_path: the file, folder or pattern that the rows came from, which is never written to; None for rows
            that came from none.

    Raises:
        LoraError: no row can be used, `out` is (a part of) the source or occupied, or the disk refuses.
    """
    out = out.expanduser()
    refuse_targets(out, overwrite, source_path)
    plan = _plan(source_rows, columns)
    counts: Counter[str] = Counter()
    kept = 0
    with both(out, changes_path(out)) as (copy, record):
        for row, changes in plan.outcome():
            for change in changes:
                record.write({"row": change.row, "kind": change.kind, "before": change.before, "after": change.after})
            counts.update({change.kind for change in changes})
            if row is not None:
                copy.write(row)
                kept += 1
    if plan.not_looked_at:
        counts[NOT_LOOKED_AT] = plan.not_looked_at
    return FixedCopy(out, changes_path(out), kept, tuple(counts.most_common()))


@dataclass(frozen=True)
class _Cleaned:
    """The source's rows as they will be written, each with the example that it was; unusable ones as they are."""

    rows: Rows
    found: Examples
    without_tags: bool

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        for _, _, row, changes in self.steps():
            yield changes[-1].after if changes and changes[-1].after is not None else row

    def steps(self) -> Iterator[tuple[int, Example | None, Row, list[Change]]]:
        """(number, example or None, row as in the source, changes) of each row."""
        used = [column for _, column in self.found.format.columns]
        usable = iter(self.found)
        example = next(usable, None)
        for number, row in enumerate(self.rows, start=1):
            if example is None or example.row != number:
                yield number, None, row, []
                continue
            yield number, example, row, rewritten(number, row, used, example, without_tags=self.without_tags)
            example = next(usable, None)


@dataclass(frozen=True)
class _Plan:
    cleaned: _Cleaned
    dropped: Mapping[int, str]
    not_looked_at: int

    def outcome(self) -> Iterator[tuple[Row | None, list[Change]]]:
        """Each row as it is written, or None, with its changes."""
        for number, example, row, changes in self.cleaned.steps():
            reason = self.dropped.get(number, "" if example is not None else UNUSABLE)
            source = plain(row)
            if source is None:
                yield None, [Change(number, UNWRITABLE, None, None)]
            elif reason:
                yield None, [Change(number, reason, source, None)]
            else:
                yield (changes[-1].after if changes else source), changes


def _plan(rows: Rows, columns: Mapping[str, str]) -> _Plan:
    """What is dropped and whether tags are removed: only where most of the rows that stay have none."""
    found = examples(rows, system=None, columns=columns)
    plan, tagged = _drops(_Cleaned(rows, found, without_tags=False), columns)
    stay = len(found) - len(plan.dropped)
    if 0 < tagged < WANTED * stay:
        plan, _ = _drops(_Cleaned(rows, found, without_tags=True), columns)
    return plan


def _drops(cleaned: _Cleaned, columns: Mapping[str, str]) -> tuple[_Plan, int]:
    """The duplicates among the cleaned rows, and how many of the rows that stay have tags that could be removed."""
    keys: set[bytes] = set()
    dropped: dict[int, str] = {}
    tagged: set[int] = set()
    sketches = Sketches()
    different = 0
    for example in examples(cleaned, system=None, columns=columns):
        key = content_key(example)
        if key in keys:
            dropped[example.row] = EXACT
            continue
        keys.add(key)
        different += 1
        one = Seen(example)
        sketches.add(example.row, one)
        if residue.tags(one.asked, one.answered) and not residue.has_tags(one.asked):
            tagged.add(example.row)
    not_looked_at = different - len(sketches)
    dropped |= {late: NEAR for late, _ in sketches.repeated()}
    return _Plan(cleaned, dropped, not_looked_at), len(tagged - dropped.keys())
