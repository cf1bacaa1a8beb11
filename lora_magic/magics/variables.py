"""`$name` and `{expression}` on a magic's line: the object itself where data is wanted, its text elsewhere."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from lora_magic.errors import LoraError, nearest

_NAME = re.compile(r"\$([A-Za-z_]\w*)")
_MARKED = re.compile(r"\$\$|\$([A-Za-z_]\w*)|\{([^{}]+)\}")
_BRACED = re.compile(r"\{[^{}]+\}")
TEXT = (str, int, float, bool)


def split_words(line: str) -> list[str]:
    """The line's words as a shell would split them, but never inside `{…}`, whose quotation marks stay.

    Raises:
        ValueError: a quotation mark is left open.
    """
    expressions: list[str] = []

    def hide(found: re.Match[str]) -> str:
        expressions.append(found[0])
        return f"\ue000{len(expressions) - 1}\ue001"

    words = _shell_words(_without_comment(_BRACED.sub(hide, line)))
    return [re.sub("\ue000(\\d+)\ue001", lambda found: expressions[int(found[1])], word) for word in words]


def _shell_words(text: str) -> list[str]:
    """Split as a POSIX shell does; on Windows a backslash is part of a path."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    if os.name == "nt":
        lexer.escape = ""
    return list(lexer)


def _without_comment(line: str) -> str:
    """The line up to a `#` that begins a word outside quotation marks."""
    for found in re.finditer(r"(?:^|\s)#", line):
        head = line[: found.start()]
        try:
            _shell_words(head)
        except ValueError:
            continue
        return head
    return line


def expand(word: str, variables: Mapping[str, object]) -> Any:
    """One word of the line with its variables in place; `$$` is a dollar sign.

    A word that is nothing but `$name` gives the object itself.

    Raises:
        LoraError: there is no such variable, or the expression fails.
    """
    alone = _NAME.fullmatch(word)
    if alone:
        return _variable(alone[1], variables)
    return _MARKED.sub(lambda found: _text(found, variables), word)


def _text(found: re.Match[str], variables: Mapping[str, object]) -> str:
    if found[0] == "$$":
        return "$"
    if found[1]:
        return str(_variable(found[1], variables))
    try:
        return str(eval(found[2], {}, dict(variables)))  # noqa: S307  the user's own line, in the user's own kernel
    except Exception as error:  # noqa: BLE001  whatever the expression raises is the answer
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        raise LoraError(
            f"{found[0]} on the line gives {what}.", "Mend the expression, or leave the braces out."
        ) from None


def _variable(name: str, variables: Mapping[str, object]) -> object:
    if name not in variables:
        known = [n for n in variables if not n.startswith("_")]
        raise LoraError(
            f"${name} on the line: there is no such variable.", nearest(name, known) or "Write $$ for a dollar sign."
        )
    return variables[name]
