"""Where the answers lie in a rendered conversation.

A template is asked once for each sequence of roles what it writes around the turns, with marks in place
of their contents. A rendered conversation is then read off against that: text before a turn, its content,
text after it. Only one whose contents the template rewrites (thinking taken out, say) is rendered again,
with a mark for an answer; so is one with tools, whose calls are written as each template likes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lora_magic.dataset.calls import has_tools
from lora_magic.dataset.template import Renderer, any_of
from lora_magic.dataset.turns import Turn
from lora_magic.errors import LoraError

Span = tuple[int, int]
Roles = tuple[str, ...]

_MARK = "TurnMark{}End"
_MARKS = re.compile(r"TurnMark(\d+)End")
_FORMS: tuple[Callable[[str], str], ...] = (
    str,
    str.strip,
    str.lstrip,
    str.rstrip,
    lambda text: text.lstrip("\n"),
)


@dataclass(frozen=True)
class Layout:
    """What a template writes around the turns of one sequence of roles.

    Attributes:
        literals: the text before each turn's content, in the order of writing, then the text after the last.
        order: which turn each content is.
        leads: for each answer, how many characters before its content the model itself has to write.
        trails: for each answer, how many characters from its content's end to that of its end-of-turn token.
    """

    literals: tuple[str, ...]
    order: tuple[int, ...]
    leads: dict[int, int]
    trails: dict[int, int]

    def locate(self, text: str, turns: Sequence[Turn]) -> list[Span] | None:
        """The answers' spans in `text`, if it is these literals around the turns' contents, else None."""
        position = len(self.literals[0])
        if not text.startswith(self.literals[0]):
            return None
        spans: dict[int, Span] = {}
        for index, after in zip(self.order, self.literals[1:], strict=True):
            end = _content_end(text, position, turns[index].content, after)
            if end is None:
                return None
            if index in self.trails:
                spans[index] = (position - self.leads[index], end + self.trails[index])
            position = end + len(after)
        return [spans[index] for index in sorted(spans)] if position == len(text) else None


def _content_end(text: str, start: int, content: str, after: str) -> int | None:
    """Where a content that starts at `start` ends, as it is or trimmed, if `after` follows there."""
    for form in _FORMS:
        written = form(content)
        end = start + len(written)
        if text.startswith(written, start) and text.startswith(after, end):
            return end
    return None


class SpanFinder:
    """Finds the parts of rendered conversations that are trained on: each answer and its end-of-turn token.

    Args:
        renderer: the renderer of the conversations.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._layouts: dict[Roles, Layout | None] = {}

    def finish(self, text: str, turns: Sequence[Turn], tools: str = "") -> tuple[str, list[Span]] | None:
        """Locates the answers, and ends the last one where the template does not.

        Args:
            text: the rendered turns.
            turns: the turns, fitted to the template; the last is an answer.
            tools: the JSON text of the tools that the text was rendered with.

        Returns:
            The text and the answers' spans in it, as (start, end) characters; None where one is not found.
        """
        if has_tools(turns, tools):
            spans, ended = self._with_tools(text, turns, tools)
        else:
            layout = self._layout(tuple(turn.role for turn in turns))
            spans = (layout and (layout.locate(text, turns) or self._search(text, turns, layout))) or []
            ended = bool(layout and layout.trails[len(turns) - 1])
        if not spans or ended or not self._eos:
            return (text, spans) if spans else None
        start, end = spans[-1]
        text = text[:end] + self._eos
        return text, [*spans[:-1], (start, len(text))]

    @cached_property
    def _eos(self) -> str:
        return self._renderer.tokenizer.eos_token or ""

    @cached_property
    def _added(self) -> re.Pattern[str]:
        """Finds added tokens, special or not: one of them ends a turn."""
        tokenizer = self._renderer.tokenizer
        added = {token.content for token in tokenizer.added_tokens_decoder.values()}
        return any_of(added | set(tokenizer.all_special_tokens))

    def _layout(self, roles: Roles) -> Layout | None:
        if roles not in self._layouts:
            parts = self._parts(roles)
            self._layouts[roles] = self._measured(roles, *parts) if parts else None
        return self._layouts[roles]

    def _parts(self, roles: Roles) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
        """Literals and order, if the template takes these roles and writes each content once."""
        try:
            text = self._renderer.text(_marked(roles))
        except LoraError:
            return None
        pieces = _MARKS.split(text)
        order = tuple(map(int, pieces[1::2]))
        return (tuple(pieces[::2]), order) if sorted(order) == list(range(len(roles))) else None

    def _measured(self, roles: Roles, literals: tuple[str, ...], order: tuple[int, ...]) -> Layout:
        leads, trails = {}, {}
        for place, index in enumerate(order):
            if roles[index] == "assistant":
                leads[index] = self._lead(roles[:index], literals[place])
                trails[index] = self._trail(roles, index, literals[place + 1])
        return Layout(literals, order, leads, trails)

    def _lead(self, before: Roles, head: str) -> int:
        """How much of `head`, the text before an answer, comes after the generation prompt."""
        try:
            prompt = _MARKS.split(self._renderer.text(_marked(before), generation_prompt=True))[-1]
        except LoraError:
            return 0
        return len(head) - len(prompt) if head.startswith(prompt) else 0

    def _trail(self, roles: Roles, index: int, tail: str) -> int:
        """How much of `tail`, the text after an answer, is its end of turn.

        What follows an answer whether or not a turn comes after it is its end; else the first special token.
        """
        last = index == len(roles) - 1
        other = self._parts((*roles, "user") if last else roles[: index + 1])
        return self._end(tail, other[0][-1 - last] if other else tail)

    def _end(self, tail: str, other: str) -> int:
        """The end of turn in the text after an answer, given that text where the conversation goes on otherwise."""
        shared = _shared(tail, other)
        ends = [match.end() for match in self._added.finditer(tail)]
        return max([end for end in ends if end <= shared] or ends[:1] or [0])

    def _search(self, text: str, turns: Sequence[Turn], layout: Layout) -> list[Span] | None:
        spans = [self._search_one(text, turns, index, layout) for index in sorted(layout.trails)]
        found = [span for span in spans if span]
        return found if len(found) == len(spans) else None

    def _search_one(self, text: str, turns: Sequence[Turn], index: int, layout: Layout) -> Span | None:
        """One answer, by what is written around a mark in its place, or by the generation prompt."""
        mark = _MARK.format(index)
        marked = [*turns[:index], replace(turns[index], content=mark), *turns[index + 1 :]]
        try:
            before, _, after = self._renderer.text(marked).partition(mark)
            start = len(before) - layout.leads[index]
            if not text.startswith(before):
                prompt = self._renderer.text(turns[:index], generation_prompt=True)
                start = len(prompt) if text.startswith(prompt) else len(text)
        except LoraError:
            return None
        end = len(text) - len(after)
        return (start, end + layout.trails[index]) if start < end and text.endswith(after) else None

    def _with_tools(self, text: str, turns: Sequence[Turn], tools: str) -> tuple[list[Span], bool]:
        """All answers' spans, none where one is not found; and whether the template ends the last one."""
        spans, trail = [], 0
        for index, turn in enumerate(turns):
            if turn.role == "assistant":
                found = self._by_mark(text, turns, index, tools) or self._by_prompt(text, turns, index, tools)
                if found is None:
                    return [], False
                span, trail = found
                spans.append(span)
        return spans, trail > 0

    def _by_mark(self, text: str, turns: Sequence[Turn], index: int, tools: str) -> tuple[Span, int] | None:
        """An answer's span and its end of turn's length, by what is written around a mark in its place."""
        mark = _MARK.format(index)
        marked = [*turns[:index], Turn("assistant", mark), *turns[index + 1 :]]
        before, found, after = self._text(marked, tools).partition(mark)
        if not found or not text.endswith(after):
            return None
        if any(_is_missing(turn.content, text, after) for turn in turns[index + 1 :] if turn.role == "tool"):
            return None
        prompt = self._text(turns[:index], tools, generation_prompt=True)
        head = prompt if prompt and text.startswith(prompt) else before
        start, end = len(head), len(text) - len(after)
        if not text.startswith(head) or start > end:
            return None
        last = index == len(turns) - 1
        other = self._text([*marked, Turn("user", "x")] if last else marked[: index + 1], tools)
        _, there, rest = other.partition(mark)
        trail = self._end(after, rest if there else after)
        return (start, end + trail), trail

    def _by_prompt(self, text: str, turns: Sequence[Turn], index: int, tools: str) -> tuple[Span, int] | None:
        """The same by the renderings up to an answer and through it, for a template that takes no mark there."""
        prompt = self._text(turns[:index], tools, generation_prompt=True)
        shared = _shared(self._text(turns[: index + 1], tools), text)
        if not prompt or not text.startswith(prompt):
            return None
        ends = list(self._added.finditer(text, len(prompt), shared))
        return ((len(prompt), ends[-1].end()), len(ends[-1][0])) if ends else None

    def _text(self, turns: Sequence[Turn], tools: str, *, generation_prompt: bool = False) -> str:
        """A rendering; "" where the template refuses it."""
        try:
            return self._renderer.text(turns, generation_prompt=generation_prompt, tools=tools)
        except LoraError:
            return ""


def _shared(one: str, other: str) -> int:
    """The length of the beginning that two texts share."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _is_missing(content: str, text: str, after: str) -> bool:
    """Whether a template that writes a tool's answer left it out where a mark stands in the call's place."""
    return content.strip() in text and content.strip() not in after


def _marked(roles: Roles) -> list[Turn]:
    return [Turn(role, _MARK.format(index)) for index, role in enumerate(roles)]
