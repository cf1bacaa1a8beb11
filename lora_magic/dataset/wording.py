"""How a piece of a user's data is quoted in a message."""

from __future__ import annotations

LONGEST = 80


def shown(value: object) -> str:
    """A value on one line of at most 80 characters, with whatever is not printable replaced."""
    text = str(value)
    clipped = f"{text[: LONGEST - 1]}…" if len(text) > LONGEST else text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in clipped)
