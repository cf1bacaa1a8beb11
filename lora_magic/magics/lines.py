"""From chosen values back to the line that stands for them: what a form shows and runs."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.config.fields import label
from lora_magic.magics.magic import Magic

_PLAIN = re.compile(r"[\w./:@%+,=~-]+")
_ESCAPED = {"$": "$$", "{": "{chr(123)}", "}": "{chr(125)}", "\n": "{chr(10)}", "\r": "{chr(13)}"}


@dataclass(frozen=True)
class Variable:
    """A notebook's variable, which the line passes as `$name`."""

    name: str


def line(magic: Magic, given: Mapping[str, Any]) -> str:
    """The magic's line that gives exactly these values.

    Args:
        magic: which one.
        given: value by field; a flag that is not set and None are left out.

    Raises:
        KeyError: a field that the line does not take.
    """
    fields = {field.name: field for field in dataclasses.fields(magic.config_class)}
    for name in given:
        if name not in fields or name in magic.body_fields:
            raise KeyError(name)
    placed, named = [], []
    for name, field in fields.items():
        value = given.get(name)
        if value is None or value is False:
            continue
        if field.metadata["positional"]:
            placed.append(_word(value, first=True))
        elif value is True:
            named.append(f"--{label(field)}")
        else:
            named.append(_option(f"--{label(field)}", _word(value)))
    return " ".join([f"%{magic.name}", *placed, *named])


def _option(option: str, word: str) -> str:
    """A value that looks like an option is joined to its own."""
    return f"{option}={word}" if word.lstrip("'").startswith("-") else f"{option} {word}"


def _word(value: Any, *, first: bool = False) -> str:
    """One value as a word of the line, quoted where it must be."""
    if isinstance(value, Variable):
        return f"${value.name}"
    if isinstance(value, list | tuple):
        value = ",".join(str(part) for part in value)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    text = str(value)
    if first and text.startswith("-") and Path(text).exists():
        text = f"./{text}"
    plain = _PLAIN.fullmatch(text) is not None
    escaped = "".join(_ESCAPED.get(character, character) for character in text)
    return escaped if plain else shlex.quote(escaped)
