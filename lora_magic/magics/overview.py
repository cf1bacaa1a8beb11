"""`%lora`: every magic with one line on what it does."""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic.magics.magic import Magic


def overview(magics: Sequence[Magic]) -> str:
    """The magics by name, each with the first sentence of its help."""
    width = max(len(magic.name) for magic in magics) + 3
    lines = [
        f"{'%%' if m.takes_body else ' %'}{m.name}".ljust(width) + f" {m.about.partition('. ')[0].rstrip('.')}."
        for m in magics
    ]
    return "\n".join([*lines, "", "%NAME --help lists a magic's options. Start with %lora_load demo"])
