"""What a run would take, before anything is loaded: memory, time and cost from a model's config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.backends.base import Phases
from lora_magic.backends.choose import FAMILIES
from lora_magic.backends.model_config import model_config, stored_bits, tokenizer_is_here
from lora_magic.backends.stack import unsloth_version
from lora_magic.config import LoadConfig
from lora_magic.config.plan import PlanConfig
from lora_magic.dataset.row_lengths import RowLengths, row_lengths
from lora_magic.errors import LoraError
from lora_magic.estimate import Estimate
from lora_magic.planning.architecture import Architecture, read
from lora_magic.planning.calibration import data
from lora_magic.planning.here import Here, card_here
from lora_magic.planning.plan import choose
from lora_magic.planning.setting import Setting
from lora_magic.planning.speed import card
from lora_magic.planning.variants import trainable
from lora_magic.results import PlanResult

MEASURED = ("llama", "mistral")
"""Families built like the models whose memory was measured."""
MOST_LAYERS, MOST_PARAMETERS = 2_000, 10**14
"""What no model has, so that a damaged file is told from a large model."""
BUSY = 0.9
"""A card counts as busy where less than this share of it is free."""


@dataclass(frozen=True)
class _Rows:
    """Rows as far as they are known, and the longest that there can be."""

    count: int | None
    mean: float | None
    longest: int
    notes: tuple[str, ...] = ()


def plan(
    config: PlanConfig,
    phases: Phases,
    variables: Mapping[str, object],
    embedded: Mapping[str, Path],
    tokenizer: Any | None = None,
) -> PlanResult:
    """The fastest way to train that fits a card, with what it takes; no weights are read.

    Args:
        config: model, card and settings of the run.
        phases: where downloads and counting are reported.
        variables: the notebook's, for data by name.
        embedded: folders of the embedded data sets, by name.
        tokenizer: the model's, where it is in memory already.

    Raises:
        LoraError: no such model, one that there is no plan for, or data that cannot be read.
    """
    found = model_config(config.load, phases)
    shapes = _shapes(config.model, found)
    here = card_here() if config.gpu is None else None
    on = here.card if here else card(config.gpu or "t4")
    bits, bits_note = _bits(config, found)
    backend, backend_note = _backend(config, found, bits, here)
    rows = _rows(config, found, phases, variables, embedded, tokenizer)
    asked: dict[str, Any] = {
        "batch": config.batch, "micro_batch": config.micro_batch, "checkpointing": config.checkpointing,
        "tokens_per_row": rows.mean, "longest": rows.longest, "rank": config.rank, "target": config.target,
        "method": config.method, "dropout": config.dropout, "bias": config.bias,
        "optimizer": config.optimizer, "backend": backend, "free_gib": here.free_gib if here else None,
        "flash": here.flash if here else True,
        "rows": rows.count, "epochs": config.epochs, "steps": config.max_steps, "price_an_hour": config.price,
    }  # fmt: skip
    made = choose(shapes, on, bits=bits or 16, **asked)
    if bits is None and not made.fits:
        made, bits_note = choose(shapes, on, bits=4, **asked), "4 bits a weight: 16 do not leave room to train"
    notes = (bits_note, backend_note, *rows.notes, *_card_notes(config, here), *_further(config, found, made))
    return PlanResult(
        model=config.model, card=on.title, family=shapes.family, parameters=shapes.parameters,
        trainable_parameters=_trained(config, shapes), batch=config.batch, rows=rows.count,
        tokens_per_row=min(rows.mean or data("calibration")["tokens_per_row"]["fallback"], rows.longest),
        max_length=rows.longest, estimate=made, memory_basis=_memory_basis(config, shapes, made),
        notes=tuple(note for note in notes if note), price=config.price,
    )  # fmt: skip


def _shapes(model: str, found: Mapping[str, Any]) -> Architecture:
    try:
        shapes = read(found)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        told = " ".join(str(error).split())[:120]
        raise LoraError(f"config.json of {model} is damaged ({told}).", "Fetch the model again.") from None
    if shapes.layers > MOST_LAYERS or shapes.parameters > MOST_PARAMETERS:
        told = f"{shapes.layers:.3g} layers and {shapes.parameters:.3g} parameters"
        raise LoraError(f"config.json of {model} tells of {told}.", "The file is damaged: fetch the model again.")
    return shapes


def _bits(config: PlanConfig, found: dict[str, Any]) -> tuple[int | None, str]:
    """Bits a weight and a note; None where 16 are taken if they fit."""
    stored = stored_bits(config.load, found)
    if stored is not None:
        return stored, f"{config.model} is stored in {stored} bits a weight"
    return (None, "16 bits a weight leave room to train") if config.bits == "auto" else (int(config.bits), "")


def _backend(config: PlanConfig, found: Mapping[str, Any], bits: int | None, here: Here | None) -> tuple[str, str]:
    """The backend that such a run would have, and why not Unsloth."""
    if config.backend != "auto":
        return config.backend, ""
    family = str(found.get("model_type", "unknown"))
    if family not in FAMILIES:
        return "transformers", f"with transformers: Unsloth has no kernels for the family {family}"
    if found.get("auto_map"):
        return "transformers", "with transformers: Unsloth does not take a model that brings Python of its own"
    if bits in (8, 32):
        return "transformers", f"with transformers: Unsloth's kernels do not take {bits}-bit weights"
    if here is not None and unsloth_version() is None:
        return "transformers", "with transformers: Unsloth is not installed here"
    return "unsloth", ""


def _rows(
    config: PlanConfig,
    found: Mapping[str, Any],
    phases: Phases,
    variables: Mapping[str, object],
    embedded: Mapping[str, Path],
    tokenizer: Any | None,
) -> _Rows:
    """What is known of the rows: as told, counted in the data, or nothing."""
    most = found.get("max_position_embeddings")
    longest = config.max_length or LoadConfig(config.model).max_length
    longest = min(longest, most) if isinstance(most, int) and most > 0 else longest
    cut = _cut(config.tokens_per_row, longest, isinstance(most, int) and longest == most)
    if config.data is None:
        return _Rows(config.rows, config.tokens_per_row, longest, cut)
    if tokenizer is None and tokenizer_is_here(config.load):
        from lora_magic.backends.tokenizers import tokenizer_of

        tokenizer = tokenizer_of(config.model, phases)
    with phases.phase("rows"):
        counted = row_lengths(config, tokenizer, longest, variables, embedded)
    mean = config.tokens_per_row or counted.mean
    notes = (*_counted(config, counted, tokenizer is None), *cut)
    return _Rows(config.rows or counted.rows, mean, counted.longest, notes)


def _cut(tokens: float | None, longest: int, is_the_most: bool) -> tuple[str, ...]:
    if tokens is None or tokens <= longest:
        return ()
    why = "the most that the model takes" if is_the_most else "--max-length allows more"
    return (f"rows of {tokens:,.0f} tokens are cut at {longest:,}: {why}",)


def _counted(config: PlanConfig, counted: RowLengths, guessed: bool) -> tuple[str, ...]:
    of_all = "" if counted.looked_at >= counted.rows else f", {counted.looked_at:,} of them looked at"
    told = (
        f"{counted.name}: {counted.rows:,} training rows{of_all}, {counted.mean:,.0f} tokens on average, "
        f"{counted.longest:,} at most"
    )
    if not guessed:
        return (told,)
    return told, f"a token is taken to be four characters: the tokenizer of {config.model} is not on this disk"


def _card_notes(config: PlanConfig, here: Here | None) -> list[str]:
    if here is None:
        return [] if config.gpu else ["there is no card here, so this is for a T4; --gpu chooses another"]
    notes = [] if here.known else [f"there are no figures for {here.card.title}: times are those of a T4"]
    if here.free_gib < BUSY * (here.card.memory_gib - here.card.context_gib):
        notes.append(f"only {here.free_gib:.1f} of {here.card.memory_gib:.1f} GiB are free on this card now")
    return notes


def _further(config: PlanConfig, found: Mapping[str, Any], made: Estimate) -> list[str]:
    notes = []
    if isinstance(found.get("text_config"), dict):
        notes.append("images count nothing: this is for the text part alone")
    if config.method == "dora":
        notes.append("the time that DoRA adds is counted from its operations, not measured")
    if made.choice.offload:
        notes.append("offloaded activations wait in the machine's memory, not the card's")
    return notes


def _trained(config: PlanConfig, shapes: Architecture) -> int:
    setting = Setting(1, 1, rank=config.rank, target=config.target, method=config.method, bias=config.bias)
    return trainable(shapes, setting)


def _memory_basis(config: PlanConfig, shapes: Architecture, made: Estimate) -> str:
    """What the memory formulas rest on for this model and backend."""
    measured = str(data("calibration")["memory"].get("measured", ""))
    fitted = f"formulas fitted to Llama models with Unsloth in 4 bits ({measured})"
    choice = made.choice
    if not measured:
        return "Memory: formulas from the sources, not measured."
    others = {
        f"the {choice.backend} backend": choice.backend != "unsloth",
        f"{choice.bits} bits a weight": choice.bits != 4,
        f"the family {shapes.family}": shapes.family not in MEASURED,
        f"{choice.attention} attention": choice.attention != "efficient",
        "DoRA": config.method == "dora",
        "dropout": config.dropout > 0,
    }
    what = " and ".join(name for name, other in others.items() if other)
    return f"Memory: {fitted}; {what} not measured, so expect a larger error." if what else f"Memory: {fitted}."
