"""Single values of rows: as text, as JSON, and whether there is anything in them."""

from __future__ import annotations

import json
import math
from typing import Any


class Unusable(ValueError):
    """A row that is to be skipped.

    Args:
        reason: why, worded so that equal reasons can be counted: "an empty answer".
        remedy: what to do where it is so in every row; "" for nothing in particular.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def is_blank(value: object) -> bool:
    """Whether a value says nothing: missing, not a number, empty, or white space alone."""
    if isinstance(value, str):
        return not value or value.isspace()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, list | dict) and not value


def as_text(value: object) -> str:
    """A value as text: a missing or empty one is "", a number or a nested value is its JSON.

    Raises:
        Unusable: it cannot be written as text.
    """
    if isinstance(value, str):
        return _without_surrogates(value)
    if is_blank(value):
        return ""
    try:
        return _without_surrogates(json.dumps(value, ensure_ascii=False, default=_jsonable))
    except (ValueError, TypeError, RecursionError):
        raise Unusable("a value that cannot be written as text") from None


def without_array(value: object) -> object:
    """A numeric library's array as a list; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def _jsonable(value: object) -> object:
    plain = without_array(value)
    return plain if isinstance(plain, list | bool | int | float | str) else str(value)


def from_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _without_surrogates(text: str) -> str:
    """Pairs of UTF-16 halves joined and lone ones replaced: no tokenizer takes them."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
