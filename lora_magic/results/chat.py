"""A conversation with the base and adapters side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lora_magic.results.comparison import ComparisonRow
from lora_magic.results.shown import Shown


@dataclass(eq=False)
class ChatTurn:
    """What was said to all, and what each answered. It changes while answers are made.

    Attributes:
        prompt: what was said.
        outputs: answer by column, in the order of answering; one under way has its beginning.
        cut: columns whose answer ended at the token limit.
        stopped: whether an interrupt ended it; the columns after that have no answer.
        kept: whether it was kept as a test row.
        notes: lines worth reading, such as earlier turns that no longer fit.
    """

    prompt: str
    outputs: dict[str, str] = field(default_factory=dict)
    cut: tuple[str, ...] = ()
    stopped: bool = False
    kept: bool = False
    notes: tuple[str, ...] = ()

    @property
    def row(self) -> ComparisonRow:
        """The turn as a row of a comparison."""
        return ComparisonRow(self.prompt, None, self.outputs, self.cut)


@dataclass(eq=False)
class Chat(Shown):
    """A conversation. It changes with each turn.

    Attributes:
        model: the base.
        columns: who answers now, in order.
        kept_in: the file that kept turns are added to.
        facts: label and value pairs of how answers are made now.
        turns: from the first on.
    """

    model: str
    columns: tuple[str, ...]
    kept_in: Path
    facts: tuple[tuple[str, str], ...] = ()
    turns: list[ChatTurn] = field(default_factory=list)
