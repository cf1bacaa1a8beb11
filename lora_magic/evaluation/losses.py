"""Held-out losses of a comparison's rows, by the labels that training uses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lora_magic.backends.base import Base
from lora_magic.dataset.examples import Example, Turn
from lora_magic.dataset.tokens import TrainOn, tokenise
from lora_magic.errors import LoraError
from lora_magic.evaluation.asked import Asked

Losses = list[tuple[float, int]]
Context = Callable[[Asked], tuple[Turn, ...]]
MISSING = (math.nan, 0)


def row_losses(
    base: Base, asked: Sequence[Asked], context: Context, train_on: TrainOn, template: str | None,
    progress: Callable[[int], None] | None = None,
) -> Losses:  # fmt: skip
    """What the reference of each prompt costs whatever is active.

    Args:
        base: the loaded base.
        asked: the prompts.
        context: the turns that a prompt is asked with.
        train_on: whose tokens count.
        template: the chat template in place of the model's own.
        progress: called with the number of rows that are done.

    Returns:
        Of each prompt, summed nats and the tokens they are summed over; not a number over no tokens for a prompt
        without a reference, and for one that does not fit the model.
    """
    tokenizer: Any = base.tokenizer
    longest = base.facts.max_length
    places = [i for i, one in enumerate(asked) if one.answer is not None]
    rows = [Example((*context(asked[i]), answer), 0, asked[i].tools) for i in places if (answer := asked[i].answer)]
    found: Losses = [MISSING] * len(asked)
    try:
        made = tokenise(rows, tokenizer, max_length=longest, train_on=train_on, template=template)
    except LoraError:
        return found
    whole = [i for i, position in enumerate(made.positions.tolist()) if made.lengths[position] <= longest]
    for i, loss in zip(whole, base.losses([made.rows[i] for i in whole], progress), strict=True):
        found[places[int(made.positions[i])]] = loss
    return found


@dataclass
class ColumnLosses:
    """The losses of every column, gathered one column at a time.

    Attributes:
        asked: the prompts.
        train_on: whose tokens count.
        template: the chat template in place of the model's own.
        with_labels: whether each of two labels is tried as the answer, for ranking by their odds.
        rows: by column, the loss of each prompt's reference.
        labels: by column and prompt, the nats of each of the two labels as the whole answer.
    """

    asked: Sequence[Asked]
    train_on: TrainOn
    template: str | None
    with_labels: bool
    rows: dict[str, Losses] = field(default_factory=dict)
    labels: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def add(self, base: Base, name: str, context: Context, progress: Callable[[int], None]) -> None:
        """One more column, by whatever is active on `base`."""
        self.rows[name] = row_losses(base, self.asked, context, self.train_on, self.template, progress)
        tried = self._two_labels() if self.with_labels else []
        if not tried:
            return
        nats: dict[str, list[float]] = {}
        for text in tried:
            told = [replace(one, answer=Turn("assistant", text)) for one in self.asked]
            nats[text] = [loss for loss, _ in row_losses(base, told, context, "last", self.template, progress)]
        self.labels[name] = [{text: nats[text][i] for text in tried} for i in range(len(self.asked))]

    def _two_labels(self) -> list[str]:
        """The two answers that all references are, or nothing."""
        texts = {one.reference for one in self.asked if one.reference}
        return sorted(texts) if len(texts) == 2 else []

    def paired(self, names: Sequence[str], places: Sequence[int]) -> Mapping[str, Losses] | None:
        """Losses of some columns and prompts; a row that is missing in one column is missing in all.

        Returns:
            By column, or None where a column has none.
        """
        if not all(name in self.rows for name in names):
            return None
        whole = [all(self.rows[name][i][1] for name in names) for i in places]
        return {
            name: [self.rows[name][i] if there else MISSING for i, there in zip(places, whole, strict=True)]
            for name in names
        }

    def of_labels(
        self, names: Sequence[str], places: Sequence[int]
    ) -> Mapping[str, Sequence[Mapping[str, float]]] | None:
        """The nats of the two labels, of some columns and prompts; None where a column has none."""
        if not all(name in self.labels for name in names):
            return None
        return {name: [self.labels[name][i] for i in places] for name in names}
