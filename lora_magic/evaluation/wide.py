"""The base in 16 bits, loaded beside the one in use for as long as a column of it is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lora_magic.backends.base import Base, BaseFacts, Loader, Phases
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError

# Activations and the cache of keys and values come on top of the weights.
ROOM = 1.25
BYTES = 2


def check_wide(facts: BaseFacts) -> None:
    """Hold a base in 16 bits against the memory that is free, before anything is made.

    Raises:
        LoraError: the base is no smaller than that already, it is stored quantised, or memory does not hold both.
    """
    from lora_magic.backends.fetch import stored_quantisation
    from lora_magic.planning.hardware import detect

    if facts.bits >= 16:
        raise LoraError(f"{facts.model} is loaded at {facts.bits} bits already.", "Leave base-16bit out.")
    if stored_quantisation(facts.path, _config(facts)) is not None:
        raise LoraError(
            f"{facts.model} is stored at {facts.bits} bits: its 16-bit weights are not there.", "Leave base-16bit out."
        )
    needed, free = int(facts.parameters * BYTES * ROOM), detect().free_bytes
    if needed > free:
        raise LoraError(
            f"base-16bit needs {needed / 2**30:.1f} GiB beside the base; {free / 2**30:.1f} GiB are free.",
            "Leave it out, or compare on a larger card.",
        )


@contextmanager
def wide_base(facts: BaseFacts, loader: Loader | None, phases: Phases) -> Iterator[Base]:
    """The same base in 16 bits, freed when the block is left; the one in use stays as it is.

    Args:
        facts: the base in use.
        loader: the way in; the one that fits the base unless given.
        phases: where the weights' loading is reported.

    Raises:
        LoraError: memory does not hold it, or it cannot be loaded.
    """
    from lora_magic.backends.choose import choose

    check_wide(facts)
    config = _config(facts)
    base = (loader or choose(config, facts.path, phases))(config, facts.path, phases)
    try:
        yield base
    finally:
        base.free()


def _config(facts: BaseFacts) -> LoadConfig:
    return LoadConfig(
        facts.model, bits=16, max_length=facts.max_length, backend=facts.backend, revision=facts.revision,
        trust_remote_code=facts.trust_remote_code,
    )  # fmt: skip
