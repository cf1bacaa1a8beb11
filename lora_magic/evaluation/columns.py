"""The comparison: the same prompts, decoding and seed for the base and each adapter, one column at a time."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_magic.backends.base import Base, Decoding, Phases
from lora_magic.dataset.examples import Example, Turn
from lora_magic.dataset.tokens import prompt_ids
from lora_magic.errors import LoraError
from lora_magic.results import Comparison, ComparisonRow


@dataclass(frozen=True)
class Asked:
    """One prompt.

    Attributes:
        prompt: what the user reads.
        turns: what goes in.
        reference: the data's answer, where there is one.
        tools: the JSON text of the tools that may be called; "" for none.
    """

    prompt: str
    turns: tuple[Turn, ...]
    reference: str | None
    tools: str = ""


def from_examples(rows: Sequence[Example]) -> list[Asked]:
    """Prompts of held-out rows, each up to the answer that is compared."""
    return [Asked(row.prompt, row.context, row.reference, row.tools) for row in rows]


def from_prompts(prompts: Sequence[str], system: str | None) -> list[Asked]:
    """Prompts of the user's own, each a conversation's first turn."""
    before = (Turn("system", system),) if system else ()
    return [Asked(prompt, (*before, Turn("user", prompt)), None) for prompt in prompts]


def compare(
    base: Base,
    asked: Sequence[Asked],
    columns: Mapping[str, str | None],
    decoding: Decoding,
    source: str,
    phases: Phases,
    template: str | None = None,
) -> Comparison:
    """Every column's answers to every prompt.

    Args:
        base: the loaded base; whatever is active on it changes and is the caller's to restore.
        asked: the prompts.
        columns: adapter key (None: the bare base) by column name, in order.
        decoding: the same for all.
        source: where the prompts came from.
        phases: where each column is reported, by name.
        template: the chat template that the data was trained with, in place of the model's own.
    """
    prompts = [_fitting(base, one, template) for one in asked]
    answers, seconds = {}, {}
    for name, key in columns.items():
        base.activate(key)
        began = time.monotonic()
        with phases.phase(name):
            answers[name] = base.generate(prompts, decoding, functools.partial(_told, phases, len(prompts)))
        seconds[name] = time.monotonic() - began
    rows = tuple(
        ComparisonRow(
            one.prompt,
            one.reference,
            {name: made[i].text for name, made in answers.items()},
            tuple(name for name, made in answers.items() if made[i].cut),
        )
        for i, one in enumerate(asked)
    )
    return Comparison(base.facts.model, tuple(columns), rows, source, described(decoding), seconds)


def _told(phases: Phases, total: int, done: int) -> None:
    phases.update(done / total, f"{done} of {total}")


def _fitting(base: Base, asked: Asked, template: str | None) -> list[int]:
    ids = prompt_ids(base.tokenizer, asked.turns, template=template, tools=asked.tools)
    if len(ids) < base.facts.max_length:
        return ids
    room = f"{base.facts.model} takes {base.facts.max_length:,}"
    raise LoraError(
        f'The prompt "{asked.prompt[:40]}…" has {len(ids):,} tokens; {room}.',
        "Shorten it, or load with a larger --max-length where the model allows it.",
    )


def described(decoding: Decoding) -> tuple[tuple[str, str], ...]:
    """The decoding as label and value pairs."""
    how = "greedy" if decoding.temperature == 0 else f"temperature {decoding.temperature:g}, top-p {decoding.top_p:g}"
    return (("decoding", how), ("tokens at most", str(decoding.max_new_tokens)), ("seed", str(decoding.seed)))
