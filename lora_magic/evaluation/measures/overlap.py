"""Words that an answer shares with its reference: exact match, token F1, ROUGE and BLEU."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lora_magic.evaluation.intervals import Floats, Statistic
from lora_magic.evaluation.measures import texts
from lora_magic.evaluation.measures.table import Asked, LeftOut, Scored, by_figure, by_row, by_rows, scored
from lora_magic.results.measures import Measure

_BLEU_TOP = 100.0
_ORDERS = 4
_LETTER = re.compile(r"[^\W\d_]")
_SPACELESS = re.compile(f"[{texts.SPACELESS}]")
_ROUGE_NOTE = "F1, without case, punctuation and stemming."
_SQUAD_NOTE = "As in SQuAD: without case, punctuation and English articles; numbers keep sign and point."


def exact_match(asked: Asked) -> Measure:
    """The share of answers that are their reference."""
    return _against(asked, "exact-match", texts.exact, _SQUAD_NOTE)


def token_f1(asked: Asked) -> Measure:
    """F1 of the words of answer and reference."""
    return _against(asked, "token-f1", texts.token_f1, _SQUAD_NOTE)


def rouge_1(asked: Asked) -> Measure:
    """F1 of the words that both have."""
    return _against(asked, "rouge-1", lambda one, other: _rouge_n(one, other, 1), _ROUGE_NOTE)


def rouge_2(asked: Asked) -> Measure:
    """F1 of the pairs of words that both have."""
    return _against(asked, "rouge-2", lambda one, other: _rouge_n(one, other, 2), _ROUGE_NOTE)


def rouge_l(asked: Asked) -> Measure:
    """F1 of the longest common sequence of words."""
    return _against(
        asked, "rouge-l", lambda one, other: texts.rouge_l(texts.words(one), texts.words(other)), _ROUGE_NOTE
    )


def _rouge_n(one: str, other: str, n: int) -> float:
    return texts.rouge_n(texts.words(one), texts.words(other), n)


def _against(asked: Asked, name: str, compare: Callable[[str, str], float], note: str) -> Measure:
    rows = referenced(asked)
    scores = scored(asked, rows, lambda row, answer: compare(answer, row.reference or ""))
    return by_rows(asked, name, scores, note, rows=rows)


def referenced(asked: Asked) -> list[Scored]:
    """The rows with a reference.

    Raises:
        LeftOut: there is none.
    """
    rows = asked.referenced
    if not rows:
        raise LeftOut("there are no reference answers")
    return rows


def bleu(asked: Asked) -> Measure:
    """sacrebleu's BLEU of all rows together, 0 to 100; its sentence scores tell better rows from worse ones."""
    from sacrebleu.metrics.bleu import BLEU

    rows = referenced(asked)
    tokenizer = "char" if _spaceless([row.reference or "" for row in rows]) else "13a"
    scorer = BLEU(effective_order=True, tokenize=tokenizer)
    found = {
        column: [scorer.sentence_score(row.outputs[column], [row.reference or ""]) for row in rows]
        for column in asked.columns
    }
    figures = {column: _corpus(sentences) for column, sentences in found.items()}
    scores = {column: np.array([one.score for one in sentences]) for column, sentences in found.items()}
    said = "characters" if tokenizer == "char" else "words"
    note = f"sacrebleu, {said} ({tokenizer}), of all rows."
    return by_figure(asked, "bleu", figures, scores, note, top=_BLEU_TOP, alone=by_row(asked, rows, scores))


def _corpus(sentences: Sequence[Any]) -> Statistic:
    """BLEU of weighted rows, from the counts of each."""
    from sacrebleu.metrics.bleu import BLEU

    counts = np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in sentences], dtype=np.float64)

    def figure(weights: Floats) -> Floats:
        sums = np.rint(weights @ counts).astype(int).tolist()
        made = [
            BLEU.compute_bleu(one[:_ORDERS], one[_ORDERS : 2 * _ORDERS], one[-2], one[-1], smooth_method="exp").score
            for one in sums
        ]
        return np.array(made)

    return figure


def _spaceless(references: Sequence[str]) -> bool:
    """Whether most letters are of scripts that are written without spaces."""
    letters = sum(len(_LETTER.findall(text)) for text in references)
    return 2 * sum(len(_SPACELESS.findall(text)) for text in references) > letters
