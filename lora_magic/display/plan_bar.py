"""Peak memory by part as one stacked bar over a ruler of the card, in HTML and in characters.

Parts are told apart by numbers, which the legend repeats; colours only help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lora_magic.display import theme, units
from lora_magic.display.tables import text_pairs
from lora_magic.estimate import Estimate

COLOURS = {
    "weights": "#2f6fae", "adapter": "#bd5318", "gradients": "#8e5bb0", "optimiser": "#b03a5b",
    "activations": "#2e7d54", "logits": "#8a6d0f", "workspace": "#666d76",
}  # fmt: skip
_OTHER = "#666d76"
_SPACES = {"may be allocated": "─", "in use by others": "▓", "kept free": "░", "CUDA's context": "▒"}
_SHADES = {"may be allocated": 0.0, "in use by others": 0.75, "kept free": 0.2, "CUDA's context": 0.45}
_NUMBERED_FROM = 0.045
"""Share of the bar from which a segment has room for its number on a page of 400 pixels."""
_EDGED_FROM = 0.015
"""Share from which a segment has a line before it, which would cover a smaller one."""
_MOST_CELLS = 64


@dataclass(frozen=True)
class Bar:
    """The bar's segments in GiB.

    Attributes:
        parts: (number, name, GiB) of what is allocated, in order, nothing of size 0.
        spaces: (name, GiB) of what the card is divided into.
        scale: GiB of the full width.
    """

    parts: tuple[tuple[int, str, float], ...]
    spaces: tuple[tuple[str, float], ...]
    scale: float

    @classmethod
    def of(cls, estimate: Estimate) -> Bar:
        """The bar of a plan; as wide as the card, or as the peak where that is more."""
        parts = [(name, size) for name, size in estimate.parts.items() if size > 0]
        free = estimate.card_gib - estimate.context_gib - estimate.margin_gib
        spaces = {
            "may be allocated": estimate.room_gib, "in use by others": free - estimate.room_gib,
            "kept free": estimate.margin_gib, "CUDA's context": estimate.context_gib,
        }  # fmt: skip
        return cls(
            tuple((number, name, size) for number, (name, size) in enumerate(parts, 1)),
            tuple((name, size) for name, size in spaces.items() if size > 0.005),
            max(estimate.card_gib, estimate.peak_gib),
        )

    def said(self, size: float) -> str:
        """A size in GiB, in smaller units only where the whole bar is small."""
        return f"{size:.2f} GiB" if self.scale >= 1 and size >= 0.005 else units.gib(size)


def bar_html(estimate: Estimate) -> str:
    """Bar, ruler and legends; every segment's width is a share of the page's."""
    bar = Bar.of(estimate)
    segments = "".join(_segment(bar, part) for part in bar.parts)
    ruler = "".join(_space(bar, name, size) for name, size in bar.spaces)
    row = "white-space:nowrap;max-width:760px;font-size:12px"
    legend = "".join(
        _entry(_swatch(COLOURS.get(name, _OTHER), str(number)), f"{name} {bar.said(size)}")
        for number, name, size in bar.parts
    )
    spaces = "".join(
        _entry(_swatch(_grey(_SHADES[name]), "\u00a0", f";border:{_edge()}"), f"{name} {bar.said(size)}")
        for name, size in bar.spaces
    )
    return (
        f'<div style="{row};margin:4px 0 0 0">{segments}</div><div style="{row};margin:2px 0 6px 0">{ruler}</div>'
        f'<div style="font-size:12px">{legend}</div>'
        f'<div style="{theme.SMALL}">the card: {spaces}</div>'
    )


def _segment(bar: Bar, part: tuple[int, str, float]) -> str:
    number, name, size = part
    share = size / bar.scale
    said = str(number) if share >= _NUMBERED_FROM else "\u00a0"
    ground = f"background-color:{COLOURS.get(name, _OTHER)};color:#ffffff"
    edge = ";border-left:1px solid rgba(255,255,255,0.6)" if share >= _EDGED_FROM and number > 1 else ""
    box = f"{_width(bar, size)};height:24px;line-height:2{edge}"
    return f'<div style="{box};{ground};text-align:center">{said}</div>'


def _space(bar: Bar, name: str, size: float) -> str:
    ground = f"background-color:{_grey(_SHADES[name])};border:{_edge()}"
    return f'<div style="{_width(bar, size)};height:9px;{ground}"></div>'


def _width(bar: Bar, size: float) -> str:
    share = int(1e5 * size / bar.scale) / 1e3
    return f"display:inline-block;box-sizing:border-box;vertical-align:top;width:{share:.3f}%"


def _swatch(colour: str, said: str, more: str = "") -> str:
    style = f"display:inline-block;width:17px;text-align:center;border-radius:2px;line-height:1.3{more}"
    return f'<span style="{style};background-color:{colour};color:#ffffff">{said}</span>'


def _entry(swatch: str, said: str) -> str:
    return f'<span style="display:inline-block;margin:0 14px 2px 0;white-space:nowrap">{swatch} {said}</span>'


def _grey(alpha: float) -> str:
    return theme.css(theme.GREY, alpha) if alpha else "transparent"


def _edge() -> str:
    return f"1px solid {theme.css(theme.GREY, 0.8)}"


def bar_text(estimate: Estimate, width: int) -> str:
    """The same in characters, in at most `width` columns: a part's number, and a dot where nothing is."""
    bar = Bar.of(estimate)
    columns = min(width, _MOST_CELLS)
    parts = _cells([(str(number), size) for number, _, size in bar.parts], bar.scale, columns)
    ruler = _cells([(_SPACES[name], size) for name, size in bar.spaces], bar.scale, columns)
    legend = text_pairs([(str(number), f"{name} {bar.said(size)}") for number, name, size in bar.parts], width)
    spaces = text_pairs([(_SPACES[name], f"{name} {bar.said(size)}") for name, size in bar.spaces], width)
    return "\n".join([parts.ljust(columns, "·"), ruler, legend, spaces])


def _cells(segments: Sequence[tuple[str, float]], scale: float, columns: int) -> str:
    """One character a column: that of the segment at its middle."""
    drawn, end = "", 0.0
    for character, size in segments:
        end += size / scale * columns
        drawn += character * (round(end) - len(drawn))
    return drawn
