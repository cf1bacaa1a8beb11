"""Texts into token ids with their places, several batches at once, and special tokens in users' words as words."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

from lora_magic.dataset.spans import Span
from lora_magic.dataset.template import Renderer, Tokenizer
from lora_magic.dataset.turns import Turn
from lora_magic.errors import LoraError

Offsets = Sequence[tuple[int, ...]]
Encoded = tuple[list[int], Offsets]
Batch = TypeVar("Batch")

FEW_ROWS, MOST_THREADS = 2000, 4
_PARALLELISM = "TOKENIZERS_PARALLELISM"
_PRIVATE_USE = range(0xE000, 0xF8FF)
_ANCHOR = "\uf8ff"


def threads_for(rows: int) -> int:
    """How many threads are worth their start for so many rows: one for few rows, else up to four cores."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return 1 if rows < FEW_ROWS else min(cores, MOST_THREADS)


class Encoder:
    """Encodes texts with one fast tokenizer, without adding special tokens.

    Args:
        tokenizer: a fast transformers tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        tokenizer("a", add_special_tokens=False, padding=False, truncation=False)  # switches off what is left on
        self._raw = tokenizer.backend_tokenizer

    def encode(self, texts: list[str]) -> list[Any]:
        """Encodes texts, outside of Python's lock; each result has `ids` and `offsets`."""
        made: list[Any] = self._raw.encode_batch(texts, add_special_tokens=False)
        return made

    def each(
        self, batches: Iterable[Batch], texts: Callable[[Batch], list[str]], threads: int
    ) -> Iterator[tuple[Batch, list[Any]]]:
        """Encodes batches in their order, while the next ones are made.

        Args:
            batches: made as they are asked for, on the caller's own thread.
            texts: a batch's texts.
            threads: how many batches are encoded at once; 1 uses the caller's thread alone.
        """
        with _own_threads_only():
            if threads <= 1:
                for batch in batches:
                    yield batch, self.encode(texts(batch))
                return
            pool = ThreadPoolExecutor(threads, "lora_magic-encode")
            waiting: deque[tuple[Batch, Future[list[Any]]]] = deque()
            try:
                for batch in batches:
                    waiting.append((batch, pool.submit(self.encode, texts(batch))))
                    if len(waiting) > threads:
                        yield _finished(waiting)
                while waiting:
                    yield _finished(waiting)
            finally:
                pool.shutdown(cancel_futures=True)

    def parted(self, text: str, encoded: Encoded, starts: Sequence[int], words: Sequence[Span]) -> Encoded | None:
        """Encodes anew with token boundaries at `starts`, and the special tokens in `words` as plain text.

        Args:
            text: the whole text.
            encoded: the text as it is encoded in one piece.
            starts: characters where a token has to start.
            words: the parts whose special tokens are to be read as words.

        Returns:
            Ids and offsets, or None where the text would come out differently, as it does for tokenizers that
            put a space before every part.
        """
        edges = sorted({0, *starts, *(edge for span in words for edge in span), len(text)})
        verbatim = {begin for begin, _ in words}
        ways = (self._anchored,) if words else (self._part, self._anchored)
        for way in ways:
            ids: list[int] = []
            offsets: list[tuple[int, ...]] = []
            for begin, end in pairwise(edges):
                part = way(text[begin:end], begin > 0, begin in verbatim)
                ids += part[0]
                offsets += [(a + begin, b + begin) for a, b in part[1]]
            if self._decode(ids) == self._decode(encoded[0]):
                return ids, offsets
        return None

    def _part(self, text: str, inside: bool, verbatim: bool) -> Encoded:
        made = self._raw.encode(text, add_special_tokens=False)
        return made.ids, made.offsets

    def _anchored(self, text: str, inside: bool, verbatim: bool) -> Encoded:
        """A part as it is encoded after something else: some tokenizers put a space before a whole text."""
        self._copy.encode_special_tokens = verbatim
        head = _ANCHOR if inside else ""
        made = self._copy.encode(head + text, add_special_tokens=False)
        return made.ids[len(head) :], [(a - len(head), b - len(head)) for a, b in made.offsets[len(head) :]]

    @cached_property
    def _copy(self) -> Any:
        """The same tokenizer, to be made blind to special tokens, with one more token to begin a part with."""
        from tokenizers import AddedToken
        from tokenizers import Tokenizer as Raw

        copy = Raw.from_str(self._raw.to_str())
        copy.add_tokens([AddedToken(_ANCHOR, normalized=False)])
        return copy

    def _decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text


def special_words(
    renderer: Renderer, text: str, turns: Sequence[Turn], tools: str = "", *, generation_prompt: bool = False
) -> list[Span] | None:
    """Where special tokens stand in what was said, rather than in what the template writes.

    The conversation is rendered once more with other characters in their place, which shows where they went.

    Args:
        renderer: what rendered it.
        text: the rendered turns.
        turns: the turns, fitted to the template.
        tools: the JSON text of the tools that the text was rendered with.
        generation_prompt: whether it was rendered with one.

    Returns:
        Their spans in the text, or None where they cannot be told from the template's.
    """
    find = renderer.special
    if not any(find.search(said) for turn in turns for said in (turn.content, turn.tool_calls)) and (
        not tools or not find.search(tools)
    ):
        return []
    cover = next((chr(code) for code in _PRIVATE_USE if chr(code) not in text), "")

    def hidden(said: str) -> str:
        return find.sub(lambda found: cover * len(found[0]), said)

    covered = [replace(turn, content=hidden(turn.content), tool_calls=hidden(turn.tool_calls)) for turn in turns]
    try:
        other = renderer.text(covered, generation_prompt=generation_prompt, tools=hidden(tools))
    except LoraError:
        return None
    if not cover or len(other) != len(text):
        return None
    same = [a == b for a, b in zip(text, other, strict=True)]
    spans = _runs(other, cover)
    inside = sum(end - begin for begin, end in spans)
    return spans if same.count(False) == inside else None


def straddled(offsets: Offsets, spans: Sequence[Span]) -> list[int]:
    """The starts of spans that lie inside a token."""
    before = ((begin, first_from(offsets, begin) - 1) for begin, _ in spans)
    return [begin for begin, token in before if token >= 0 and offsets[token][1] > begin]


def first_from(offsets: Offsets, begin: int) -> int:
    """The first token that starts at or after `begin`; a bare (begin,) sorts before every (begin, end)."""
    return bisect_left(offsets, (begin,))


def _runs(text: str, char: str) -> list[Span]:
    spans: list[Span] = []
    position = text.find(char)
    while position >= 0:
        end = position
        while text.startswith(char, end):
            end += 1
        spans.append((position, end))
        position = text.find(char, end)
    return spans


def _finished(waiting: deque[tuple[Batch, Future[list[Any]]]]) -> tuple[Batch, list[Any]]:
    batch, future = waiting.popleft()
    return batch, future.result()


@contextmanager
def _own_threads_only() -> Iterator[None]:
    """Keeps the tokenizers library from starting threads of its own, unless the user asked for them.

    Threads of its own make it warn about every later fork of this process, and deadlock in some.
    """
    if _PARALLELISM in os.environ:
        yield
        return
    os.environ[_PARALLELISM] = "false"
    try:
        yield
    finally:
        os.environ.pop(_PARALLELISM, None)
