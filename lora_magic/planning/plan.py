"""The fastest way to compute a run's steps that fits a card."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lora_magic.config.train import BIASES, METHODS, OPTIMIZERS
from lora_magic.errors import LoraError
from lora_magic.estimate import Alternative, Choice, Estimate
from lora_magic.planning.architecture import Architecture
from lora_magic.planning.calibration import data
from lora_magic.planning.calibration import tokens_per_row as usual_length
from lora_magic.planning.length import epoch_steps, run_steps
from lora_magic.planning.memory import GIB, STATE_BYTES, parts, weights
from lora_magic.planning.setting import Setting
from lora_magic.planning.speed import Card, step

MARGIN = 0.04
"""Share of a card's memory that a plan leaves free: 3% that predictions may be short, and gaps between allocations."""
HEADROOM = 1.25
"""A micro-batch's token budget over its rows' mean, so that few of them have to be cut."""
PADDING = 0.43
"""Rows of n are padded to 1 + 0.43 ln(n) times their mean length, where lengths are lognormal with a spread of 0.5."""
RUNNERS_UP = 4
BACKED_OFF = 0.85
"""After running out of memory, the next plan takes at most this share of the one before."""
KINDS = ("off", "some", "on", "offload")
PLAIN_KINDS = ("off", "on")
"""What transformers can do of them."""


@dataclass(frozen=True)
class Wanted:
    """What a plan is for; None is for the plan to choose.

    Attributes:
        batch: examples in an optimiser step.
        micro_batch: examples computed at once.
        checkpointing: "off", "some", "on" or "offload" ("unsloth" is the same).
        tokens_per_row: mean length of a row.
        longest: the longest row in tokens.
        bits, rank, target: of the base and the adapter.
        method, dropout, bias: as in `%%lora_train`.
        optimizer: as `%%lora_train --optimizer`.
        backend: "unsloth" or "transformers"; the latter pads rows and has no offload.
        full: train every weight.
        flash: flash attention may be used where the card has it.
        expanding: 4-bit weights may be dequantised once.
    """

    batch: int
    micro_batch: int | None
    checkpointing: str | None
    tokens_per_row: float
    longest: int
    bits: int
    rank: int
    target: str
    optimizer: str | None
    backend: str
    full: bool = False
    flash: bool = True
    method: str = "lora"
    dropout: float = 0.0
    bias: str = "none"
    expanding: bool = True


@dataclass(frozen=True)
class _Candidate:
    choice: Choice
    parts: dict[str, float]
    seconds: float

    @property
    def peak(self) -> float:
        return sum(self.parts.values())

    @property
    def order(self) -> tuple[float, int, int, float]:
        """Fastest first; of equals the plainest, then the smallest."""
        places = (list(STATE_BYTES).index(self.choice.optimizer), KINDS.index(self.choice.checkpointing))
        return (self.seconds, *places, self.peak)


