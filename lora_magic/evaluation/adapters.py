"""What the comparison needs to know of an adapter in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Protocol

from lora_magic.config import TrainConfig
from lora_magic.dataset.examples import Example
from lora_magic.dataset.prepare import read_sides
from lora_magic.demo import DATASETS
from lora_magic.errors import LoraError


class Adapter(Protocol):
    """An adapter and the run that made it."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def key(self) -> str:
        """What the backend calls it."""

    @property
    def system(self) -> str | None:
        """The system text it was trained with, or None."""

    @property
    def source(self) -> str:
        """The data's name."""

    @property
    def held_out(self) -> tuple[Example, ...]:
        """Rows to compare on."""

    @property
    def template(self) -> str | None:
        """The chat template that it was trained with, or None for the model's own."""

    @property
    def settings(self) -> TrainConfig | None:
        """The run's settings as used, or None where no run is known."""

    @property
    def content_hash(self) -> str:
        """Of the run's rows; "" where not known."""


def training_rows(run: Adapter, variables: Mapping[str, object], at_most: int | None = None) -> list[Example]:
    """The rows that an adapter was trained on, read once more from where the run had them.

    Args:
        run: the adapter.
        variables: the notebook's, for data by name.
        at_most: the first so many; all unless given.

    Raises:
        LoraError: they are gone or have changed since.
    """
    if run.settings is None:
        raise LoraError(f"The run of {run.name} is not known.", "Train the adapter here.")
    sides = read_sides(run.settings, variables, DATASETS)
    if run.content_hash and sides.content_hash != run.content_hash:
        raise LoraError(
            f"{run.source} has changed since {run.name} was trained on it.", "Train again, or put the old rows back."
        )
    held_out = set(run.held_out)
    found: Iterable[Example] = (row for row in sides.training if row not in held_out)
    return list(islice(found, at_most))
