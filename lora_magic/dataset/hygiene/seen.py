"""An example as the checks look at it: what was asked, what was answered, on which side of the split."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from lora_magic.dataset.hygiene.words import words
from lora_magic.dataset.turns import Example


@dataclass(frozen=True, eq=False)
class Seen:
    """One example.

    Attributes:
        example: it.
        held: whether it is held out.
        tokens: how many it has, before any cut; 0 where the chat template refuses it.
    """

    example: Example
    held: bool = False
    tokens: int = 0
    asked: str = field(init=False)
    answered: str = field(init=False)
    system: str = field(init=False)

    def __post_init__(self) -> None:
        turns = self.example.turns
        object.__setattr__(self, "asked", _joined(turn.content for turn in turns if turn.role in ("user", "tool")))
        own = _joined(turn.content + turn.tool_calls for turn in turns if turn.role in ("assistant", "text"))
        object.__setattr__(self, "answered", own)
        system = _joined(turn.content for turn in turns if turn.role == "system") + self.example.tools
        object.__setattr__(self, "system", system)

    @property
    def row(self) -> int:
        """Its number in the source, from 1."""
        return self.example.row

    @cached_property
    def answer(self) -> str:
        """The last answer; a plain text itself."""
        return self.answered if self.example.is_text else self.example.reference

    @cached_property
    def asked_words(self) -> tuple[str, ...]:
        """The words of `asked`, as `words` compares them."""
        return tuple(words(self.asked))

    @cached_property
    def answered_words(self) -> tuple[str, ...]:
        """The words of `answered`."""
        return tuple(words(self.answered))

    @cached_property
    def answer_words(self) -> tuple[str, ...]:
        """The words of the last answer."""
        return self.answered_words if self.answer == self.answered else tuple(words(self.answer))

    @cached_property
    def question(self) -> tuple[object, ...]:
        """Everything before the last answer, as `words` compares it; () for plain text or where nothing was asked."""
        context = self.example.context
        if not context:
            return ()
        earlier = tuple(tuple(words(turn.content)) for turn in context if turn.role == "assistant")
        roles = tuple(turn.role for turn in context)
        return (roles, tuple(words(self.system)), self.asked_words, *earlier)


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(texts)


def look(examples: Iterable[Example], held_out: Collection[Example], token_counts: Iterable[int]) -> list[Seen]:
    """The examples with their side of the split; `held_out` are told by row number and content."""
    held = {(example.row, example) for example in held_out}
    pairs = zip(examples, token_counts, strict=True)
    return [Seen(example, (example.row, example) in held, count) for example, count in pairs]
