"""Making the answers: rows in groups of like length, every column for a group before the next one begins."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lora_magic.backends.answers import row_seed
from lora_magic.backends.base import Answer, Base, Decoding, Phases
from lora_magic.dataset.examples import Turn
from lora_magic.dataset.tokens import prompt_ids
from lora_magic.errors import LoraError
from lora_magic.evaluation.asked import Asked, Questions
from lora_magic.evaluation.columns import Column, Prompting
from lora_magic.results import ComparisonRow

# Rows that are shown while answers are made.
NEWEST = 6


@dataclass
class Answers:
    """What was answered so far.

    Attributes:
        names: the columns, in order.
        asked: the prompts.
        made: answer by column and by the prompt's place; `put` adds to it.
        seconds: of generation by column.
    """

    names: tuple[str, ...]
    asked: Sequence[Asked]
    made: dict[str, dict[int, Answer]] = field(init=False)
    seconds: dict[str, float] = field(init=False)
    _order: dict[int, None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.made = {name: {} for name in self.names}
        self.seconds = dict.fromkeys(self.names, 0.0)

    def whole(self, names: Sequence[str]) -> list[int]:
        """Places of the prompts that all of the columns `names` have answered."""
        return [i for i in range(len(self.asked)) if all(i in self.made[name] for name in names)]

    def put(self, name: str, place: int, answer: Answer) -> None:
        """One answer more."""
        self.made[name][place] = answer
        self._order.pop(place, None)
        self._order[place] = None

    def newest(self) -> list[int]:
        """Places of the prompts that were answered last, by any column, the newest last."""
        return list(self._order)[-NEWEST:]

    def rows(self, places: Sequence[int], names: Sequence[str]) -> tuple[ComparisonRow, ...]:
        """The rows of these places; a column that has not answered one is missing there."""
        return tuple(self._row(i, [name for name in names if i in self.made[name]]) for i in places)

    def _row(self, i: int, names: Sequence[str]) -> ComparisonRow:
        one, made = self.asked[i], {name: self.made[name][i] for name in names}
        outputs = {name: answer.text for name, answer in made.items()}
        return ComparisonRow(
            one.prompt, one.reference, outputs, tuple(name for name, answer in made.items() if answer.cut)
        )


class LongPrompt(LoraError):
    """A prompt that is longer than the model takes."""


class Prompts:
    """Token ids of the prompts; what columns share is tokenised once, and nothing else is shared.

    Args:
        base: whose tokenizer it is, and how long rows may be.
        template: the chat template that the data was trained with, in place of the model's own.
        prompting: what goes before the prompts.
    """

    def __init__(self, base: Base, template: str | None, prompting: Prompting) -> None:
        self._facts, self._tokenizer = base.facts, base.tokenizer
        self._template, self._prompting = template, prompting
        self._ids = functools.cache(self._made)

    def ids(self, column: Column, asked: Asked) -> list[int]:
        """What a column reads before it answers.

        Raises:
            LoraError: it is longer than the model takes.
        """
        return self._ids(self._prompting.context(column, asked), asked.tools, column.shots)

    def fitting(self, questions: Questions, columns: Sequence[Column]) -> Questions:
        """The questions that every column can read, with notes on those that are left out.

        Left out are those that are longer than the model takes, and those that the chat template refuses.

        Raises:
            LoraError: none of them fits.
        """
        kept: list[Asked] = []
        refused: list[LoraError] = []
        for one in questions.asked:
            try:
                for column in columns:
                    self.ids(column, one)
            except LoraError as error:
                refused.append(error)
            else:
                kept.append(one)
        if not refused:
            return questions
        if not kept:
            raise refused[0]
        notes = [*questions.notes]
        for kind in (LongPrompt, LoraError):
            some = [error for error in refused if type(error) is kind]
            left_out = "1 row is" if len(some) == 1 else f"{len(some):,} rows are"
            notes += [f"{left_out} left out: {some[0].problem}"] if some else []
        return replace(questions, asked=tuple(kept), notes=tuple(notes))

    def _made(self, context: tuple[Turn, ...], tools: str, shots: int) -> list[int]:
        ids = prompt_ids(self._tokenizer, context, template=self._template, tools=tools)
        if len(ids) < self._facts.max_length:
            return ids
        said = next((turn.content for turn in reversed(context) if turn.role == "user"), "")
        with_examples = f" with {shots} examples before it" if shots else ""
        raise LongPrompt(
            f'The prompt "{said[:40]}…"{with_examples} has {len(ids):,} tokens; '
            f"{self._facts.model} takes {self._facts.max_length:,}.",
            "Take fewer examples, or load with a larger --max-length where the model allows it."
            if shots
            else "Shorten it, or load with a larger --max-length where the model allows it.",
        )


def answer(
    base: Base,
    columns: Sequence[Column],
    prompts: Prompts,
    decoding: Decoding,
    answers: Answers,
    phases: Phases,
    show: Callable[[], None],
) -> None:
    """Have the columns answer all prompts.

    Args:
        base: who answers; whatever is active on it changes and is the caller's to restore.
        columns: which of them.
        prompts: what they read.
        decoding: the same for all.
        answers: where the answers go, each as soon as it has ended.
        phases: where it is told how far things are.
        show: called whenever there is an answer more.
    """
    ids = {column.name: [prompts.ids(column, one) for one in answers.asked] for column in columns}
    longest = [max((len(rows[i]) for rows in ids.values()), default=0) for i in range(len(answers.asked))]
    for group in _groups(longest, decoding.rows_at_once):
        seeds = [row_seed(decoding.seed, i) for i in group]
        for column in columns:

            def made(place: int, one: Answer, name: str = column.name, group: Sequence[int] = group) -> None:
                answers.put(name, group[place], one)
                _tell(phases, answers, name)
                show()

            _tell(phases, answers, column.name)
            base.activate(column.key)
            began = time.monotonic()
            try:
                base.generate([ids[column.name][i] for i in group], decoding, made, seeds)
            finally:
                answers.seconds[column.name] += time.monotonic() - began


def _tell(phases: Phases, answers: Answers, name: str) -> None:
    done, total = len(answers.made[name]), len(answers.asked)
    phases.update(done / total, f"{name}: {done} of {total}")


def _groups(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Places in groups of like length; the group with the earliest row first, and within it the earliest row."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    groups = [sorted(order[start : start + size]) for start in range(0, len(order), size)]
    return sorted(groups, key=min)
