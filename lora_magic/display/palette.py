"""Pictures with few colours, which are a fraction of the size."""

from __future__ import annotations

import io


def with_palette(png: io.BytesIO, colours: int) -> bytes:
    """The PNG picture with at most `colours` colours and strengths."""
    from PIL import Image

    image = Image.open(png).quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
