"""A comparison as JSON: all of it, or what LLM Comparator opens."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.errors import LoraError, nearest

if TYPE_CHECKING:
    from lora_magic.results.comparison import Comparison, ComparisonRow
    from lora_magic.results.votes import Vote

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
    whole = {"format": OWN, "version": VERSION, **_plain(replace(comparison, selection=None))}
    if comparison.selection is not None:
        whole["selection"] = {"said": comparison.selection.line, "numbers": list(comparison.selection.numbers)}
    return _text(whole)


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
    """Both columns' answers, with the votes on them where they were voted on."""
    first, second = _two(comparison, columns)
    votes = _votes(comparison, first, second)
    criteria = sorted({criterion for vote in votes.values() for criterion in vote.scores})
    fields = [
        {"name": "reference", "type": "text"}, {"name": "cut at the token limit", "type": "per_model_boolean"},
        *({"name": criterion, "type": "per_model_number"} for criterion in criteria),
    ]  # fmt: skip
    rows = [(row, votes.get(_content(row, (first, second)))) for row in comparison.rows]
    return {
        "metadata": {"source_path": f"{comparison.model}: {comparison.source}", "custom_fields_schema": fields},
        "models": [{"name": first}, {"name": second}],
        "examples": [_example(row, first, second, vote, criteria) for row, vote in rows],
    }


def _votes(comparison: Comparison, first: str, second: str) -> dict[tuple[str, ...], Vote]:
    """Votes by the row's content; none where they are on other columns."""
    votes = comparison.votes
    if votes is None or {first, second} != set(votes.columns):
        return {}
    return {_content(one.row, (first, second)): votes.cast[one.key] for one in votes.ballots if one.key in votes.cast}


def _content(row: ComparisonRow, names: tuple[str, str]) -> tuple[str, ...]:
    return (row.prompt, *(row.outputs.get(name, "") for name in names))


def _example(row: ComparisonRow, first: str, second: str, vote: Vote | None, criteria: Sequence[str]) -> dict[str, Any]:
    """One row; its score is above 0 where the first column was preferred, and empty without a vote."""
    score = None if vote is None else float((vote.winner == first) - (vote.winner == second))
    label = "" if vote is None else f"{vote.winner} preferred" if vote.winner else vote.verdict
    rating = {"score": score, "rating_label": label, "is_flipped": vote is not None and vote.sides[0] != first}
    scored = {name: [vote and vote.score(name, column) for column in (first, second)] for name in criteria}
    return {
        "input_text": row.prompt,
        "tags": [label] if label else [],
        "output_text_a": row.outputs.get(first, ""),
        "output_text_b": row.outputs.get(second, ""),
        "score": score,
        "individual_rater_scores": [] if vote is None else [{**rating, "rationale": ""}],
        "custom_fields": {
            "reference": row.reference or "",
            "cut at the token limit": [first in row.cut, second in row.cut],
            **scored,
        },
    }


def _two(comparison: Comparison, columns: tuple[str, str] | None) -> tuple[str, str]:
    """The columns to show: as asked, or the last adapter as A and the base as B."""
    known = list(comparison.adapters)
    if columns is not None:
        if isinstance(columns, str) or len(columns) != 2 or columns[0] == columns[1]:
            raise LoraError(
                f"LLM Comparator shows two columns, not {columns!r}.", f'Such as columns=("{known[-1]}", "{known[0]}").'
            )
        for name in columns:
            if name not in known:
                raise LoraError(f'There is no column "{name}".', nearest(name, known) or f"Known: {', '.join(known)}.")
        return columns[0], columns[1]
    if len(known) < 2:
        raise LoraError("LLM Comparator shows two columns, and there is one.", "Compare with --adapters base,NAME.")
    second = "base" if "base" in known else known[0]
    return next(name for name in reversed(known) if name != second), second
