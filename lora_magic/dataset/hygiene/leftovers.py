"""Issues about what other programs left in the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lora_magic.dataset.hygiene import residue
from lora_magic.dataset.hygiene.excerpts import excerpt
from lora_magic.dataset.hygiene.repeats import SHOWN, severity
from lora_magic.dataset.hygiene.seen import Seen
from lora_magic.results import DataIssue

WANTED = 0.5
SYSTEMATIC = 0.2

_Found = tuple[Seen, str, residue.Place]


@dataclass(frozen=True)
class _Residue:
    """One kind of residue: how it is found, in prompts too or in answers alone, and what an issue says of it."""

    kind: str
    find: Callable[[str, str], residue.Place | None]
    in_prompts: bool
    effect: str
    remedy: str
    fixed_by: str = ""


_KINDS = (
    _Residue(
        "broken encoding", residue.broken_encoding, True,
        "Letters are garbled (UTF-8 read as another encoding): the model learns to write them that way.",
        "Read the source as UTF-8 and write the rows again.",
        "the encoding is repaired",
    ),
    _Residue(
        "characters lost", residue.replacement_signs, True,
        "The sign � stands where an earlier program could not read a character: the model learns to write it.",
        "Make these rows again from their source, or leave them out; the characters cannot be restored.",
    ),
    _Residue(
        "HTML entities", residue.entities, False,
        "Answers hold HTML's names for characters: the model learns to write &amp; for &.",
        "Unescape them: html.unescape(text).",
        "they become characters, except &lt; and &gt;",
    ),
    _Residue(
        "terminal codes", residue.escapes, True,
        "A terminal's colour codes are in the text: the model learns to write them.",
        "Remove them.",
        "they are removed",
    ),
    _Residue(
        "log lines", residue.log_lines, False,
        "Answers hold lines of a log, a stack trace or a progress bar: the model learns to invent some.",
        "Cut those lines out of the answers.",
    ),
    _Residue(
        "a chatbot's phrases", residue.ai_phrases, False,
        'Answers speak as another chatbot ("as an AI language model"): the model will introduce itself that way.',
        "Leave these rows out or write the answers again.",
    ),
    _Residue(
        "refusals", residue.refusals, False,
        "Answers refuse the request: the model learns to refuse, often more than in these rows.",
        "Leave them out, unless refusing is what the model should learn.",
    ),
)  # fmt: skip


def leftovers(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """Broken encodings, markup, log lines and a chatbot's phrases."""
    for kind in _KINDS:
        found = [place for one in seen if (place := _first(one, kind)) is not None]
        if found:
            yield DataIssue(
                kind.kind, severity(len(found), len(seen)), len(found),
                kind.effect, kind.remedy, _examples(found), kind.fixed_by,
            )  # fmt: skip
    yield from _tags(seen)


def _first(one: Seen, kind: _Residue) -> _Found | None:
    place = kind.find(one.asked, one.answered)
    if place is not None:
        return one, one.answered, place
    place = kind.find(one.asked, one.asked) if kind.in_prompts else None
    return (one, one.asked, place) if place is not None else None


def _tags(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """Tags in answers; where the prompt has tags as well they count only if a fifth of the rows are like that."""
    found = [(one, one.answered, place) for one in seen if (place := residue.tags(one.asked, one.answered))]
    alone = [item for item in found if not residue.has_tags(item[0].asked)]
    if len(found) - len(alone) < SYSTEMATIC * len(seen):
        found = alone
    if not found:
        return
    wanted = len(found) >= WANTED * len(seen)
    yield DataIssue(
        "HTML tags", "note" if wanted else severity(len(found), len(seen)), len(found),
        "Most answers are HTML: the model will answer in HTML."
        if wanted
        else "Some answers hold HTML tags and the others do not: the model learns to write them now and then.",
        "Keep it if HTML is wanted; else turn the answers into plain text or Markdown."
        if wanted
        else "Turn them into plain text or Markdown.",
        _examples(found),
        "" if wanted else "they are removed where the prompt has none, line breaks kept",
    )  # fmt: skip


def _examples(found: Sequence[_Found]) -> tuple[tuple[int, str], ...]:
    return tuple((one.row, excerpt(text, *place)) for one, text, place in found[:SHOWN])
