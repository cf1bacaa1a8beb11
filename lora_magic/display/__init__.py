"""HTML, PNG and text for every result; nothing here knows torch."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from lora_magic.results import (
    Comparison,
    DataReport,
    LoadResult,
    MergeResult,
    PlanResult,
    Runs,
    Status,
    TrainResult,
)


@singledispatch
def bundle(result: object) -> dict[str, Any]:
    """The mime bundle of a result: text/plain, text/html and, for a run, image/png."""
    raise TypeError(f"no view of a {type(result).__name__}")


@singledispatch
def text(result: object) -> str:
    """A result as text that fits the terminal."""
    raise TypeError(f"no view of a {type(result).__name__}")


@bundle.register
def _(result: LoadResult) -> dict[str, Any]:
    from lora_magic.display.loaded import load_html

    return {"text/plain": text(result), "text/html": load_html(result)}


@bundle.register
def _(result: Status) -> dict[str, Any]:
    from lora_magic.display.loaded import status_html

    return {"text/plain": text(result), "text/html": status_html(result)}


@bundle.register
def _(result: MergeResult) -> dict[str, Any]:
    from lora_magic.display.merged import merge_html

    return {"text/plain": text(result), "text/html": merge_html(result)}


@bundle.register
def _(result: Comparison) -> dict[str, Any]:
    from lora_magic.display.comparison import comparison_html

    return {"text/plain": text(result), "text/html": comparison_html(result)}


@bundle.register
def _(result: TrainResult) -> dict[str, Any]:
    from lora_magic.display.shown import take_shown
    from lora_magic.display.trained import compact_bundle, train_bundle

    return compact_bundle(result) if take_shown(result) else train_bundle(result)


@bundle.register
def _(result: Runs) -> dict[str, Any]:
    from lora_magic.display.runs import runs_bundle

    return runs_bundle(result)


@bundle.register
def _(result: DataReport) -> dict[str, Any]:
    from lora_magic.display.data import data_html

    return {"text/plain": text(result), "text/html": data_html(result)}


@bundle.register
def _(result: PlanResult) -> dict[str, Any]:
    from lora_magic.display.plan import plan_html

    return {"text/plain": text(result), "text/html": plan_html(result)}


@text.register
def _(result: LoadResult) -> str:
    from lora_magic.display.loaded import load_text

    return load_text(result)


@text.register
def _(result: Status) -> str:
    from lora_magic.display.loaded import status_text

    return status_text(result)


@text.register
def _(result: MergeResult) -> str:
    from lora_magic.display.merged import merge_text

    return merge_text(result)


@text.register
def _(result: Comparison) -> str:
    from lora_magic.display.comparison import comparison_text

    return comparison_text(result)


@text.register
def _(result: TrainResult) -> str:
    from lora_magic.display.trained import train_text

    return train_text(result)


@text.register
def _(result: Runs) -> str:
    from lora_magic.display.runs import runs_text

    return runs_text(result)


@text.register
def _(result: DataReport) -> str:
    from lora_magic.display.data import data_text

    return data_text(result)


@text.register
def _(result: PlanResult) -> str:
    from lora_magic.display.plan import plan_text

    return plan_text(result)
