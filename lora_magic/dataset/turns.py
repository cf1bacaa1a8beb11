"""The common currency of this room: who said what, and a conversation of it."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation.

    Attributes:
        role: "system", "user" or "assistant"; "text" for plain text that no chat template touches.
        content: what was said.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: a conversation whose last turn is the answer, or one turn of plain text.

    Attributes:
        turns: the turns in order.
    """

    turns: tuple[Turn, ...]

    @property
    def is_text(self) -> bool:
        """Whether this is plain text, which has no prompt to generate from and no answer to compare with."""
        return self.turns[0].role == "text"

    @property
    def context(self) -> tuple[Turn, ...]:
        """The turns before the last answer: what generation gets. Empty for plain text."""
        return self.turns[: max(self._last_answer, 0)]

    @property
    def prompt(self) -> str:
        """The last user turn before the last answer; "" for plain text, or where no user spoke."""
        return next((turn.content for turn in reversed(self.context) if turn.role == "user"), "")

    @property
    def reference(self) -> str:
        """The last answer; "" for plain text."""
        return self.turns[self._last_answer].content if self._last_answer >= 0 else ""

    @property
    def _last_answer(self) -> int:
        return max((i for i, turn in enumerate(self.turns) if turn.role == "assistant"), default=-1)
