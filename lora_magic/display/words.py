"""Which words of an answer differ from another answer, as text with <mark>."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lora_magic.display import theme
from lora_magic.display.safe import html_text

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]")
_MOST_WORDS = 800
_LEAST_SHARED = 0.4


@dataclass(frozen=True)
class Piece:
    """A stretch of an answer; `differs` when its words are not in the other one."""

    text: str
    differs: bool


def compare(base: str, answer: str) -> list[Piece]:
    """`answer` in pieces, those that differ from `base` told apart.

    Marking nearly everything helps nobody: where less than two fifths of the answer's words are shared, and
    in answers too long to compare quickly, nothing differs.
    """
    words, others = list(_WORD.finditer(answer)), _WORD.findall(base)
    if not words or not others or max(len(words), len(others)) > _MOST_WORDS:
        return [Piece(answer, False)]
    matcher = difflib.SequenceMatcher(None, others, [word.group() for word in words], autojunk=False)
    shared = {index for match in matcher.get_matching_blocks() for index in range(match.b, match.b + match.size)}
    if _share(words, shared) < _LEAST_SHARED:
        return [Piece(answer, False)]
    return list(_pieces(answer, words, shared))


def _share(words: Sequence[re.Match[str]], shared: set[int]) -> float:
    """The part of the words, punctuation aside where there are others, that is in both answers."""
    real = [index for index, word in enumerate(words) if word.group()[0].isalnum()] or range(len(words))
    return sum(index in shared for index in real) / len(real)


def _pieces(answer: str, words: Sequence[re.Match[str]], shared: set[int]) -> Iterator[Piece]:
    """Runs of words that are alike, each with the space that follows, but no space at a mark's end."""
    position = index = 0
    while index < len(words):
        first = index
        while index < len(words) and (index in shared) == (first in shared):
            index += 1
        if first not in shared:
            yield Piece(answer[position : words[first].start()], False)
            position = words[first].start()
        end = words[index - 1].end()
        yield Piece(answer[position:end], first not in shared)
        position = end
    yield Piece(answer[position:], False)


def split(pieces: Sequence[Piece], at: int) -> tuple[list[Piece], list[Piece]]:
    """The pieces of the first `at` characters, and those of the rest."""
    head: list[Piece] = []
    tail: list[Piece] = []
    for piece in pieces:
        room = max(0, at)
        head.append(Piece(piece.text[:room], piece.differs))
        tail.append(Piece(piece.text[room:], piece.differs))
        at -= len(piece.text)
    return head, tail


def html(pieces: Sequence[Piece]) -> str:
    """Escaped text, the pieces that differ in <mark>."""
    return "".join(
        f'<mark style="{theme.MARK}">{html_text(piece.text)}</mark>' if piece.differs else html_text(piece.text)
        for piece in pieces
        if piece.text
    )
