"""What every result can do: show itself."""

from __future__ import annotations

from typing import Any


class Shown:
    """A result that a notebook shows as HTML or PNG and a terminal as text."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Jupyter's hook; the drawing lives in `lora_magic.display`, which loads when first needed."""
        from lora_magic.display import bundle

        return bundle(self)

    def __str__(self) -> str:
        from lora_magic.display import text

        return text(self)
