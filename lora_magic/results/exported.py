"""A comparison as JSON: all of it, or what LLM Comparator opens."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.errors import LoraError, nearest

if TYPE_CHECKING:
    from lora_magic.results.comparison import Comparison, ComparisonRow

OWN, LLM_COMPARATOR = "lora-magic", "llm-comparator"
VERSION = 1


def as_json(comparison: Comparison, format: str, columns: tuple[str, str] | None = None) -> str:
    """The JSON text.

    Args:
        comparison: what is written.
        format: "lora-magic" or "llm-comparator".
        columns: the two columns that LLM Comparator shows.

    Raises:
        LoraError: an unknown format or column, or fewer than two columns for LLM Comparator.
    """
    if format == LLM_COMPARATOR:
        return _text(_llm_comparator(comparison, columns))
    if format != OWN:
        remedy = nearest(format, [OWN, LLM_COMPARATOR]) or f"Known: {OWN}, {LLM_COMPARATOR}."
        raise LoraError(f'There is no format "{format}".', remedy)
    return _text({"format": OWN, "version": VERSION, **_plain(comparison)})


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Dataclasses as objects, tuples as lists, paths as text, and null for what is no number in JSON."""
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _llm_comparator(comparison: Comparison, columns: tuple[str, str] | None) -> dict[str, Any]:
    first, second = _two(comparison, columns)
    fields = [{"name": "reference", "type": "text"}, {"name": "cut at the token limit", "type": "per_model_boolean"}]
    return {
        "metadata": {"source_path": f"{comparison.model}: {comparison.source}", "custom_fields_schema": fields},
        "models": [{"name": first}, {"name": second}],
        "examples": [_example(row, first, second) for row in comparison.rows],
    }


def _example(row: ComparisonRow, first: str, second: str) -> dict[str, Any]:
    """One row; its score, which is a judge's, stays empty."""
    return {
        "input_text": row.prompt,
        "tags": [],
        "output_text_a": row.outputs.get(first, ""),
        "output_text_b": row.outputs.get(second, ""),
        "score": None,
        "individual_rater_scores": [],
        "custom_fields": {
            "reference": row.reference or "",
            "cut at the token limit": [first in row.cut, second in row.cut],
        },
    }


def _two(comparison: Comparison, columns: tuple[str, str] | None) -> tuple[str, str]:
    """The columns to show: as asked, or the last adapter as A and the base as B."""
    known = list(comparison.adapters)
    if columns is not None:
        for name in columns:
            if name not in known:
                raise LoraError(f'There is no column "{name}".', nearest(name, known) or f"Known: {', '.join(known)}.")
        return columns
    if len(known) < 2:
        raise LoraError("LLM Comparator shows two columns, and there is one.", "Compare with --adapters base,NAME.")
    second = "base" if "base" in known else known[0]
    return next(name for name in reversed(known) if name != second), second
