"""One adapter in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_magic.config import TrainConfig
from lora_magic.dataset.examples import Example


@dataclass
class Adapter:
    """One adapter in memory.

    Attributes:
        name: what the user calls it.
        key: what the backend calls it.
        path: its folder on disk; None when it could not be written.
        kind: such as "lora, rank 8".
        system: the system text it was trained with, or None.
        source: the data's name.
        held_out: rows to compare on.
        template: the chat template that it was trained with, or None for the model's own.
        settings: the run's, as used; None where no run is known.
        content_hash: of the run's rows; "" where not known.
    """

    name: str
    key: str
    path: Path | None
    kind: str
    system: str | None
    source: str
    held_out: tuple[Example, ...]
    template: str | None = None
    settings: TrainConfig | None = None
    content_hash: str = ""
