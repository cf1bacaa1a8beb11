"""Answers that are JSON objects: whether they are valid, and which of their fields are right."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

import numpy as np

from lora_magic.evaluation.measures.table import Asked, LeftOut, Title, by_rows, counted, scored
from lora_magic.results.measures import Measure

MOST_FIELDS = 12
_FENCED = re.compile(r"\s*```\w*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


def parsed(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is as a whole, or None."""
    value = _value(text)
    return value if isinstance(value, dict) else None


def _value(text: str) -> Any:
    """The JSON value that a text is as a whole, or None."""
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None


def _structured(text: str) -> bool:
    return isinstance(_value(text), dict | list)


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are: numbers by value, true and false apart from 1 and 0, fields in any order."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def valid(asked: Asked) -> Measure:
    """The share of answers that are a JSON object or array and nothing else."""
    scores = scored(asked, asked.rows, lambda _, answer: float(_structured(answer)))
    said = ["The whole answer is a JSON object or array."]
    for column in asked.columns:
        fenced = sum(_in_fence(row.outputs[column]) for row in asked.rows)
        if fenced:
            verb = "is" if fenced == 1 else "are"
            said.append(f"{column}: {counted(fenced, 'answer')} {verb} one inside a code fence, which is not counted.")
    return by_rows(asked, "json-valid", scores, " ".join(said))


def _in_fence(answer: str) -> bool:
    found = _FENCED.fullmatch(answer)
    return found is not None and _structured(found.group(1))


def accuracy(asked: Asked) -> list[Measure]:
    """The share of the reference's fields that the answer has with the same value, then each field by itself."""
    rows = [(row, wanted) for row in asked.referenced if (wanted := parsed(row.reference or ""))]
    if not rows:
        raise LeftOut("no reference is a JSON object with fields")
    found = {column: [parsed(row.outputs[column]) or {} for row, _ in rows] for column in asked.columns}
    names = [name for name, _ in Counter(name for _, wanted in rows for name in wanted).most_common()]
    right = {
        column: [
            {name: name in got and same(got[name], value) for name, value in wanted.items()}
            for got, (_, wanted) in zip(answers, rows, strict=True)
        ]
        for column, answers in found.items()
    }
    overall = {column: np.array([sum(row.values()) / len(row) for row in of]) for column, of in right.items()}
    measured = [row for row, _ in rows]
    shown = names[:MOST_FIELDS] if len(names) > 1 else []
    return [
        by_rows(asked, "json-fields", overall, _note(asked, found, rows, names), rows=measured),
        *(
            by_rows(
                asked, f"json-field:{name}",
                {column: np.array([float(row.get(name, np.nan)) for row in of]) for column, of in right.items()},
                title=Title(f"Field {name}", "share", "higher"), rows=measured,
            )
            for name in shown
        ),
    ]  # fmt: skip


def _note(asked: Asked, found: dict[str, list[dict[str, Any]]], rows: list[Any], names: list[str]) -> str:
    said = ["Of the reference's fields, those with the same value; none where the answer is no JSON object."]
    for column in asked.columns:
        extra = sum(not got.keys() <= wanted.keys() for got, (_, wanted) in zip(found[column], rows, strict=True))
        if extra:
            verb = "has" if extra == 1 else "have"
            said.append(f"{column}: {counted(extra, 'answer')} {verb} fields that the reference has not.")
    if len(names) > MOST_FIELDS:
        said.append(f"The {MOST_FIELDS} most frequent of {len(names):,} fields are shown.")
    return " ".join(said)
