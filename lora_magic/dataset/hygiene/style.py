"""Issues about answers that do not go together: styles, scripts, spellings, labels, and prompts that say nothing."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lora_magic.dataset.hygiene.excerpts import excerpt
from lora_magic.dataset.hygiene.repeats import SHOWN, severity
from lora_magic.dataset.hygiene.residue import looks_like_code
from lora_magic.dataset.hygiene.seen import Seen
from lora_magic.results import DataIssue

LEAST_MINORITY, FEWEST = 0.05, 40
LONG_ANSWER, SENTENCE_WORDS, SAME_KIND = 200, 4, 6
MOST_LABELS, LABEL_WORDS, ROWS_PER_LABEL = 20, 4, 10
RARE_LABEL, MOST_OF_ALL = 0.1, 0.8
IDENTICAL, FEWEST_SAME = 0.9, 10

_MARKDOWN = re.compile(r"^#{1,6} \S|^```|^\|.{1,500}\|$|\*\*[^*\n]{1,200}\*\*", re.MULTILINE)
_FORMAT_ASKED = re.compile(
    r"\b(?:markdown|bullets?|list|table|heading|json|yaml|code|function|script|program|format)\b", re.IGNORECASE
)
_LANGUAGE_ASKED = re.compile(
    r"\b(?:translat\w*|in (?:english|french|german|spanish|russian|chinese|japanese|korean|arabic|hindi|greek|hebrew|"
    r"thai|ukrainian)|languages?|alphabet|script|kanji|cyrillic)\b",
    re.IGNORECASE,
)
_LETTER = re.compile("[A-Za-z]")
_SCRIPTS = (
    "LATIN",
    "CYRILLIC",
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "ARABIC",
    "HEBREW",
    "DEVANAGARI",
    "GREEK",
    "THAI",
)
_SENTENCE_ENDS = frozenset(".!?…。！？")


@dataclass(frozen=True)
class _Trait:
    """Something that answers have or lack; `of` gives None for an answer that it cannot be asked of."""

    kind: str
    of: Callable[[Seen], bool | None]
    having: str
    lacking: str
    remedy: str


def styles(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """Traits that a minority of 5 to 50% of comparable answers has or lacks, where the prompt does not ask for it."""
    one_kind = _one_kind(seen)
    for trait in _TRAITS:
        if trait in _SENTENCE_TRAITS and not one_kind:
            continue
        having: dict[bool, list[Seen]] = {True: [], False: []}
        for one in seen:
            value = trait.of(one)
            if value is not None:
                having[value].append(one)
        compared = len(having[True]) + len(having[False])
        fewer = len(having[True]) <= len(having[False])
        minority = having[fewer]
        if compared < max(FEWEST, len(seen) / 4) or len(minority) < LEAST_MINORITY * compared:
            continue
        what, other = (trait.having, trait.lacking) if fewer else (trait.lacking, trait.having)
        yield DataIssue(
            trait.kind, "note", len(minority),
            f"{len(minority) / compared:.0%} of the answers {what}, the others {other}: "
            "the model learns both and chooses between them by chance.",
            trait.remedy,
            tuple((one.row, excerpt(one.answer)) for one in minority[:SHOWN]),
        )  # fmt: skip


def _one_kind(seen: Sequence[Seen]) -> bool:
    """Whether the answers are sentences of about one length, so that their case and points can be compared."""
    lengths = sorted(len(one.answer_words) for one in seen)
    if not lengths:
        return False
    low, high = lengths[len(lengths) // 10], lengths[-1 - len(lengths) // 10]
    return low >= SENTENCE_WORDS and high <= SAME_KIND * low


def _uses_markdown(one: Seen) -> bool | None:
    text = one.answer
    if len(text) < LONG_ANSWER or _FORMAT_ASKED.search(one.asked) or _is_json(text) or looks_like_code(text):
        return None
    return bool(_MARKDOWN.search(text))


def _answers_json(one: Seen) -> bool | None:
    if not _is_json(one.answer):
        return False
    return None if _FORMAT_ASKED.search(one.asked) or _FORMAT_ASKED.search(one.system) else True


def _is_json(text: str) -> bool:
    stripped = text.strip()
    if stripped[:1] not in ("{", "[") or stripped[-1:] not in ("}", "]") or len(stripped) > 100_000:
        return False
    try:
        return isinstance(json.loads(stripped), dict | list)
    except (ValueError, RecursionError):
        return False


def _script(text: str) -> str | None:
    """The script of most letters among the first 400 characters; None without ten letters of known scripts."""
    start = text[:400]
    if start.isascii():
        return "LATIN" if len(_LETTER.findall(start)) >= 10 else None
    counts: Counter[str] = Counter()
    for letter in filter(str.isalpha, start):
        name = "LATIN" if letter.isascii() else unicodedata.name(letter, "").partition(" ")[0]
        counts[{"HIRAGANA": "CJK", "KATAKANA": "CJK"}.get(name, name)] += name in _SCRIPTS
    if not counts:
        return None
    script, count = counts.most_common(1)[0]
    return script if count >= 10 else None


def _other_script(one: Seen) -> bool | None:
    asked, answered = _script(one.asked), _script(one.answer)
    if asked is None or answered is None:
        return None
    if asked == answered:
        return False
    return None if _LANGUAGE_ASKED.search(one.asked) or _LANGUAGE_ASKED.search(one.system) else True


def _ends_a_sentence(one: Seen) -> bool | None:
    text = one.answer.rstrip("\"'”’)» \n")
    return text[-1] in _SENTENCE_ENDS if text and not _is_json(one.answer) else None


def _starts_large(one: Seen) -> bool | None:
    first = one.answer.lstrip()[:1]
    return first.isupper() if first.isupper() or first.islower() else None


_SENTENCE_TRAITS = (
    _Trait(
        "end of sentence", _ends_a_sentence, "end with a point", "do not",
        "End all of them in one way.",
    ),
    _Trait(
        "capital letters", _starts_large, "begin with a capital letter", "do not",
        "Write the first letter in one way.",
    ),
)  # fmt: skip
_TRAITS = (
    _Trait(
        "JSON and prose", _answers_json, "are JSON", "are not",
        "Say in the prompt when JSON is wanted, or use one form for all.",
    ),
    _Trait(
        "languages", _other_script, "are in another script than their prompt", "are not",
        "Say in the prompt which language is wanted, or leave out the rows in the other one.",
    ),
    _Trait(
        "Markdown and plain text", _uses_markdown, "(long ones) use Markdown", "do not",
        "Use one form for all, or say in the prompt which one is wanted.",
    ),
    *_SENTENCE_TRAITS,
)  # fmt: skip


def labels(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """Spellings of the same label, and labels that are much rarer than others, where answers are a few labels."""
    groups: dict[tuple[str, ...], list[Seen]] = defaultdict(list)
    for one in seen:
        if not one.answer_words or len(one.answer_words) > LABEL_WORDS:
            return
        groups[one.answer_words].append(one)
        if len(groups) > MOST_LABELS:
            return
    if len(groups) < 2 or len(seen) < ROWS_PER_LABEL * len(groups):
        return
    yield from _spellings(list(groups.values()))
    ordered = sorted(groups.values(), key=len)
    rare = [group for group in ordered if len(group) < RARE_LABEL * len(seen) / len(groups)]
    if not rare and len(ordered[-1]) < MOST_OF_ALL * len(seen):
        return
    found = [one for group in (rare or ordered[:-1]) for one in group]
    ends = (ordered[-1], ordered[0])
    counts = ", ".join(f"{excerpt(group[0].answer)[:20]} {len(group):,}" for group in ends)
    yield DataIssue(
        "unbalanced labels", "note", len(found),
        f"Some answers are far rarer than others ({counts}): the model learns to give the frequent ones.",
        "Add rows with the rare answers, and judge by more than the share of right ones. Look for spelling mistakes.",
        tuple((one.row, excerpt(one.answer)) for one in found[:SHOWN]),
    )  # fmt: skip


def _spellings(groups: Sequence[Sequence[Seen]]) -> Iterator[DataIssue]:
    odd: list[tuple[Seen, str]] = []
    for group in groups:
        usual = Counter(one.answer.strip() for one in group).most_common(1)[0][0]
        odd += [(one, usual) for one in group if one.answer.strip() != usual]
    if odd:
        total = sum(map(len, groups))
        yield DataIssue(
            "one label, several spellings", severity(len(odd), total), len(odd),
            "The same answer is written with other capitals or points: the model spreads itself over the spellings.",
            "Write each label in one way.",
            tuple((one.row, f"{excerpt(one.answer)[:50]}, else {excerpt(usual)[:50]}") for one, usual in odd[:SHOWN]),
        )  # fmt: skip


def same_prompt(seen: Sequence[Seen]) -> Iterator[DataIssue]:
    """One prompt, word for word, in nine of ten rows."""
    prompts = Counter(one.question for one in seen if one.question)
    if not prompts:
        return
    prompt, count = prompts.most_common(1)[0]
    if count < FEWEST_SAME or count < IDENTICAL * len(seen):
        return
    found = [one for one in seen if one.question == prompt]
    if len({one.answer_words for one in found}) < 2:
        return
    yield DataIssue(
        "one prompt for all", "warning", count,
        "The prompt says nothing about which answer is wanted: the model learns to give one of them by chance.",
        "Check that --map takes the right column as the prompt; for plain text use --map text=COLUMN.",
        tuple((one.row, excerpt(one.example.prompt)) for one in found[:SHOWN]),
    )  # fmt: skip
