"""What to tell a user whose columns are not understood: ready texts for `--map`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lora_magic.dataset.cells import is_blank
from lora_magic.dataset.messages import turn_list
from lora_magic.dataset.shapes import PROMPTS, Row, Shape, normal
from lora_magic.dataset.wording import shown
from lora_magic.errors import LoraError

_KNOWN = "messages; conversations; instruction, output; prompt, completion; question, answer; input, output; text"
_MOST_LISTED, _MOST_WAYS = 12, 4


def map_text(parts: Iterable[tuple[str, str]]) -> str:
    """Columns as `--map` takes them, in quotation marks where a name has a space."""
    text = ",".join(f"{what}={shown(column).strip()}" for what, column in parts)
    return f'"{text}"' if any(char.isspace() for char in text) else text


def ambiguous(shapes: Sequence[Shape], spelling: Mapping[str, str]) -> LoraError:
    """An error that lists the ways in which columns can be read.

    Args:
        shapes: the candidates.
        spelling: normal names of columns to the source's own.
    """
    ways = [f"--map {map_text((what, spelling[column]) for what, column in shape.required)}" for shape in shapes]
    columns = dict.fromkeys(shown(spelling[column]) for shape in shapes for column in shape.columns)
    return LoraError(
        f"The columns {', '.join(columns)} can be read in more than one way.",
        f"Say which: {' or '.join(ways[:_MOST_WAYS])}.",
    )


def unrecognised(rows: Sequence[Row]) -> LoraError:
    """An error for rows without known columns, with what may be meant.

    Args:
        rows: some of them.
    """
    columns = {str(key): value for row in reversed(rows) for key, value in row.items() if not is_blank(value)}
    names = {normal(key): key for key in reversed(columns)}
    for better, worse in (("chosen", "rejected"), ("preferred", "dispreferred")):
        if better in names and worse in names:
            return _preference(columns, names, better, worse)
    found = list(dict.fromkeys(shown(key) for row in rows for key in row))
    listed = ", ".join(found[:_MOST_LISTED]) + (", …" if len(found) > _MOST_LISTED else "")
    return LoraError(f"No usable columns among: {listed or 'none'}.", _guess(columns))


def _guess(columns: Mapping[str, Any]) -> str:
    lists = [key for key, value in columns.items() if turn_list(value)]
    texts = [key for key, value in columns.items() if isinstance(value, str)]
    if not all(map(_can_be_mapped, (*lists, *texts))):
        return f"Rename the columns. Known by themselves: {_KNOWN}."
    if len(lists) == 1:
        return f"Say what it holds: --map {map_text([('messages', lists[0])])}."
    if len(texts) == 2:
        one, other = texts
        ways = (
            map_text([("prompt", one), ("completion", other)]),
            map_text([("prompt", other), ("completion", one)]),
        )
        return f"Say which is which: --map {ways[0]} or --map {ways[1]}."
    if len(texts) == 1:
        return f"For plain text: --map {map_text([('text', texts[0])])}. Known by themselves: {_KNOWN}."
    return f"Say which is which, such as --map prompt=COLUMN,completion=COLUMN. Known by themselves: {_KNOWN}."


def _can_be_mapped(column: str) -> bool:
    return shown(column) == column and column.strip() != "" and not set(",\"'\\$`{}") & set(column)


def _preference(columns: Mapping[str, Any], names: Mapping[str, str], better: str, worse: str) -> LoraError:
    chosen = turn_list(columns[names[better]])
    prompt = next((names[name] for name in PROMPTS if name in names), None)
    if prompt is not None and (chosen is None or len(chosen) == 1):
        way = map_text([("prompt", prompt), ("completion", names[better])])
    else:
        way = map_text([("text" if chosen is None else "messages", names[better])])
    problem = f"This is preference data ({better}, {worse}), which trains by comparing answers."
    return LoraError(problem, f"To train on the {better} answers alone: --map {way}.")
