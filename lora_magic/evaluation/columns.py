"""The columns of a comparison: who answers, and what is put before the prompts."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_magic.backends.saved import import_line
from lora_magic.dataset.examples import Example, Turn
from lora_magic.errors import LoraError, nearest
from lora_magic.evaluation.adapters import Adapter, training_rows
from lora_magic.evaluation.asked import Asked, with_system

BASE, WIDE = "base", "base-16bit"
MOST_SHOTS = 64
_PROMPTED = re.compile(rf"{BASE}((?:\+(?:system|\d+-shot))+)")
_SHOTS = re.compile(r"(\d+)-shot")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: as the user writes it.
        key: the adapter that answers; None for the base.
        system: whether it is the one with the system text, where only some are.
        shots: training examples before the prompt.
        wide: whether the base answers in 16 bits.
    """

    name: str
    key: str | None = None
    system: bool = False
    shots: int = 0
    wide: bool = False


def columns(names: Sequence[str], adapters: Mapping[str, Adapter]) -> list[Column]:
    """What the names mean.

    Args:
        names: such as base, base+system, base+3-shot, base-16bit, and those of adapters, which come first.
        adapters: those in memory.

    Raises:
        LoraError: a name means nothing, or too many examples are asked for.
    """
    return [_column(name, adapters) for name in names]


def _column(name: str, adapters: Mapping[str, Adapter]) -> Column:
    if name in adapters:
        return Column(name, adapters[name].key)
    if name in (BASE, WIDE):
        return Column(name, wide=name == WIDE)
    found = _PROMPTED.fullmatch(name)
    if found is None:
        known = [BASE, "base+system", "base+3-shot", WIDE, *adapters]
        listed = f"In memory: {', '.join(adapters)}." if adapters else "Train one: %lora_train --data demo-json"
        raise LoraError(f'There is no adapter "{name}".', import_line(name) or nearest(name, known) or listed)
    parts = found[1][1:].split("+")
    shots = sum(int(number[1]) for number in map(_SHOTS.fullmatch, parts) if number)
    if not 1 <= shots <= MOST_SHOTS and any("-shot" in part for part in parts):
        raise LoraError(f"{name}: examples must be at least 1 and at most {MOST_SHOTS}.", "Such as base+3-shot.")
    return Column(name, system="system" in parts, shots=shots)


@dataclass(frozen=True)
class Prompting:
    """What is put before the prompts, column by column.

    Attributes:
        text: the system text of the columns that have it; of all columns where none is named `+system`.
        apart: whether some columns have it and others not.
        trained: the system text of the run.
        examples: training rows in the order in which columns take them.
    """

    text: str | None
    apart: bool
    trained: str | None
    examples: tuple[Example, ...] = ()

    def context(self, column: Column, asked: Asked) -> tuple[Turn, ...]:
        """The turns that a column is asked with.

        Without `--system` the run's own text stays as it is in the prompts. A column with it by name has it
        alone: the bare base then goes without, and adapters keep what they were trained with.
        """
        turns = asked.context
        if column.system or (not self.apart and self.text is not None):
            turns = with_system(turns, self.text)
        elif self.apart and column.key is None and turns[:1] == (Turn("system", self.trained or ""),):
            turns = turns[1:]
        shown = [turn for row in self.examples[: column.shots] for turn in row.turns if turn.role != "system"]
        head = int(turns[:1] != () and turns[0].role == "system")
        return (*turns[:head], *shown, *turns[head:])

    def about(self, column: Column) -> str:
        """What a column is asked with beyond the prompt, in words; "" where there is nothing."""
        said = []
        if column.system:
            said.append(f'with the system text "{self.text}"')
        if column.shots:
            rows = ", ".join(str(row.row) for row in self.examples[: column.shots])
            plural = "row" if column.shots == 1 else "rows"
            said.append(f"after training {plural} {rows} as examples")
        return " ".join(said)


def prompting(
    chosen: Sequence[Column],
    system: str | None,
    seed: int,
    run: Adapter | None,
    asked: Sequence[Asked],
    variables: Mapping[str, object],
) -> Prompting:
    """What the columns put before the prompts.

    Args:
        chosen: the columns.
        system: `--system`, or None.
        seed: chooses the examples.
        run: whose system text and training rows are meant, or None.
        asked: the prompts, none of which may be among the examples.
        variables: the notebook's, for data by name.

    Raises:
        LoraError: a column needs a system text or training rows, and there are none.
    """
    apart = any(column.system for column in chosen)
    trained = run.system if run is not None else None
    text = system if system is not None or not apart else trained
    if apart and not text:
        raise LoraError("base+system needs a system text.", 'Give one: --system "Answer in one word."')
    shots = max((column.shots for column in chosen), default=0)
    return Prompting(text, apart, trained, _examples(shots, seed, run, asked, variables) if shots else ())


def _examples(
    number: int, seed: int, run: Adapter | None, asked: Sequence[Asked], variables: Mapping[str, object]
) -> tuple[Example, ...]:
    """Training rows chosen by the seed alone; none of them is asked, and none calls tools."""
    if run is None:
        raise LoraError(f"base+{number}-shot takes its examples from a run, and there is none.", "Train first.")
    prompts = {one.prompt for one in asked}
    rows = training_rows(run, variables)
    usable = [row for row in rows if not row.is_text and not row.tools and row.prompt not in prompts]
    if len(usable) < number:
        raise LoraError(
            f"{run.source} has {len(usable)} training rows that can be examples.", f"Give base+{len(usable)}-shot."
        )
    return tuple(random.Random(seed).sample(usable, number))
