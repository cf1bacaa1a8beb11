"""What an adapter unlearned: general prompts that the base gets right, asked again of each adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lora_magic.backends.base import Base, Decoding, Phases
from lora_magic.dataset.sources import read
from lora_magic.demo import DATASETS
from lora_magic.errors import LoraError
from lora_magic.evaluation.answering import Answers, Prompts, answer
from lora_magic.evaluation.asked import Asked, Questions, from_rows
from lora_magic.evaluation.columns import BASE, Column, Prompting
from lora_magic.evaluation.intervals import Bootstrap
from lora_magic.evaluation.measures.texts import words
from lora_magic.results import Forgetting
from lora_magic.results.measures import Difference

EMBEDDED = Path(__file__).with_name("general.jsonl")
"""Common knowledge in short questions, each with a word that a right answer has in it."""

MOST_PROMPTS = 1000
# Room for an answer in the adapter's own shape.
ANSWER_TOKENS = 64
_NUMBERS = (
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<![\w.)])[-\u2212](?=\.?\d)"), "minus"),
    (re.compile(r"(?<=\d)\.(?=\d)"), "point"),
)


def general_questions(given: object, variables: Mapping[str, object]) -> Questions:
    """The general prompts with their right answers.

    Args:
        given: a file, a variable or rows; "" for the embedded ones.
        variables: the notebook's.

    Raises:
        LoraError: they cannot be read, or have no answers.
    """
    if given == "":
        found = from_rows(read(EMBEDDED), None, MOST_PROMPTS)
        return Questions(found.asked, f"{len(found.asked)} general prompts")
    found = from_rows(read(given, variables=variables, embedded=DATASETS), None, MOST_PROMPTS)
    if not all(one.reference for one in found.asked):
        raise LoraError("General prompts need right answers beside them.", 'Give rows with "prompt" and "answer".')
    return found


def forgetting(
    base: Base,
    adapters: Mapping[str, str],
    questions: Questions,
    phases: Phases,
    template: str | None = None,
) -> Forgetting:
    """Ask the base and each adapter, greedily; what the base gets wrong does not count.

    Args:
        base: who answers; whatever is active on it changes and is the caller's to restore.
        adapters: key by name.
        questions: the prompts with their right answers.
        phases: where it is told how far things are.
        template: the chat template in place of the model's own.
    """
    columns = [Column(BASE), *(Column(name, key) for name, key in adapters.items())]
    prompts = Prompts(base, template, Prompting(None, False, None))
    questions = prompts.fitting(questions, columns)
    made = Answers(tuple(column.name for column in columns), questions.asked)
    answer(base, columns, prompts, Decoding(ANSWER_TOKENS), made, phases, lambda: None)
    rights = {column.name: _rights(questions.asked, made, column.name) for column in columns}
    counted = [i for i, right in enumerate(rights[BASE]) if right]
    bootstrap, names = Bootstrap(), list(adapters)
    lost = [i for i in counted if not all(rights[name][i] for name in names)]
    return Forgetting(
        questions.source,
        len(questions.asked),
        len(counted),
        {name: sum(rights[name][i] for i in counted) for name in names},
        {
            name: _at_most_none(
                bootstrap.difference([1.0] * len(counted), [float(rights[name][i]) for i in counted], top=1.0)
            )
            for name in names
        },
        made.rows(lost, made.names),
    )


def _at_most_none(lost: Difference) -> Difference:
    """A loss of what was right, which cannot be a gain."""
    return replace(lost, high=min(lost.high, 0.0))


def _rights(asked: Sequence[Asked], answers: Answers, name: str) -> list[bool]:
    return [is_right(one.reference or "", answers.made[name][i].text) for i, one in enumerate(asked)]


def is_right(reference: str, answer: str) -> bool:
    """Whether an answer has the reference's words in it, one after the other, whatever their case.

    Scripts without spaces give a word a character; a number is one word, with its sign and its point.
    """
    wanted, said = _told(reference), _told(answer)
    return bool(wanted) and any(said[i : i + len(wanted)] == wanted for i in range(len(said)))


def _told(text: str) -> list[str]:
    for written, meant in _NUMBERS:
        text = written.sub(meant, text)
    return words(text)
