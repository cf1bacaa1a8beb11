"""HTML, PNG and text for every result; nothing here knows torch."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from lora_magic.results import Chat, Comparison, TrainResult, Votes

# The module that draws a result, and what its functions' names begin with: `load_html`, `load_text`.
_VIEWS = {
    "LoadResult": ("loaded", "load"),
    "Status": ("loaded", "status"),
    "Adapters": ("adapters", "adapters"),
    "DataReport": ("data", "data"),
    "PlanResult": ("plan", "plan"),
    "Diagnosis": ("doctor", "doctor"),
    "TrainResult": ("trained", "train"),
    "Runs": ("runs", "runs"),
    "Comparison": ("comparison", "comparison"),
    "Votes": ("votes", "votes"),
    "Chat": ("chat", "chat"),
    "MergeResult": ("merged", "merge"),
}


def bundle(result: object) -> dict[str, Any]:
    """The mime bundle of a result: text/plain, text/html and, where there are curves, image/png.

    Raises:
        TypeError: it is no result of ours.
    """
    is_shown = _is_shown(result)
    if not is_shown and (front := _in_front(result)) is not result:
        result, is_shown = front, _is_shown(front)
    module, name = _view(result)
    if is_shown:
        name = "compact"
    whole = getattr(module, f"{name}_bundle", None)
    if whole is not None:
        made: dict[str, Any] = whole(result)
        return made
    return {"text/plain": text(result), "text/html": getattr(module, f"{name}_html")(result)}


def text(result: object) -> str:
    """A result as text that fits the terminal.

    Raises:
        TypeError: it is no result of ours.
    """
    result = _in_front(result)
    module, name = _view(result)
    made: str = getattr(module, f"{name}_text")(result)
    return made


def _is_shown(result: object) -> bool:
    """Whether the running cell shows it already; true once."""
    can_be = isinstance(result, TrainResult | Votes | Chat | Comparison)
    return can_be and bool(import_module("lora_magic.display.shown").take_shown(result))


def _in_front(result: object) -> object:
    """A blind vote stands in front of what is voted on; rows that were selected of it show themselves."""
    if isinstance(result, Comparison) and result.votes is not None and result.selection is None:
        return result.votes
    return result


def _view(result: object) -> tuple[ModuleType, str]:
    """The module that draws a result, imported when first needed."""
    view = _VIEWS.get(type(result).__name__)
    if view is None:
        raise TypeError(f"no view of a {type(result).__name__}")
    return import_module(f"lora_magic.display.{view[0]}"), view[1]