def choose(
    architecture: Architecture,
    card: Card,
    *,
    batch: int = 8,
    micro_batch: int | None = None,
    checkpointing: str | None = None,
    tokens_per_row: float | None = None,
    longest: int = 2048,
    bits: int = 4,
    rank: int = 8,
    target: str = "all-linear",
    method: str = "lora",
    dropout: float = 0.0,
    bias: str = "none",
    optimizer: str | None = None,
    backend: str = "unsloth",
    free_gib: float | None = None,
    flash: bool = True,
    expanding: bool = True,
    rows: int | None = None,
    epochs: float = 3.0,
    steps: int | None = None,
    price_an_hour: float | None = None,
) -> Estimate:
    """The fastest plan that fits; where none does, the smallest, with what to lower.

    Args:
        architecture: the model's shapes. card: what it is to run on.
        batch: examples in an optimiser step. micro_batch, checkpointing, optimizer: pinned where given ("auto" is not).
        tokens_per_row: mean length of a row; the calibration's fallback where not given.
        longest: the longest row in tokens.
        bits: a weight. backend: "unsloth" or "transformers".
        rank, target, method, dropout, bias: of the adapter, as in `%%lora_train`.
        free_gib: what is free on the card now, where another process may be using it.
        flash: flash attention may be used where the card has it.
        expanding: 4-bit weights may be dequantised once; not where they would be in float32.
        rows, epochs: the run's length, or `steps`.
        price_an_hour: of the card, in any currency.

    Raises:
        LoraError: a pinned part that is unknown or cannot be, such as a micro-batch that does not divide the batch.
    """
    mean = tokens_per_row if tokens_per_row is not None else usual_length()
    wanted = _checked(
        Wanted(
            batch, micro_batch, {"auto": None, "unsloth": "offload"}.get(str(checkpointing), checkpointing),
            min(mean, longest), longest, bits, rank, target, None if optimizer == "auto" else optimizer, backend,
            flash=flash, method=method, dropout=dropout, bias=bias, expanding=expanding,
        )
    )  # fmt: skip
    room = _room(card, free_gib)
    ranked = _ranked(architecture, card, wanted, room)
    best = ranked[0]
    count = steps if steps is not None or rows is None else run_steps(rows, batch, epochs)
    full = float(count or 1) if rows is None or count is None else _examples(rows, batch, count) / batch
    seconds = best.seconds * full
    return Estimate(
        fits=best.peak <= room, peak_gib=best.peak / GIB, room_gib=room / GIB, card_gib=card.memory_gib,
        context_gib=card.context_gib, margin_gib=MARGIN * card.memory_gib,
        parts={name: size / GIB for name, size in best.parts.items()},
        seconds=seconds, seconds_a_step=best.seconds, steps=count,
        cost=seconds / 3600 * price_an_hour if price_an_hour is not None and count is not None else None,
        choice=best.choice, alternatives=_runners_up(ranked, room),
        back_off=_back_off(architecture, card, wanted, best), otherwise=_otherwise(architecture, card, wanted, room),
        reasons=_reasons(best, ranked, wanted, room), lower=_lower(architecture, card, wanted, room, best),
        basis=_basis(architecture, card, tokens_per_row is None, mean),
    )  # fmt: skip


def _examples(rows: int, batch: int, steps: int) -> int:
    """Examples in so many steps: the last one of an epoch has what is left."""
    epochs, more = divmod(steps, epoch_steps(rows, batch))
    return epochs * rows + min(more * batch, rows)


def _checked(wanted: Wanted) -> Wanted:
    if wanted.batch < 1 or wanted.tokens_per_row <= 0 or wanted.longest < 1:
        raise LoraError("A plan needs at least one example of at least one token.", "Check batch and tokens-per-row.")
    if wanted.micro_batch is not None and (wanted.micro_batch < 1 or wanted.batch % wanted.micro_batch):
        raise LoraError(
            f"batch {wanted.batch} cannot be cut into micro-batches of {wanted.micro_batch}.",
            "Choose a micro-batch that divides it.",
        )
    kinds = KINDS if wanted.backend == "unsloth" else PLAIN_KINDS
    for name, value, known in (
        ("checkpointing", wanted.checkpointing, kinds), ("optimizer", wanted.optimizer, OPTIMIZERS[1:]),
        ("bits", wanted.bits, (4, 8, 16, 32)), ("method", wanted.method, METHODS), ("bias", wanted.bias, BIASES),
        ("backend", wanted.backend, ("unsloth", "transformers")),
    ):  # fmt: skip
        if value is not None and value not in known:
            where = " with the transformers backend" if known == PLAIN_KINDS else ""
            raise LoraError(f"{name} cannot be {value!r}{where}.", f"Choose {', '.join(str(k) for k in known)}.")
    if wanted.method == "dora" and wanted.bits == 8:
        raise LoraError("peft 0.21 cannot train DoRA on 8-bit weights.", "Take bits 4 or 16, or method lora.")
    return wanted


def _room(card: Card, free_gib: float | None) -> float:
    usable = card.memory_gib - card.context_gib
    return max(0.0, min(usable, free_gib if free_gib is not None else usable) - MARGIN * card.memory_gib) * GIB


def _ranked(architecture: Architecture, card: Card, wanted: Wanted, room: float) -> list[_Candidate]:
    """All candidates, those that fit first and fastest first, then the others smallest first."""
    made = [_candidate(architecture, card, wanted, setting) for setting in _settings(architecture, card, wanted)]
    fitting = sorted((c for c in made if c.peak <= room), key=lambda c: c.order)
    return fitting + sorted((c for c in made if c.peak > room), key=lambda c: (c.peak, c.order))


