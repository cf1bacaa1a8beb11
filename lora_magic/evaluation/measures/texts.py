"""Texts as words, and what two texts share."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence

# Scripts written without spaces give a word a character.
SPACELESS = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# Vowel signs and accents of their own, which `\w` leaves out, and the joiners within words.
_MARKS = "".join(
    chr(code) for code in range(0x300, 0x10000)
    if unicodedata.category(chr(code))[0] == "M" and not re.match(f"[{SPACELESS}]", chr(code))
) + "\u200c\u200d"  # fmt: skip
_WORD = re.compile(rf"[{SPACELESS}]|[^\W_{SPACELESS}](?:[^\W_{SPACELESS}]|[{_MARKS}])*")
_CHARACTER = re.compile(rf"([{SPACELESS}])")
_ARTICLE = re.compile(r"\b(a|an|the)\b")
# What makes another number of one: its sign, its point, and the bar or colon between two.
_IN_NUMBER = re.compile(r"(?<![\w.)])[-\u2212](?=\.?\d)|(?<=\d)[./:](?=\d)|(?<!\w)\.(?=\d)")


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation; on ASCII text those of the rouge-score package."""
    return _WORD.findall(unicodedata.normalize("NFC", text.casefold()))


def answer_words(text: str) -> list[str]:
    """The words of a short answer as SQuAD compares them: without case, punctuation and English articles.

    Beyond SQuAD's script, punctuation of every script goes, scripts without spaces give a word a character, numbers
    keep their sign and their point, and a text of punctuation and articles alone keeps them.
    """
    said = unicodedata.normalize("NFC", text.lower())
    kept = {found.start() for found in _IN_NUMBER.finditer(said)}
    bare = "".join(_number_sign(sign) if at in kept else sign for at, sign in enumerate(said)
                   if at in kept or not _is_punctuation(sign))  # fmt: skip
    return _CHARACTER.sub(r" \1 ", _ARTICLE.sub(" ", bare)).split() or said.split()


def _number_sign(sign: str) -> str:
    return "-" if sign == "\u2212" else sign


def _is_punctuation(sign: str) -> bool:
    # ASCII's signs such as $ + < are punctuation in SQuAD's script and symbols in Unicode.
    return unicodedata.category(sign).startswith("P") or sign in "$+<=>^`|~"


def exact(answer: str, reference: str) -> float:
    """1 when both are the same short answer, else 0."""
    return float(answer_words(answer) == answer_words(reference))


def token_f1(answer: str, reference: str) -> float:
    """The harmonic mean of precision and recall of an answer's words; of two without words 1."""
    found, wanted = answer_words(answer), answer_words(reference)
    if not found or not wanted:
        return float(found == wanted)
    return f1((Counter(found) & Counter(wanted)).total(), len(found), len(wanted))


def rouge_n(answer: Sequence[str], reference: Sequence[str], n: int) -> float:
    """F1 of the runs of `n` words that both have; nan when the reference has none.

    Args:
        answer, reference: as `words` gives them.
        n: words a run.
    """
    found, wanted = runs(answer, n), runs(reference, n)
    return f1((Counter(found) & Counter(wanted)).total(), len(found), len(wanted))


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest sequence of words that both have in the same order; nan when the reference has none."""
    return f1(common(answer, reference), len(answer), len(reference))


def runs(of: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Every run of `n` words, in order."""
    return list(zip(*(of[start:] for start in range(n)), strict=False))


def f1(shared: int, found: int, wanted: int) -> float:
    """The harmonic mean of shared/found and shared/wanted; nan where nothing was wanted."""
    return 2 * shared / (found + wanted) if wanted else float("nan")


def common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """The length of the longest common subsequence, a word of machine bits at a time (Hyyrö 2004)."""
    places: dict[Hashable, int] = {}
    for place, item in enumerate(one):
        places[item] = places.get(item, 0) | 1 << place
    full = (1 << len(one)) - 1
    unmatched = full
    for item in other:
        hits = unmatched & places.get(item, 0)
        unmatched = ((unmatched + hits) | (unmatched - hits)) & full
    return len(one) - unmatched.bit_count()
