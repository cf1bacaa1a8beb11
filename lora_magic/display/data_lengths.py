"""How many tokens rows have: percentiles, and a histogram as PNG and as text."""

from __future__ import annotations

import io
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import dropwhile
from typing import TYPE_CHECKING

from lora_magic.display import series, theme, units
from lora_magic.display.tables import cells

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

PERCENTILES = (50, 90, 95, 99)
_BARS, _LINES = 44, 12
_WIDTH, _HEIGHT = theme.CURVE_WIDTH * theme.DENSITY, 185 * theme.DENSITY
_LEFT, _TOP, _RIGHT, _BOTTOM = 104, 58, 28, 52
_FONT = 27
_EIGHTHS = "▏▎▍▌▋▊▉█"


@dataclass(frozen=True)
class Bin:
    """Rows of `low` to `high` tokens, both included."""

    low: int
    high: int
    rows: int


@dataclass(frozen=True)
class Lengths:
    """Token counts of rows, sorted, against the longest that a row may be.

    Attributes:
        counts: tokens of each row in rising order; at least one.
        max_length: tokens of the longest row that is not cut.
    """

    counts: Sequence[int]
    max_length: int

    @classmethod
    def of(cls, counts: Sequence[int], max_length: int) -> Lengths:
        """The lengths of rows in any order."""
        return cls(sorted(map(int, counts)), max_length)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return self.counts[-1]

    @property
    def total(self) -> int:
        """Tokens of all rows."""
        return sum(self.counts)

    def percentile(self, percent: int) -> int:
        """The fewest tokens that `percent` of the rows have at most (nearest rank)."""
        return self.counts[max(0, math.ceil(percent * len(self.counts) / 100) - 1)]

    def rows_between(self, low: int, high: int) -> int:
        """How many rows have `low` to `high` tokens, both included."""
        return bisect_right(self.counts, high) - bisect_left(self.counts, low)

    @property
    def end(self) -> int:
        """The last length that is drawn to scale; a few rows far beyond all others do not stretch the picture."""
        usual = math.ceil(1.25 * self.percentile(99))
        if self.longest <= 2 * usual:
            return self.longest
        near = usual < self.max_length <= 3 * usual and self.max_length < self.longest
        return math.ceil(1.1 * self.max_length) if near else usual

    def bins(self, about: int) -> list[Bin]:
        """Bins of one round width, at most `about` of them, from the shortest row's to `end`'s."""
        low = self.counts[0] if self.end - self.counts[0] > 20 and self.counts[0] > self.end / 2 else 0
        width = next(width for width in _round_widths() if (self.end - low) // width + 2 <= about)
        first, last = low // width, self.end // width
        edges = [(place * width, place * width + width - 1) for place in range(first, last + 1)]
        return [Bin(a, b, self.rows_between(a, b)) for a, b in edges]

    @property
    def beyond(self) -> int:
        """Rows longer than what is drawn to scale."""
        return self.rows_between(self.bins(_BARS)[-1].high + 1, self.longest)


def _round_widths() -> list[int]:
    return [factor * 10**power for power in range(18) for factor in (1, 2, 5)]


def percentile_cells(lengths: Lengths) -> tuple[list[str], list[str]]:
    """Titles and numbers of a table with one row."""
    titles = [*(f"{percent}%" for percent in PERCENTILES), "longest"]
    values = [*map(lengths.percentile, PERCENTILES), lengths.longest]
    return ["share of the rows", *titles], ["tokens at most", *(f"{value:,}" for value in values)]


def lengths_text(lengths: Lengths, width: int) -> str:
    """Bars of blocks in at most `width` columns, with a rule where rows are cut."""
    whole = [*dropwhile(lambda part: not part.rows, lengths.bins(_LINES))]
    if beyond := lengths.rows_between(whole[-1].high + 1, lengths.longest):
        whole.append(Bin(whole[-1].high + 1, lengths.longest, beyond))
    bins = [part for one in whole for part in _parted(one, lengths)]
    labels = [f"{part.low:,}" if part.low == part.high else f"{part.low:,}–{part.high:,}" for part in bins]
    counts = [f"{part.rows:,}" if part.rows else "" for part in bins]
    gutter, tail = max(map(len, labels)), max(map(len, counts))
    room = max(4, min(48, width - gutter - tail - 3))
    most = max(part.rows for part in bins)
    rule = _rule(f" max length {lengths.max_length:,} ", gutter, room)
    lines = [rule] if lengths.max_length < bins[0].low else []
    for part, label, count in zip(bins, labels, counts, strict=True):
        lines.append(f"{label.rjust(gutter)} {_blocks(part.rows / most * room)} {count}".rstrip())
        if part.high == lengths.max_length < lengths.longest:
            lines.append(rule)
    return "\n".join(lines)


def _parted(whole: Bin, lengths: Lengths) -> list[Bin]:
    """A bin, in two where the longest length lies within it."""
    limit = lengths.max_length
    if not whole.low <= limit < whole.high or limit >= lengths.longest:
        return [whole]
    edges = ((whole.low, limit), (limit + 1, whole.high))
    return [Bin(low, high, lengths.rows_between(low, high)) for low, high in edges]


def _blocks(length: float) -> str:
    eighths = max(1, round(8 * length)) if length > 0 else 0
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def _rule(said: str, gutter: int, room: int) -> str:
    return f"{' ' * gutter} ╌╌{said}{'╌' * max(2, room - cells(said) - 2)}"


def lengths_png(lengths: Lengths) -> bytes:
    """A transparent PNG of the histogram, 560 by 185 points at double density, for light and dark pages."""
    from PIL import Image, ImageDraw

    image = Image.new("RGBA", (_WIDTH, _HEIGHT), (*theme.GREY, 0))
    _Picture(lengths, ImageDraw.Draw(image)).draw_all()
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


class _Picture:
    """Places a histogram's bars on the picture; letters and ground share one colour, so their edges stay clean."""

    def __init__(self, lengths: Lengths, draw: ImageDraw.ImageDraw) -> None:
        self.lengths, self.draw_on = lengths, draw
        self.bins = lengths.bins(_BARS)
        self.low, self.high = self.bins[0].low, self.bins[-1].high + 1
        self.most = max(1, *(part.rows for part in self.bins))

    def across(self, tokens: float) -> float:
        """The column of a length in tokens."""
        return _LEFT + (tokens - self.low) / (self.high - self.low) * (_WIDTH - _LEFT - _RIGHT)

    def down(self, rows: float) -> float:
        """The line of a number of rows."""
        return _HEIGHT - _BOTTOM - rows / (1.04 * self.most) * (_HEIGHT - _TOP - _BOTTOM)

    def draw_all(self) -> None:
        """Grid and letters, bars, and the line of the longest length."""
        self._axes()
        for part in self.bins:
            self._bar(part)
        self._limit()

    def _axes(self) -> None:
        rows = series.ticks(0, self.most, 4, whole=True)
        for value, label in zip(rows, series.tick_labels(rows), strict=True):
            y = self.down(value)
            self._say((_LEFT - 12, y), label, "rm")
            self.draw_on.line((_LEFT, y, _WIDTH - _RIGHT, y), fill=(*theme.GREY, 56), width=2)
        places = series.ticks(self.low, self.high, 8, whole=True)
        for value, label in zip(places, series.tick_labels(places), strict=True):
            x = self.across(value)
            half = _font().getlength(label) / 2
            if x - half > _LEFT - 18:
                self._say((min(x, _WIDTH - half), _HEIGHT - _BOTTOM + 12), label, "mt")
        self._say((_LEFT, 6), "rows", "lt")
        self._say((_LEFT - 20, _HEIGHT - _BOTTOM + 12), "tokens", "rt")

    def _bar(self, part: Bin) -> None:
        limit = self.lengths.max_length
        within = self.lengths.rows_between(part.low, min(part.high, limit)) if part.low <= limit else 0
        left, right = self.across(part.low) + 1, self.across(part.high + 1) - 2
        colours = ((0, within, theme.BLUE), (within, part.rows, theme.RED))
        for first, last, colour in colours:
            if last > first:
                top = min(self.down(last), self.down(first) - 3)
                self.draw_on.rectangle((left, top, max(left + 1, right), self.down(first)), fill=(*colour, 215))

    def _limit(self) -> None:
        limit, beyond = self.lengths.max_length, self.lengths.beyond
        said = f"{units.count(beyond)} longer, up to {self.lengths.longest:,}" if beyond else ""
        self._say((_WIDTH - _RIGHT, 6), said, "rt")
        if not self.low <= limit < self.high:
            return
        x = self.across(limit + 0.5)
        self.draw_on.line((x, _TOP - 14, x, _HEIGHT - _BOTTOM), fill=(*theme.RED, 255), width=3)
        label = f"max length {limit:,}"
        half = _font().getlength(label) / 2
        last = _WIDTH - _RIGHT - half - (_font().getlength(said) + 40 if said else 0)
        self._say((min(max(x, _LEFT + 90 + half), last), 6), label, "mt")

    def _say(self, place: tuple[float, float], text: str, anchor: str) -> None:
        self.draw_on.text(place, text, fill=(*theme.GREY, 255), font=_font(), anchor=anchor)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(_FONT)  # type: ignore[return-value]
