"""The curve as it is drawn while training: Pillow alone, a few milliseconds whatever the number of steps.

The picture is an eight-bit PNG whose palette holds sixteen strengths of the text's grey, so that letters are
smooth on any background, and one entry for each kind of line.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from lora_magic.display import series, theme
from lora_magic.display.series import Points, Series

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

_SIZE = (theme.CURVE_WIDTH * theme.DENSITY, theme.CURVE_HEIGHT * theme.DENSITY)
_LEFT, _TOP, _RIGHT, _BOTTOM = 106, 56, 28, 48
_TEXT, _GRID, _RAW, _SMOOTH, _HELD_OUT, _STOP = 15, 16, 17, 18, 19, 20
_MOST_POINTS = 500
_FONT = 25
_HEIGHT = _SIZE[1] - _TOP - _BOTTOM


def live_curve_png(data: Series) -> bytes:
    """A transparent PNG of `data`, 560 by 230 points at double density."""
    from PIL import Image, ImageDraw

    image = Image.new("L", _SIZE, 0)
    draw = ImageDraw.Draw(image)
    draw.fontmode = "L"
    _Canvas(data, draw).draw_all()
    colours, strengths = _palette()
    image.putpalette(colours)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=strengths, compress_level=3)
    return file.getvalue()


class _Canvas:
    """Places a series' points on the picture."""

    def __init__(self, data: Series, draw: ImageDraw.ImageDraw) -> None:
        losses = series.finite(data.losses)
        self.data, self.draw_on = data, draw
        self.smoothed = series.thin(series.smooth(losses), _MOST_POINTS)
        self.raw = series.thin(losses, _MOST_POINTS)
        self.held_out = series.thin(series.finite(data.held_out), _MOST_POINTS)
        self.low, self.high = series.limits(losses, self.smoothed, self.held_out)
        self.scale_x = (_SIZE[0] - _LEFT - _RIGHT) / data.last_step
        self.scale_y = _HEIGHT / (self.high - self.low)

    def at(self, step: float, loss: float) -> tuple[float, float]:
        """The pixel of a point, kept within the axes."""
        down = (self.high - loss) * self.scale_y
        return _LEFT + step * self.scale_x, _TOP + min(_HEIGHT, max(0.0, down))

    def draw_all(self) -> None:
        """Letters first, on the empty picture, because their strengths must not mix with the lines."""
        self._axes()
        self._legend()
        self._line(self.raw, _RAW, 2)
        self._line(self.smoothed, _SMOOTH, 5)
        self._line(self.held_out, _HELD_OUT, 3)
        for step, loss in self.held_out if len(self.held_out) <= 60 else self.held_out[-1:]:
            x, y = self.at(step, loss)
            self.draw_on.ellipse((x - 6, y - 6, x + 6, y + 6), fill=_HELD_OUT)

    def _axes(self) -> None:
        values = series.ticks(self.low, self.high, 5)
        steps = series.ticks(0, self.data.last_step, 8, whole=True)
        for step, label in zip(steps, series.tick_labels(steps), strict=True):
            x, y = self.at(step, self.low)
            inside = min(x, _SIZE[0] - _font(_FONT).getlength(label) / 2)
            self.draw_on.text((inside, y + 10), label, fill=_TEXT, font=_font(_FONT), anchor="mt")
        for value, label in zip(values, series.tick_labels(values), strict=True):
            x, y = self.at(0, value)
            self.draw_on.text((x - 12, y), label, fill=_TEXT, font=_font(_FONT), anchor="rm")
            self.draw_on.line((x, y, _SIZE[0] - _RIGHT, y), fill=_GRID, width=2)
        self.draw_on.text((_LEFT, 8), "loss (nats a token)", fill=_TEXT, font=_font(_FONT))
        corner = (_LEFT - 20, _SIZE[1] - _BOTTOM + 10)
        self.draw_on.text(corner, "step", fill=_TEXT, font=_font(_FONT), anchor="rt")
        if self.data.stopped_at is not None:
            self._stop(self.data.stopped_at)

    def _stop(self, step: int) -> None:
        x, bottom = self.at(step, self.low)
        left = step > self.data.last_step / 2
        place = (x - 12 if left else x + 12, _TOP)
        label = f"stopped at {step:,}"
        self.draw_on.text(place, label, fill=_TEXT, font=_font(_FONT), anchor="rt" if left else "lt")
        self.draw_on.line((x, _TOP, x, bottom), fill=_STOP, width=3)

    def _legend(self) -> None:
        x = float(_SIZE[0] - _RIGHT)
        entries = [("held-out", _HELD_OUT), ("smoothed", _SMOOTH), ("training", _RAW)]
        for label, colour in entries:
            x -= _font(_FONT).getlength(label)
            self.draw_on.text((x, 8), label, fill=_TEXT, font=_font(_FONT))
            self.draw_on.line((x - 40, 22, x - 10, 22), fill=colour, width=5)
            x -= 64

    def _line(self, points: Points, colour: int, width: int) -> None:
        if len(points) > 1:
            self.draw_on.line([self.at(*point) for point in points], fill=colour, width=width)
        elif points:
            x, y = self.at(*points[0])
            self.draw_on.ellipse((x - width, y - width, x + width, y + width), fill=colour)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)  # type: ignore[return-value]


def _palette() -> tuple[list[int], bytes]:
    """The palette's colours, and each entry's strength."""
    lines = [
        (theme.GREY, theme.GRID_ALPHA),
        (theme.BLUE, theme.RAW_ALPHA),
        (theme.BLUE, 1.0),
        (theme.ORANGE, 1.0),
        (theme.RED, 1.0),
    ]
    entries = [(theme.GREY, index / _TEXT) for index in range(_TEXT + 1)] + lines
    colours = [part for colour, _ in entries for part in colour]
    return colours, bytes(round(255 * alpha) for _, alpha in entries)
