"""Colours and inline styles, chosen to read on white and on near-black without knowing which it is.

Text keeps the page's own colour. Only properties that Jupyter's sanitiser keeps appear here.
"""

from __future__ import annotations

BLUE = (59, 130, 196)
ORANGE = (217, 119, 6)
GREY = (117, 124, 134)
RED = (207, 72, 72)

RAW_ALPHA = 0.7
GRID_ALPHA = 0.22

LINE = "1px solid rgba(127,127,127,0.3)"
BOX = "font-size:13px;line-height:1.5;text-align:left;max-width:1200px;padding:4px 6px 2px 6px"
MUTED = "opacity:0.7"
SMALL = "font-size:12px;opacity:0.75"
INLINE_CODE = (
    "font-family:inherit;font-size:1em;background-color:transparent;padding:0;border:none;"
    "white-space:pre-wrap;overflow-wrap:break-word"
)
BLOCK_CODE = f"{INLINE_CODE};margin:0;line-height:1.45;text-align:left;word-break:normal"
MARK = "background-color:#f3d37a;color:#1f2328;border-radius:2px"
# Notebook 6.5 shows a summary as a block, which would take its triangle away.
FOLDED = "display:list-item;cursor:pointer"
SUMMARY = f"{FOLDED};font-size:12px;opacity:0.8"

CURVE_WIDTH, CURVE_HEIGHT, DENSITY = 560, 230, 2


def css(colour: tuple[int, int, int], alpha: float = 1.0) -> str:
    """A colour as rgb() or rgba()."""
    red, green, blue = colour
    return f"rgb({red},{green},{blue})" if alpha >= 1 else f"rgba({red},{green},{blue},{alpha:g})"
