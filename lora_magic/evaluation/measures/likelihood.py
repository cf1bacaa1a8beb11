"""How likely the references are: held-out loss and perplexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lora_magic.evaluation.intervals import Floats, Statistic
from lora_magic.evaluation.measures.table import Asked, LeftOut, Scored, by_figure, by_row, counted
from lora_magic.results.measures import Measure


def loss(asked: Asked) -> Measure:
    """Nats a trained token of all rows together, as training reports it."""
    rows, measured, note = _known(asked)
    figures = {column: _a_token(nats, tokens) for column, (nats, tokens) in rows.items()}
    scores = _scores(rows)
    alone = by_row(asked, measured, scores)
    return by_figure(asked, "held-out-loss", figures, scores, f"Nats a token of the reference.{note}", alone=alone)


def perplexity(asked: Asked) -> Measure:
    """e to the held-out loss."""
    rows, measured, note = _known(asked)
    figures = {column: _exp(_a_token(nats, tokens)) for column, (nats, tokens) in rows.items()}
    scores = _scores(rows)
    with np.errstate(over="ignore"):
        alone = by_row(asked, measured, {column: np.exp(of) for column, of in scores.items()})
    return by_figure(asked, "perplexity", figures, scores, f"e to the held-out loss.{note}", alone=alone)


def _known(asked: Asked) -> tuple[Mapping[str, tuple[Floats, Floats]], Sequence[Scored], str]:
    """Nats and tokens a row by column, of the rows where every column has a finite loss, and those rows."""
    columns = [column for column in asked.columns if column in asked.losses]
    if not columns:
        raise LeftOut("no losses were computed")
    pairs = {column: np.array(asked.losses[column], dtype=np.float64).reshape(-1, 2) for column in columns}
    known = np.all([np.isfinite(pair).all(axis=1) & (pair[:, 1] > 0) for pair in pairs.values()], axis=0)
    if not known.any():
        raise LeftOut("no row has a finite loss")
    lost = int((~known).sum())
    verb = "is" if lost == 1 else "are"
    note = f" {counted(lost, 'row')} without a trained token or with no finite loss {verb} left out." if lost else ""
    measured = [row for row, is_known in zip(asked.rows, known, strict=True) if is_known]
    return {column: (pair[known, 0], pair[known, 1]) for column, pair in pairs.items()}, measured, note


def _scores(rows: Mapping[str, tuple[Floats, Floats]]) -> dict[str, Floats]:
    return {column: nats / tokens for column, (nats, tokens) in rows.items()}


def _a_token(nats: Floats, tokens: Floats) -> Statistic:
    def figure(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.asarray((weights @ nats) / (weights @ tokens), dtype=np.float64)

    return figure


def _exp(statistic: Statistic) -> Statistic:
    def figure(weights: Floats) -> Floats:
        with np.errstate(over="ignore"):
            return np.exp(statistic(weights))

    return figure
