"""How likely the references are: held-out loss and perplexity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lora_magic.evaluation.intervals import Floats, Statistic
from lora_magic.evaluation.measures.table import Asked, LeftOut, by_figure, counted
from lora_magic.results.measures import Measure


def loss(asked: Asked) -> Measure:
    """Nats a trained token of all rows together, as training reports it."""
    rows, note = _known(asked)
    figures = {column: _a_token(nats, tokens) for column, (nats, tokens) in rows.items()}
    return by_figure(asked, "held-out-loss", figures, _scores(rows), f"Nats a token of the reference.{note}")


def perplexity(asked: Asked) -> Measure:
    """e to the held-out loss."""
    rows, note = _known(asked)
    figures = {column: _exp(_a_token(nats, tokens)) for column, (nats, tokens) in rows.items()}
    return by_figure(asked, "perplexity", figures, _scores(rows), f"e to the held-out loss.{note}")


def _known(asked: Asked) -> tuple[Mapping[str, tuple[Floats, Floats]], str]:
    """Nats and tokens a row by column, of the rows where every column has a finite loss."""
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
    return {column: (pair[known, 0], pair[known, 1]) for column, pair in pairs.items()}, note


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