def _settings(architecture: Architecture, card: Card, wanted: Wanted) -> Iterator[tuple[int, Setting]]:
    """Every way to compute a step that `wanted` leaves open, each with its micro-batch."""
    attention = "efficient"
    if card.capability >= (8, 0) and wanted.flash:
        attention = "flash"
    elif architecture.capped:
        attention = "math"
    base = Setting(
        1, wanted.longest, bits=wanted.bits, rank=wanted.rank, target=wanted.target, backend=wanted.backend,
        attention=attention, padded=wanted.backend == "transformers", full=wanted.full,
        method=wanted.method, dropout=wanted.dropout, bias=wanted.bias,
    )  # fmt: skip
    micros = [n for n in range(1, wanted.batch + 1) if wanted.batch % n == 0]
    for micro in [wanted.micro_batch] if wanted.micro_batch else micros:
        sized = base.but(tokens=_tokens(wanted, micro), accumulation=wanted.batch // micro)
        for optimizer in [wanted.optimizer] if wanted.optimizer else ["adamw", "adamw-8bit", "paged-adamw-8bit"]:
            for kind, kept in _checkpointings(architecture, wanted):
                packed = sized.but(optimizer=optimizer, checkpointing=kind, kept=kept)
                yield micro, packed
                if wanted.expanding and wanted.bits == 4 and not kept and not packed.dora:
                    yield micro, packed.but(expanded=True)


def _checkpointings(architecture: Architecture, wanted: Wanted) -> Iterable[tuple[str, int]]:
    some = [(kind, kept) for kind in ("on", "offload") for kept in range(1, architecture.layers)]
    whole = [("off", 0), ("on", 0), *([("offload", 0)] if wanted.backend == "unsloth" else [])]
    if wanted.checkpointing == "some":
        return some or [("on", 0)]
    if wanted.checkpointing is not None:
        return [(wanted.checkpointing, 0)]
    return [*whole, *(some if wanted.backend == "unsloth" else [])]


def _tokens(wanted: Wanted, micro: int) -> int:
    """The most tokens in a micro-batch: a rectangle where rows are padded, else the budget."""
    if wanted.backend == "transformers":
        return micro * wanted.longest
    return min(micro * wanted.longest, max(wanted.longest, math.ceil(HEADROOM * micro * wanted.tokens_per_row)))


def _candidate(architecture: Architecture, card: Card, wanted: Wanted, sized: tuple[int, Setting]) -> _Candidate:
    micro, setting = sized
    row = wanted.tokens_per_row
    if setting.padded:
        row = min(float(wanted.longest), row * (1 + PADDING * math.log(micro)))
    time = step(architecture, setting, card, tokens=wanted.batch * row, row=row)
    kind = "some" if setting.kept or wanted.checkpointing == "some" else setting.checkpointing
    recomputed = 0 if kind == "off" else architecture.layers - setting.kept
    choice = Choice(
        micro, setting.accumulation, setting.tokens, kind, recomputed, setting.checkpointing == "offload",
        setting.optimizer, setting.attention, setting.bits, setting.backend, setting.expanded,
    )  # fmt: skip
    return _Candidate(choice, parts(architecture, setting), time.total)


def _back_off(architecture: Architecture, card: Card, wanted: Wanted, best: _Candidate) -> tuple[Choice, ...]:
    """The fastest that takes less by a margin, again and again; the optimiser stays, since its states do."""
    free = replace(wanted, micro_batch=None, checkpointing=None, optimizer=best.choice.optimizer)
    others = [_candidate(architecture, card, free, sized) for sized in _settings(architecture, card, free)]
    chain = [best]
    while smaller := [c for c in others if c.peak <= BACKED_OFF * chain[-1].peak]:
        chain.append(min(smaller, key=lambda c: c.order))
    least = min(others, key=lambda c: (c.peak, c.order))
    if least.peak < chain[-1].peak:
        chain.append(least)
    return tuple(c.choice for c in chain[1:])


def _alternative(name: str, candidate: _Candidate, room: float) -> Alternative:
    return Alternative(name, candidate.choice, candidate.peak / GIB, candidate.seconds, candidate.peak <= room)


def _runners_up(ranked: list[_Candidate], room: float) -> tuple[Alternative, ...]:
    """The best of each other micro-batch and kind of checkpointing, and the fastest that does not fit."""
    fitting = {(c.choice.micro_batch, c.choice.checkpointing) for c in ranked if c.peak <= room}
    seen = {(ranked[0].choice.micro_batch, ranked[0].choice.checkpointing)}
    seen |= {(micro, "some") for micro, kind in fitting if kind == "off"}
    found: list[_Candidate] = []
    for candidate in ranked[1:]:
        key = (candidate.choice.micro_batch, candidate.choice.checkpointing)
        if key not in seen and candidate.peak <= room and len(found) < RUNNERS_UP:
            seen.add(key)
            found.append(candidate)
    beyond = [c for c in ranked[1:] if c.peak > room and c.seconds < ranked[0].seconds]
    found += sorted(beyond, key=lambda c: c.order)[:1]
    return tuple(_alternative(c.choice.title, c, room) for c in found)


def _otherwise(architecture: Architecture, card: Card, wanted: Wanted, room: float) -> tuple[Alternative, ...]:
    """The best that 16-bit LoRA and full fine-tuning could do, fitting or not."""
    free = replace(wanted, micro_batch=None, checkpointing=None)
    ways = {"16-bit LoRA": replace(free, bits=16), "full fine-tuning": replace(free, bits=32, full=True)}
    return tuple(_alternative(n, _ranked(architecture, card, w, room)[0], room) for n, w in ways.items())


def _reasons(best: _Candidate, ranked: list[_Candidate], wanted: Wanted, room: float) -> tuple[str, ...]:
    told = [f"{best.peak / GIB:.1f} of {room / GIB:.1f} GiB that may be allocated"]
    pinned = [n for n in ("micro_batch", "checkpointing", "optimizer") if getattr(wanted, n) is not None]
    if pinned:
        told.append(f"as asked: {', '.join(n.replace('_', '-') for n in pinned)}")
    faster = [c for c in ranked if c.peak > room and c.seconds < best.seconds]
    if best.peak > room:
        told.append("nothing fits: this is the smallest")
    elif faster:
        first = min(faster, key=lambda c: c.order)
        told.append(f"{first.choice.title} would be {best.seconds / first.seconds:.2f}x as fast and take "
                    f"{first.peak / GIB:.1f} GiB")  # fmt: skip
    else:
        told.append("nothing faster is known at these bits, whatever the memory")
    slow = max((c for c in ranked if c.peak <= room), key=lambda c: c.seconds, default=best)
    if slow.seconds > 1.02 * best.seconds:
        told.append(f"{slow.seconds / best.seconds:.2f}x as fast as {slow.choice.title}")
    return tuple(told)


def _lower(architecture: Architecture, card: Card, wanted: Wanted, room: float, best: _Candidate) -> tuple[str, ...]:
    """Single changes after which something fits, mildest first; else why nothing can. Nothing where it fits already."""
    if best.peak <= room:
        return ()
    changes: list[tuple[str, dict[str, Any]]] = []
    if any(getattr(wanted, n) is not None for n in ("micro_batch", "checkpointing", "optimizer")):
        free = {"micro_batch": None, "checkpointing": None, "optimizer": None}
        changes.append(("leave micro-batch, checkpointing and optimizer to the plan", free))
    if wanted.bits > 4:
        changes.append(("load in 4 bits", {"bits": 4}))
    for length in (n for n in (1024, 512, 256, 128) if n < wanted.longest):
        changes.append((f"cut rows at {length:,} tokens",
                        {"longest": length, "tokens_per_row": min(wanted.tokens_per_row, length)}))  # fmt: skip
    if wanted.rank > 8:
        changes.append(("use rank 8", {"rank": 8}))
    if wanted.method == "dora":
        changes.append(("train plain LoRA", {"method": "lora"}))
    if wanted.dropout:
        changes.append(("leave dropout out", {"dropout": 0.0}))
    told: list[str] = []
    for words, change in changes:
        changed = _ranked(architecture, card, replace(wanted, **change), room)[0]
        if changed.peak <= room and not (words.startswith("cut") and any(t.startswith("cut") for t in told)):
            told.append(f"{words}: {changed.peak / GIB:.1f} GiB")
    least = weights(architecture, 4) / GIB
    return tuple(told) or (
        f"choose a smaller model or a larger card: the weights alone take {least:.1f} GiB in 4 bits, and "
        f"{room / GIB:.1f} GiB may be allocated",
    )


def _basis(architecture: Architecture, card: Card, guessed: bool, mean: float) -> str:
    """What the estimate rests on, in a sentence or two."""
    speed = data("calibration")["speed"]
    told = f"An estimate: memory from config.json, time from a cost model {speed['short']}"
    if card.costs is not None:
        told = f"An estimate: memory from config.json, time from rates measured on {card.title}"
    elif card.name != "t4":
        told += f", carried over to {card.title} by its data sheet"
    if guessed:
        told += f"; rows taken as {mean:,.0f} tokens"
    if not architecture.known:
        told += f"; {architecture.family} taken to be built like Llama"
    return told + "."
