"""The common currency of this room: who said what, and a conversation of it."""

from __future__ import annotations

from dataclasses import dataclass, field

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation.

    Attributes:
        role: "system", "user", "assistant" or "tool"; "text" for plain text that no chat template touches.
        content: what was said.
        tool_calls: the JSON text of an assistant's calls, a list of `{"type": "function", "function": {"name": …,
            "arguments": {…}}}`; "" for none.
    """

    role: str
    content: str
    tool_calls: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: a conversation whose last turn is the answer, or one turn of plain text.

    Attributes:
        turns: the turns in order.
        row: the number of its row in the source, from 1; 0 where it came from none. Two examples are equal without it.
        tools: the JSON text of the tools that the model may call, a list of definitions; "" for none.
    """

    turns: tuple[Turn, ...]
    row: int = field(default=0, compare=False)
    tools: str = ""

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
        """The last answer, as its calls where it has no words; "" for plain text."""
        if self._last_answer < 0:
            return ""
        answer = self.turns[self._last_answer]
        return answer.content or answer.tool_calls

    @property
    def _last_answer(self) -> int:
        return max((i for i, turn in enumerate(self.turns) if turn.role == "assistant"), default=-1)
