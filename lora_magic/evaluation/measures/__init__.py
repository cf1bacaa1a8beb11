"""Numbers beside the words: what answers are measured by, each with an interval and a plain verdict.

Nothing here runs a model but the embedding model of "similarity"; heavy libraries are imported when first used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec

from lora_magic.errors import LoraError, nearest
from lora_magic.evaluation.intervals import Bootstrap
from lora_magic.evaluation.measures import fields, labels, likelihood, overlap, style
from lora_magic.evaluation.measures.kinds import CHOSEN, kind
from lora_magic.evaluation.measures.similarity import named_model, similarity
from lora_magic.evaluation.measures.table import TITLES, Asked, LeftOut, Scored, counted
from lora_magic.results.measures import Measure, Measures
from lora_magic.results.selected import is_called

__all__ = ["MEASURES", "Scored", "check", "check_by", "measure"]

MEASURES: tuple[str, ...] = tuple(TITLES)
"""Every measure by name, in the order to show them."""
SIMILARITY = "similarity"

_MADE: Mapping[str, Callable[[Asked], Measure | list[Measure]]] = {
    "label-accuracy": labels.accuracy,
    "macro-f1": labels.macro_f1,
    "auc": labels.auc,
    "json-valid": fields.valid,
    "json-fields": fields.accuracy,
    "exact-match": overlap.exact_match,
    "token-f1": overlap.token_f1,
    "rouge-1": overlap.rouge_1,
    "rouge-2": overlap.rouge_2,
    "rouge-l": overlap.rouge_l,
    "bleu": overlap.bleu,
    SIMILARITY: similarity,
    "held-out-loss": likelihood.loss,
    "perplexity": likelihood.perplexity,
    "length": style.length,
    "repetition": style.repetition,
    "parroting": style.parroting,
    "abstention": style.abstention,
}
# What a measure imports, and the package that brings it.
_NEEDS = {"bleu": ("sacrebleu", "sacrebleu"), SIMILARITY: ("sentence_transformers", "sentence-transformers")}
_MANY_VERDICTS = 10
_OF_ALL_ROWS = ("macro-f1", "auc")
_FAULTS = frozenset(("repetition", "parroting", "abstention"))


def check(wanted: Iterable[str], embedder: str = "") -> None:
    """Refuses what cannot be measured; before answers are made is the time to ask.

    Args:
        wanted: measures by name; one that does not exist or whose library is missing is refused.
        embedder: the model of "similarity" by name; "" for none. One that is not here is refused.

    Raises:
        LoraError: with the pip command, or the nearest name.
    """
    for name in (*wanted, *([SIMILARITY] if embedder else [])):
        if name not in TITLES:
            near = nearest(name, MEASURES)
            raise LoraError(f'There is no measure "{name}".', near or f"There are {', '.join(MEASURES)}.")
        module, package = _NEEDS.get(name, ("", ""))
        if module and find_spec(module) is None:
            raise LoraError(f'The measure "{name}" needs {package}, which is not installed.', f"pip install {package}")
    if embedder:
        named_model(embedder)


def check_by(by: str, wanted: Sequence[str] | None) -> None:
    """Refuses a measure that rows cannot be sorted by; before answers are made is the time to ask.

    Args:
        by: its name or title; a field of JSON answers is known when there are some.
        wanted: the measures that will be made; None where they will be chosen.

    Raises:
        LoraError: it does not exist, will not be made, or has no figure of a row by itself.
    """
    if is_called(by.replace(":", " ").split(" ")[0], "json-field", "field"):
        return
    alone = [name for name in MEASURES if name not in _OF_ALL_ROWS]
    name = next((name for name, title in TITLES.items() if is_called(by, name, title.text)), None)
    if name is None:
        raise LoraError(f'There is no measure "{by}".', nearest(by, alone) or f"There are {', '.join(alone)}.")
    if name in _OF_ALL_ROWS:
        raise LoraError(f"{TITLES[name].text} is a figure of all rows together.", f"Choose of {', '.join(alone)}.")
    if wanted is not None and name not in wanted:
        raise LoraError(f"{name} is not among the measures.", f"Add it: --measures {','.join([*wanted, name])}")


def measure(
    rows: Sequence[Scored],
    columns: Sequence[str],
    *,
    baseline: str,
    wanted: Sequence[str] | None = None,
    training: Iterable[str] = (),
    losses: Mapping[str, Sequence[tuple[float, int]]] | None = None,
    label_losses: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    embedder: str = "",
    seed: int = 0,
) -> Measures:
    """Measures every column's answers, by what the references look like or by name.

    Args:
        rows: what was asked and answered; a row that some column did not answer counts nowhere.
        columns: the columns, in order.
        baseline: the column that the others are compared with.
        wanted: measures by name; None chooses.
        training: answers of the training rows, for "parroting".
        losses: by column, a row's summed nats over its trained tokens, and how many those are.
        label_losses: by column, a row's nats of each label as the whole answer, for "auc".
        embedder: id or folder of a sentence embedding model, which chooses "similarity" too; "" takes one from the
            Hub's cache.
        seed: of the intervals' draws.

    Raises:
        LoraError: a wanted measure does not exist, or its library or model is not here.
    """
    check(wanted or (), embedder)
    whole = [place for place, row in enumerate(rows) if all(column in row.outputs for column in columns)]
    asked = Asked(
        [replace(rows[place], place=place) for place in whole],
        columns,
        baseline,
        Bootstrap(seed),
        iter(training),
        {column: [of[place] for place in whole] for column, of in (losses or {}).items()},
        {column: [of[place] for place in whole] for column, of in (label_losses or {}).items()},
        embedder,
        len(rows),
    )
    found = kind([row.reference or "" for row in asked.referenced])
    chosen = (*CHOSEN[found.name], *([SIMILARITY] if embedder else [])) if wanted is None else wanted
    names = [name for name in MEASURES if name in chosen]
    made, notes = _made(asked, names)
    if wanted is None:
        made, none = _without_none(made)
        notes += none
    if len(whole) < len(rows):
        notes.insert(0, f"{len(whole):,} of {counted(len(rows), 'row')} have every column's answer and are measured.")
    if sum(len(one.differences) for one in made) >= _MANY_VERDICTS:
        notes.append("Each verdict is at 95% by itself: of twenty where nothing differs, about one says otherwise.")
    return Measures(baseline, found.name, found.why, tuple(made), tuple(notes))


def _without_none(made: Iterable[Measure]) -> tuple[list[Measure], list[str]]:
    """The measures without those of a fault that no answer of any column has, and a sentence that names them."""
    made = list(made)
    none = [one for one in made if one.name in _FAULTS and not any(value.mean for value in one.values.values())]
    said = [f"Zero in every column: {', '.join(one.title.lower() for one in none)}."] if none else []
    return [one for one in made if one not in none], said


def _made(asked: Asked, names: Iterable[str]) -> tuple[list[Measure], list[str]]:
    """The measures, and a sentence for each that cannot be made."""
    if not asked.rows:
        return [], ["No row has every column's answer, so nothing is measured."]
    made: list[Measure] = []
    notes: list[str] = []
    for name in names:
        try:
            module, package = _NEEDS.get(name, ("", ""))
            if module and find_spec(module) is None:
                raise LeftOut(f"{package} is not installed (pip install {package})")
            new = _MADE[name](asked)
        except LeftOut as reason:
            notes.append(f"{TITLES[name].text} is left out: {reason}.")
        else:
            made += new if isinstance(new, list) else [new]
    return made, notes
