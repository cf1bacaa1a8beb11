"""A text as comparable words, and as hashed runs of three of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from sys import intern
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

SHINGLE = 3

# Scripts written without spaces give a word a character; marks that end or part a sentence do not count.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|[^\w\s]")
_UNCOUNTED = frozenset(".,;:!?\"'`´‘’“”„«»…¿¡。、，！？：；")
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


def words(text: str) -> list[str]:
    """The words and signs of a text without case, spacing, quotation marks and the points of sentences."""
    return [intern(word) for word in _WORD.findall(text.casefold()) if word not in _UNCOUNTED]


def numbers(text_words: Sequence[str]) -> tuple[str, ...]:
    """The words with a digit in them, in order."""
    return tuple(word for word in text_words if not word.isalpha() and any(map(str.isdigit, word)))


@lru_cache(maxsize=200_000)
def _hashed(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def shingles(text_words: Sequence[str]) -> Hashes:
    """Sorted hashes of the different runs of three words; a shorter text is one run, an empty one none.

    Args:
        text_words: as `words` gives them.
    """
    ids: Hashes = np.array([_hashed(word) for word in text_words], dtype=np.uint64)
    if len(ids) == 0:
        return ids
    width = min(SHINGLE, len(ids))
    total: Any = np.zeros(len(ids) - width + 1, dtype=np.uint64)
    for place in range(width):
        total = (total ^ ids[place : len(ids) - width + 1 + place]) * _FACTORS[place]
        total ^= total >> np.uint64(29)
    unique: Hashes = np.unique(total)
    return unique
