"""Prompts: held-out rows, a list, a file, a variable; and what goes before each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lora_magic.config import CompareConfig
from lora_magic.dataset.cells import Unusable, as_text, is_blank
from lora_magic.dataset.examples import Example, Turn, examples
from lora_magic.dataset.files import kind
from lora_magic.dataset.messages import turn, turn_list
from lora_magic.dataset.objects import could_be_data
from lora_magic.dataset.sources import Source, read
from lora_magic.demo import DATASETS
from lora_magic.errors import LoraError
from lora_magic.evaluation.adapters import Adapter

PROMPT_COLUMNS = ("prompt", "question", "instruction", "input", "query", "text")


@dataclass(frozen=True)
class Asked:
    """One prompt.

    Attributes:
        prompt: what the user reads.
        context: the turns that go in, up to the answer.
        answer: the data's answer, where there is one.
        tools: the JSON text of the tools that may be called; "" for none.
    """

    prompt: str
    context: tuple[Turn, ...]
    answer: Turn | None = None
    tools: str = ""

    @property
    def reference(self) -> str | None:
        """The data's answer as text, as its calls where it has no words; None without one."""
        return None if self.answer is None else self.answer.content or self.answer.tool_calls


@dataclass(frozen=True)
class Questions:
    """Prompts, and where they came from.

    Attributes:
        asked: the prompts; never empty.
        source: such as "60 held-out rows of demo-json".
        notes: lines worth reading.
    """

    asked: tuple[Asked, ...]
    source: str
    notes: tuple[str, ...] = ()


def questions(config: CompareConfig, run: Adapter | None, variables: Mapping[str, object]) -> Questions:
    """The prompts that were asked for, each with the run's system text where it brings none.

    Args:
        config: what was asked for.
        run: the adapter whose held-out rows and system text are meant, or None.
        variables: the notebook's, for prompts by name.

    Raises:
        LoraError: there is nothing to ask.
    """
    if config.prompts is None:
        return _held_out(config.rows, run)
    system = run.system if run is not None else None
    found = _given(config.prompts, variables)
    if isinstance(found, Source):
        return from_rows(found, system, config.rows)
    texts, name = found
    most = config.rows if name or "rows" in config.given else len(texts)
    if not texts:
        raise LoraError(f"{name or 'The list'} holds no prompt.", "Write one a line.")
    asked = tuple(_text_prompt(text, system) for text in texts[:most])
    return Questions(asked, f"{_count(len(texts), most, 'prompt')} of {name or 'your own'}")


def _held_out(most: int, run: Adapter | None) -> Questions:
    if run is None:
        raise LoraError("There is nothing to compare on yet.", "Train first, or write prompts in %%lora_compare.")
    rows = [row for row in run.held_out if not row.is_text]
    if not rows:
        if run.settings is None and not run.held_out:
            raise LoraError(
                f"{run.name} was not trained here: the rows that it held out are not known.",
                "Give rows or prompts, such as --prompts FILE.",
            )
        why = "only plain text, which is no prompt" if run.held_out else "no rows"
        raise LoraError(f"The run {run.name} held out {why}.", "Write prompts in %%lora_compare.")
    return Questions(_from_examples(rows[:most]), f"{_count(len(rows), most, 'held-out row')} of {run.source}")


def _count(there: int, most: int, what: str) -> str:
    """Such as "2 of 60 held-out rows"."""
    some = f"{most:,} of {there:,}" if most < there else f"{there:,}"
    return f"{some} {what}{'' if there == 1 else 's'}"


def _from_examples(rows: Sequence[Example]) -> tuple[Asked, ...]:
    """Prompts of rows with answers, each up to the last one."""
    return tuple(Asked(row.prompt, row.context, row.turns[len(row.context)], row.tools) for row in rows)


def _given(prompts: object, variables: Mapping[str, object]) -> Source | tuple[list[str], str]:
    """Rows that the dataset room reads, or texts with what they are called; "" where they are written out."""
    if isinstance(prompts, Source):
        return prompts
    if isinstance(prompts, str) and not _is_name(prompts, variables):
        return [prompts], ""
    if _are_texts(prompts):
        return _filled(prompts), ""
    if isinstance(prompts, str) and _are_texts(variables.get(prompts)):
        return _filled(variables[prompts]), prompts
    if isinstance(prompts, str | Path) and kind(Path(prompts)) == ".txt":
        path = Path(prompts).expanduser()
        return _filled(line for row in read(path).rows for line in str(row["text"]).splitlines()), path.name
    if isinstance(prompts, str | Path) and kind(Path(prompts)) == ".json":
        path = Path(prompts).expanduser()
        listed = _listed(path)
        if listed is not None:
            return _filled(listed), path.name
    return read(prompts, variables=variables, embedded=DATASETS)


