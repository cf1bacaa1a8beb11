"""What reference answers look like, and which measures suit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lora_magic.evaluation.measures.fields import parsed
from lora_magic.evaluation.measures.labels import label
from lora_magic.evaluation.measures.table import counted
from lora_magic.evaluation.measures.texts import words

MOST_LABELS, LONGEST_LABEL, ROWS_A_LABEL = 20, 5, 2
LONGEST_SHORT = 10
_MOST = 0.9

_LIKELIHOOD = ("held-out-loss", "perplexity")
_STYLE = ("length", "repetition", "parroting", "abstention")
CHOSEN = {
    "labels": ("label-accuracy", "macro-f1", "auc", "held-out-loss"),
    "json": ("json-valid", "json-fields", "held-out-loss"),
    "short": ("exact-match", "token-f1", *_LIKELIHOOD, "length", "abstention"),
    "long": ("rouge-1", "rouge-2", "rouge-l", "bleu", "similarity", *_LIKELIHOOD, *_STYLE),
    "none": _STYLE,
}


@dataclass(frozen=True)
class Kind:
    """What references look like.

    Attributes:
        name: "labels", "json", "short", "long" or "none".
        why: how that was seen, a sentence.
    """

    name: str
    why: str


def kind(references: Sequence[str]) -> Kind:
    """What references look like; 9 of 10 must be so.

    Args:
        references: those that are not blank.
    """
    if not references:
        return Kind("none", "There are no reference answers.")
    objects = sum(parsed(text) is not None for text in references)
    if objects >= _MOST * len(references):
        found = "is a JSON object" if len(references) == 1 else "are JSON objects"
        return Kind("json", f"{objects:,} of {counted(len(references), 'reference')} {found}.")
    lengths = sorted(len(words(text)) for text in references)
    labels = {label(text) for text in references}
    few = len(labels) <= MOST_LABELS and len(references) >= ROWS_A_LABEL * len(labels)
    if few and lengths[-1] <= LONGEST_LABEL and len(references) > 1:
        return Kind("labels", f"{counted(len(references), 'reference')} hold {counted(len(labels), 'short answer')}.")
    short = sum(length <= LONGEST_SHORT for length in lengths)
    if short >= _MOST * len(references):
        verb = "has" if len(references) == 1 else "have"
        said = f"{short:,} of {counted(len(references), 'reference')} {verb} at most {LONGEST_SHORT} words."
        return Kind("short", said)
    middle = lengths[len(lengths) // 2]
    return Kind("long", f"Half of the {counted(len(references), 'reference')} have {middle:,} words or more.")
