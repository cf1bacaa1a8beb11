"""Early stopping: when the held-out loss no longer falls, and the adapter as it was at its lowest."""

from __future__ import annotations

import math
from typing import Any

from lora_magic.events import Evaluated


class Best:
    """Keeps a copy of the trainable weights at the lowest held-out loss.

    Args:
        patience: measurements without a new lowest that end the run.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.at: Evaluated | None = None
        self._since = 0
        self._weights: list[tuple[Any, Any]] = []

    def is_over(self, seen: Evaluated, model: Any) -> bool:
        """Take a measurement; True when the run should end. The one before training does not count."""
        if seen.step == 0:
            return False
        if not math.isnan(seen.loss) and (self.at is None or seen.loss < self.at.loss):
            self.at, self._since = seen, 0
            self._weights = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]
            return False
        self._since += 1
        return self._since >= self.patience

    def restore(self) -> None:
        """Put the kept weights back."""
        for parameter, value in self._weights:
            parameter.data.copy_(value)
        self._weights = []