def _listed(path: Path) -> list[str] | None:
    """What a JSON file holds if it is a list of texts; else None, and what is wrong with it is the reader's to say."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if _are_texts(found) else None


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


def _filled(texts: Any) -> list[str]:
    return [text.strip() for text in texts if text.strip()]


def _is_name(text: str, variables: Mapping[str, object]) -> bool:
    """Whether a text names a file, a variable or an embedded set rather than being a prompt."""
    if text in DATASETS or (text in variables and could_be_data(variables[text])):
        return True
    if "\n" in text:
        return False
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # a user "~name" that there is not
        return False
    return (bool(kind(path)) and (" " not in text or path.is_file())) or ("/" in text and path.is_dir())


def from_rows(source: Source, system: str | None, most: int) -> Questions:
    """Prompts of rows, with their answers where they have some; a source's held-out part where it has one.

    Args:
        source: the rows.
        system: put first where a row brings no system turn.
        most: take the first so many.

    Raises:
        LoraError: no row holds a prompt.
    """
    what = "row" if source.held_out is None else "held-out row"
    rows: Any = source.held_out if source.held_out is not None else source.rows
    first = list(islice(rows, most))
    bare = _without_answers(first, system) or _conversations(first, system)
    if bare:
        skipped = len(first) - len(bare)
        told = (f"{skipped:,} blank row{'' if skipped == 1 else 's'} skipped",) if skipped else ()
        return Questions(tuple(bare), f"{_count(len(rows), most, what)} of {source.name}", (*source.notes, *told))
    try:
        found = examples(rows, system=system)
    except LoraError as error:
        named, note = _by_column(first, system)
        if named:
            return Questions(tuple(named), f"{_count(len(rows), most, what)} of {source.name}", (*source.notes, note))
        # A comparison has no --map.
        raise LoraError(error.problem, _columns_hint() if "--map" in error.remedy else error.remedy) from None
    usable = [row for row in islice(found, most) if not row.is_text]
    if not usable:
        raise LoraError(f"{source.name} holds only plain text, which is no prompt.", _columns_hint())
    notes = (*source.notes, *found.notes)
    return Questions(_from_examples(usable), f"{_count(len(found), most, what)} of {source.name}", notes)


def _columns_hint() -> str:
    return f"Name the column that holds them {', '.join(PROMPT_COLUMNS[:2])} or {PROMPT_COLUMNS[2]}."


def _without_answers(rows: Sequence[Mapping[str, Any]], system: str | None) -> list[Asked]:
    """Prompts of rows that hold nothing but a prompt; empty where some row holds more."""
    found = []
    for row in rows:
        filled = _said(row)
        if len(filled) > 1 or not all(
            name.lower() in PROMPT_COLUMNS and isinstance(value, str) for name, value in filled.items()
        ):
            return []
        found += [_text_prompt(value, system) for value in filled.values()]
    return found


def _by_column(rows: Sequence[Mapping[str, Any]], system: str | None) -> tuple[list[Asked], str]:
    """Prompts of the one column that is called as such, and what is not read; none where there is not one column."""
    filled = [said for row in rows if (said := _said(row))]
    columns = dict.fromkeys(name for row in filled for name in row)
    named = [name for name in columns if name.lower() in PROMPT_COLUMNS]
    texts = [row[name] for row in filled for name in named if isinstance(row.get(name), str)]
    if len(named) != 1 or len(texts) < len(filled):
        return [], ""
    others = ", ".join(name for name in columns if name not in named)
    return [_text_prompt(text, system) for text in texts], f"{named[0]} alone is asked; not read: {others}"


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that say something."""
    return {str(name): value for name, value in row.items() if not is_blank(value)}


def _text_prompt(text: str, system: str | None) -> Asked:
    """A prompt of its own, after the system text where there is one."""
    said = as_text(text)
    return Asked(said, (*((Turn("system", system),) if system else ()), Turn("user", said)))


def _conversations(rows: Sequence[Mapping[str, Any]], system: str | None) -> list[Asked]:
    """Prompts of rows that hold nothing but messages, of which some end with a question; empty for any others."""
    found = []
    for row in rows:
        filled = _said(row)
        messages = turn_list(filled["messages"]) if list(filled) == ["messages"] else None
        try:
            turns = [turn(message) for message in messages or ()]
        except Unusable:
            return []
        said = next((one.content for one in reversed(turns) if one.role == "user"), None)
        if said is None or turns[-1].role not in ("user", "assistant"):
            return []
        answer = turns.pop() if turns[-1].role == "assistant" else None
        before = (Turn("system", system),) if system and turns[0].role != "system" else ()
        found.append(Asked(said, (*before, *turns), answer))
    return found if any(one.answer is None for one in found) else []


def with_system(context: tuple[Turn, ...], text: str | None) -> tuple[Turn, ...]:
    """The conversation with `text` as its system turn, in place of the one that it has; without one for ""/None."""
    rest = context[1:] if context and context[0].role == "system" else context
    return (Turn("system", as_text(text)), *rest) if text else rest
