"""What answers are like, whatever they should have been: length, repetition, parroting, abstention."""

from __future__ import annotations

import re

import numpy as np

from lora_magic.evaluation.measures.table import Asked, LeftOut, by_rows, counted, scored
from lora_magic.evaluation.measures.texts import runs, words
from lora_magic.results.measures import Measure

# Repetition within an answer: the share of repeated 4-grams (Welleck et al. 2020, "seq-rep-4").
REPEATED_RUN = 4
COPIED_RUN = 8
# About 3 s of reading; what comes after is left out and said.
MOST_TRAINING_WORDS = 2_000_000
_NO_BREAK = r"[^.!?\n]{0,40}"
_DECLINED = re.compile(
    "|".join(
        (
            r"\bi(?: really| honestly)?(?: do not| don['’]?t| cannot| can['’]?t|(?: a|['’])m (?:not able|unable))"
            rf"{_NO_BREAK}\b(?:know|answer|help(?! but)|assist|provide|comply|determine|fulfil|fulfill)\b",
            # With a reason or nothing more: "I'm sorry to hear that" begins a helpful answer.
            r"^(?:i['’]?m |i am |we are |we['’]re )?(?:very |so |really )?sorry"
            r"(?:\W*$|\W+(?:but|no|i|we|that is|this is)\b)",
            r"\bas an ai\b", r"\bi have no (?:idea|information|knowledge)\b", r"\bi(?:['’]m| am) not sure\b",
            r"^(?:not (?:enough information|known|given|stated)|unknown|unanswerable|no answer|n/a)\W*$",
            r"\b(?:ich weiß (?:es |das )?nicht|das weiß ich nicht|das kann ich (?:leider )?nicht)\b",
            r"\bje ne (?:sais|peux) pas\b", r"\bno (?:lo )?sé\b", r"\bno puedo (?:ayudar|responder)", r"\bnon lo so\b",
            r"\b(?:eu )?não sei\b", r"我不知道|我无法|无法回答|わかりません|分かりません|お答えできません|모르겠",
            r"\bя не (?:знаю|могу)\b",
        )
    )
)  # fmt: skip
_LOOKED_AT = 200


def length(asked: Asked) -> Measure:
    """Words an answer."""
    scores = scored(asked, asked.rows, lambda _, answer: float(len(words(answer))))
    note = "Chinese, Japanese and Thai count characters."
    wanted = [len(words(row.reference or "")) for row in asked.referenced]
    if wanted:
        note += f" The references have {np.mean(wanted):,.1f} on average."
    return by_rows(asked, "length", scores, note)


def repetition(asked: Asked) -> Measure:
    """The share of an answer's runs of four words that it had before."""
    scores = scored(asked, asked.rows, lambda _, answer: repeated(answer))
    return by_rows(asked, "repetition", scores, f"Runs of {REPEATED_RUN} words that the same answer had before.")


def repeated(answer: str) -> float:
    """The share of repeated runs of four words; 0 of an answer with fewer words."""
    found = runs(words(answer), REPEATED_RUN)
    return 1 - len(set(found)) / len(found) if found else 0.0


def parroting(asked: Asked) -> Measure:
    """The share of an answer's words that lie in runs of eight that a training answer has word for word."""
    of_column = {column: [words(row.outputs[column]) for row in asked.rows] for column in asked.columns}
    of_references = [words(row.reference or "") for row in asked.referenced]
    wanted = {run for texts in (*of_column.values(), of_references) for text in texts for run in runs(text, COPIED_RUN)}
    copied, looked_at, whole = _copied(asked, wanted)
    if not looked_at:
        raise LeftOut("no training answers were given")
    scores = {column: np.array([_share(text, copied) for text in texts]) for column, texts in of_column.items()}
    said = [f"Words in runs of {COPIED_RUN} or more that are in a training answer word for word."]
    if of_references:
        said.append(f"The references themselves: {np.mean([_share(text, copied) for text in of_references]):.0%}.")
    if not whole:
        said.append(f"The first {counted(looked_at, 'training answer')} were read.")
    return by_rows(asked, "parroting", scores, " ".join(said))


def _copied(asked: Asked, wanted: set[tuple[str, ...]]) -> tuple[set[tuple[str, ...]], int, bool]:
    """Which runs the training answers have, how many answers were read, and whether those were all."""
    copied: set[tuple[str, ...]] = set()
    seen = looked_at = 0
    for text in asked.training:
        if seen > MOST_TRAINING_WORDS:
            return copied, looked_at, False
        found = words(text)
        seen, looked_at = seen + len(found), looked_at + 1
        copied |= wanted.intersection(runs(found, COPIED_RUN))
    return copied, looked_at, True


def _share(text: list[str], copied: set[tuple[str, ...]]) -> float:
    held = np.zeros(len(text), dtype=bool)
    for start, run in enumerate(runs(text, COPIED_RUN)):
        if run in copied:
            held[start : start + COPIED_RUN] = True
    return float(held.mean()) if len(text) else 0.0


def abstention(asked: Asked) -> Measure:
    """The share of answers that say that they do not answer, or say nothing."""
    scores = scored(asked, asked.rows, lambda _, answer: float(declined(answer)))
    return by_rows(asked, "abstention", scores, "Says that it does not know or will not answer, or says nothing.")


def declined(answer: str) -> bool:
    """Whether an answer is blank or, by its first words, none."""
    plain = answer.strip().lower()
    return not plain or _DECLINED.search(plain[:_LOOKED_AT]) is not None
