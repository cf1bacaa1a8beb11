"""Near duplicates: MinHash finds the candidates, the exact Jaccard similarity decides.

Two examples are near duplicates when their prompts and their answers each share 90% of their runs of three words,
under the same system text and with the same numbers in the same order. Runs that many examples have are a template;
where two examples share them they do not count: rows that differ only inside a long template are different rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from lora_magic.dataset.hygiene.seen import Seen
from lora_magic.dataset.hygiene.words import Hashes, numbers, shingles, words

SIMILARITY = 0.9
MOST_EXAMPLES, MOST_SHINGLES = 100_000, 16_000_000
TEMPLATE_SHARE, TEMPLATE_EXAMPLES = 0.05, 10

# 16 bands of 8: a pair at 0.9 is a candidate with probability 1 - (1 - 0.9^8)^16 = 0.9999, one at 0.5 with 0.06
# (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4.2).
BANDS, BAND = 16, 8
_SEED, _CHUNK, _IN_BUCKET = 17, 4096, 8
_ANSWER_SALT = np.uint64(0x5851F42D4C957F2D)


@dataclass(frozen=True)
class _Sketch:
    key: int
    group: bytes
    asked: Hashes
    answered: Hashes


class Sketches:
    """Examples reduced to what near duplicates are found by.

    Holds at most 100,000 examples and 16 million runs of words (128 MB); `add` says when one was not taken.
    """

    def __init__(self) -> None:
        self._sketches: list[_Sketch] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._sketches)

    def add(self, key: int, example: Seen) -> bool:
        """Takes one example, known from now on as `key`; False when it was not taken because there is no room."""
        if len(self) >= MOST_EXAMPLES or self._size >= MOST_SHINGLES:
            return False
        asked, answered = example.asked_words, example.answered_words
        content = repr((words(example.system), numbers(asked), numbers(answered)))
        group = blake2b(content.encode("utf-8", "backslashreplace"), digest_size=8).digest()
        sketch = _Sketch(key, group, shingles(asked), np.unique(shingles(answered) ^ _ANSWER_SALT))
        self._sketches.append(sketch)
        self._size += len(sketch.asked) + len(sketch.answered)
        return True

    def repeated(self) -> list[tuple[int, int]]:
        """(key, key of an earlier one) of each example that nearly repeats an earlier one that itself stays.

        Once the repeats are gone a template may be rarer, so it looks again until nothing more is found.
        """
        found: dict[int, int] = {}
        left = self._sketches
        while True:
            new = dict(_repeated(left))
            if not new:
                return sorted(found.items())
            found |= new
            left = [sketch for sketch in left if sketch.key not in new]


def _repeated(sketches: Sequence[_Sketch]) -> Iterator[tuple[int, int]]:
    template = _template(sketches)
    buckets: dict[int, tuple[int, ...]] = {}
    for index, (sketch, bands) in enumerate(zip(sketches, _bands(sketches, template), strict=True)):
        places = [hash((band, sketch.group, content)) for band, content in enumerate(bands)]
        near = dict.fromkeys(other for place in places for other in buckets.get(place, ()))
        earlier = next((other for other in near if _same(sketch, sketches[other], template)), None)
        if earlier is not None:
            yield sketch.key, sketches[earlier].key
            continue
        for place in places:
            bucket = buckets.get(place, ())
            if len(bucket) < _IN_BUCKET:
                buckets[place] = (*bucket, index)


def _template(sketches: Sequence[_Sketch]) -> Hashes:
    """The runs of words that too many examples share to tell two of them apart, sorted."""
    parts = [part for sketch in sketches for part in (sketch.asked, sketch.answered)]
    if not parts:
        return np.array([], dtype=np.uint64)
    values, counts = np.unique(np.concatenate(parts), return_counts=True)
    common: Hashes = values[counts > max(TEMPLATE_EXAMPLES, TEMPLATE_SHARE * len(sketches))]
    return common


def _without(part: Hashes, template: Hashes) -> Hashes:
    if not len(template):
        return part
    found = np.minimum(np.searchsorted(template, part), len(template) - 1)
    rest: Hashes = part[template[found] != part]
    return rest


def _telling(sketch: _Sketch, template: Hashes) -> Hashes:
    rest = np.concatenate([_without(sketch.asked, template), _without(sketch.answered, template)])
    return rest if len(rest) else np.concatenate([sketch.asked, sketch.answered])


def _bands(sketches: Sequence[_Sketch], template: Hashes) -> Iterator[list[bytes]]:
    """Each example's MinHash signature, cut into bands."""
    from rensa import RMinHash

    for start in range(0, len(sketches), _CHUNK):
        parts = [_telling(sketch, template) for sketch in sketches[start : start + _CHUNK]]
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.uint64)
        flat = np.concatenate(parts)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, BANDS * BAND, _SEED)
        for signature in _rows(matrix.to_rows()):
            raw = signature.tobytes()
            yield [raw[at : at + 4 * BAND] for at in range(0, len(raw), 4 * BAND)]


def _rows(rows: Iterable[Sequence[int]]) -> Iterator[NDArray[np.uint32]]:
    return (np.array(row, dtype=np.uint32) for row in rows)


def _same(one: _Sketch, other: _Sketch, template: Hashes) -> bool:
    if one.group != other.group:
        return False
    return _alike(one.asked, other.asked, template) and _alike(one.answered, other.answered, template)


def _alike(one: Hashes, other: Hashes, template: Hashes) -> bool:
    """Jaccard similarity, the runs left out that both have from the template; what is nothing but template is equal."""
    common = np.intersect1d(one, other, assume_unique=True)
    rest = len(_without(common, template))
    union = len(one) + len(other) - len(common)
    return rest >= SIMILARITY * (union - len(common) + rest)
