"""Answers that are one of a few labels: accuracy, macro-F1 and AUC."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from lora_magic.evaluation.intervals import Floats, Statistic
from lora_magic.evaluation.measures.overlap import referenced
from lora_magic.evaluation.measures.table import Asked, LeftOut, Scored, by_figure, by_rows, counted
from lora_magic.evaluation.measures.texts import SPACELESS
from lora_magic.results.measures import Measure

_EDGES = " \t\r\n\"'`*_“”‘’«».:!?,;()[]。，！？、：；「」『』（）【】"
# A letter or digit of a script that puts spaces between words.
_LETTER = rf"[^\W{SPACELESS}]"
_NONE = ""


def label(text: str) -> str:
    """A label without case, outer spaces, quotation marks and the points of sentences, its accents composed."""
    plain = " ".join(unicodedata.normalize("NFC", text.casefold()).split())
    return plain.strip(_EDGES) or plain


class Labels:
    """Which label an answer gives.

    Args:
        references: what the rows' labels are, as the data writes them.
    """

    def __init__(self, references: Sequence[str]) -> None:
        self.known = sorted({label(text) for text in references})
        longest_first = sorted(self.known, key=len, reverse=True)
        named = "|".join(map(re.escape, longest_first))
        self._inside = re.compile(rf"(?<!{_LETTER})(?<!\d[.,/])(?<![-\u2212](?=\d))(?:{named})(?!{_LETTER})(?![.,/]\d)")

    def bare(self, answer: str) -> bool:
        """Whether the answer is a label and nothing else."""
        return label(answer) in self.known

    def read(self, answer: str) -> str:
        """The label that an answer is, or the only one that is a word of it; "" for none or several."""
        whole = label(answer)
        if whole in self.known:
            return whole
        found = set(self._inside.findall(whole))
        return found.pop() if len(found) == 1 else _NONE


def accuracy(asked: Asked) -> Measure:
    """The share of answers that give the right label."""
    truth, given, note = _read(asked)
    scores = {column: (of == truth).astype(np.float64) for column, of in given.items()}
    return by_rows(asked, "label-accuracy", scores, note, rows=referenced(asked))


def macro_f1(asked: Asked) -> Measure:
    """The mean of the labels' F1, each label weighing the same."""
    truth, given, _ = _read(asked)
    figures = {column: _macro_f1(truth, of) for column, of in given.items()}
    scores = {column: (of == truth).astype(np.float64) for column, of in given.items()}
    kinds = counted(len(set(truth.tolist())), "label")
    return by_figure(asked, "macro-f1", figures, scores, f"The mean over {kinds}; an answer without one is wrong.")


Names = np.ndarray[tuple[int], np.dtype[np.object_]]


def _read(asked: Asked) -> tuple[Names, Mapping[str, Names], str]:
    """Each row's label, what each column gave, and how answers were read."""
    rows = referenced(asked)
    labels = Labels([row.reference or "" for row in rows])
    truth = _names([label(row.reference or "") for row in rows])
    given = {column: _names([labels.read(row.outputs[column]) for row in rows]) for column in asked.columns}
    return truth, given, _reading(asked, rows, labels, given)


def _names(values: Sequence[str]) -> Names:
    return np.array([*values, None], dtype=object)[:-1]


def _reading(asked: Asked, rows: Sequence[Scored], labels: Labels, given: Mapping[str, Names]) -> str:
    said = ["The answer's label, or the only label that is a word of it."]
    for column in asked.columns:
        bare = sum(labels.bare(row.outputs[column]) for row in rows)
        none = int((given[column] == _NONE).sum())
        if bare < len(rows):
            said.append(f"{column}: {bare:,} of {counted(len(rows), 'answer')} are a label and no more, "
                        f"{none:,} hold none or several.")  # fmt: skip
    return " ".join(said)


def _macro_f1(truth: Names, given: Names) -> Statistic:
    """Macro-F1 of weighted rows, over the labels that they hold."""
    kinds = sorted(set(truth.tolist()))
    true = np.array([truth == kind for kind in kinds], dtype=np.float64).T
    told = np.array([given == kind for kind in kinds], dtype=np.float64).T

    def figure(weights: Floats) -> Floats:
        wanted, found, right = weights @ true, weights @ told, weights @ (true * told)
        present = wanted > 0
        each = np.where(present, 2 * right / np.maximum(wanted + found, 1e-300), 0)
        with np.errstate(invalid="ignore"):
            return np.asarray(each.sum(axis=1) / present.sum(axis=1), dtype=np.float64)

    return figure


def auc(asked: Asked) -> Measure:
    """How often a row of one label is scored above one of the other, by the odds of the two labels as answers."""
    kinds = sorted({label(row.reference or "") for row in referenced(asked)})
    if len(kinds) != 2:
        raise LeftOut(f"it takes 2 labels, and there are {len(kinds):,}")
    if not all(column in asked.label_losses for column in asked.columns):
        raise LeftOut("an answer alone has no score; it takes the loss of each label as the answer")
    odds = {column: np.array([_odds(row, kinds) for row in asked.label_losses[column]]) for column in asked.columns}
    truth = np.array([label(row.reference or "") for row in asked.rows])
    known = np.all([np.isfinite(of) for of in odds.values()], axis=0) & np.isin(truth, kinds)
    second = truth[known] == kinds[1]
    if second.all() or not second.any():
        raise LeftOut("all rows with a score have the same label")
    figures = {column: _auc(second, of[known]) for column, of in odds.items()}
    scores = {column: np.where(second, of[known], -of[known]) for column, of in odds.items()}
    return by_figure(asked, "auc", figures, scores, "By the odds of the two labels as the whole answer.")


def _odds(losses: Mapping[str, float], kinds: Sequence[str]) -> float:
    """How much less the second label loses than the first, in nats."""
    plain = {label(text): nats for text, nats in losses.items()}
    return plain.get(kinds[0], math.nan) - plain.get(kinds[1], math.nan)


def _auc(second: np.ndarray[tuple[int], np.dtype[np.bool_]], odds: Floats) -> Statistic:
    """AUC of weighted rows; a tie counts half."""
    above = odds[second][:, None] - odds[~second][None, :]
    wins = (above > 0) + 0.5 * (above == 0)

    def figure(weights: Floats) -> Floats:
        ones, others = weights[:, second], weights[:, ~second]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(((ones @ wins) * others).sum(axis=1) / (ones.sum(axis=1) * others.sum(axis=1)))

    return figure
