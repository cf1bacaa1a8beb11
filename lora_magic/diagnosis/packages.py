"""Packages against the ranges that this project, Unsloth and the rest of the stack declare for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from lora_magic.diagnosis.installed import Installed, allows, normal, packaging, tested
from lora_magic.results.doctor import FAILS, FINE, NOTE, Check

OURS = "lora_magic"
STACK = "torch transformers peft trl accelerate bitsandbytes datasets huggingface_hub tokenizers safetensors".split()
FOR_UNSLOTH = ("unsloth", "unsloth_zoo", "xformers", "torchvision", "torchao")
"""Packages without which, or with whose needs unmet, transformers still computes."""
UNSLOTH = ("unsloth", "unsloth_zoo")
_WEIGHTY = frozenset(normal(name) for name in (*STACK, *FOR_UNSLOTH))


def checks(installed: Installed, card: bool) -> Iterator[Check]:
    """One a package that a run imports; those that only other packages need are told where something is wrong.

    Args:
        installed: what is there.
        card: there is a card, so that a run would take Unsloth.
    """
    if packaging() is None:
        yield Check("packaging", "", FAILS, "no version can be compared without it", install=("packaging",))
        yield from _missing(installed)
        return
    needs = _needs(installed)
    own = {normal(need.name) for by, need in needs if by == OURS}
    if not own:
        yield Check(OURS, "", FAILS, "its own metadata cannot be read", install=(OURS,))
    named = {normal(need.name): need.name for _, need in needs}
    for name in sorted(named, key=lambda one: (one not in own, one)):
        asked = [(by, need) for by, need in needs if normal(need.name) == name]
        check = _check(installed, name, named[name], asked, card)
        if name in own or check.state != FINE:
            yield check
    yield from _unsloth(installed, card)


def _missing(installed: Installed) -> Iterator[Check]:
    """What is not there at all, told without reading versions."""
    for wanted in installed.declared(OURS):
        name = re.split(r"[^A-Za-z0-9._-]", wanted, maxsplit=1)[0]
        if normal(name) not in installed.versions and not wanted.partition(";")[2]:
            yield Check(name, "", FAILS, "missing", install=(wanted.replace(" ", ""),))


def _needs(installed: Installed) -> list[tuple[str, Any]]:
    """Who needs what: this project first, then the installed packages of the stack."""
    packages = [OURS, *(one for one in (*STACK, *FOR_UNSLOTH) if normal(one) in installed.versions)]
    return [(by, need) for by in packages for need in installed.requires(by)]


def _check(installed: Installed, name: str, spelled: str, asked: list[tuple[str, Any]], card: bool) -> Check:
    wanted = (requirement(spelled, [need for _, need in asked]),)
    if name in installed.broken:
        remedy = f'pip install --ignore-installed --no-deps "{wanted[0]}"'
        return Check(spelled, "", _state(asked, card), f"broken metadata: {installed.broken[name]}", remedy)
    version = installed.versions.get(name, "")
    unmet = [(by, need) for by, need in asked if not version or not allows(need, version)]
    if not unmet:
        known = tested().get(name, ())
        return Check(spelled, version, FINE, f"tested with {', '.join(known)}" if known else "")
    verb = "takes" if version else "needs"
    told = "; ".join(f"{by} {verb} {need.specifier or 'it'}" for by, need in unmet)
    return Check(
        spelled, version, _state(unmet, card, not version), told if version else f"missing: {told}", install=wanted
    )


def _state(unmet: Iterable[tuple[str, Any]], card: bool, missing: bool = True) -> str:
    """What unmet needs do to a run.

    It fails where this project's or a missing package's are among them; not where Unsloth's are alone and there is
    no card, and not for another version of a package that the stack itself only passes on.
    """
    asked = list(unmet)
    weighty = missing or any(by == OURS or normal(need.name) in _WEIGHTY for by, need in asked)
    return FAILS if weighty and (card or any(by not in FOR_UNSLOTH for by, _ in asked)) else NOTE


def requirement(name: str, needs: Iterable[Any]) -> str:
    """What to ask pip for: the newest tested version that all take, else the ranges themselves."""
    asked = list(needs)
    for version in reversed(tested().get(normal(name), ())):
        if normal(name) != "torch" and all(allows(need, version) for need in asked):
            return f"{name}=={version}"
    parts = sorted({part.strip() for need in asked for part in str(need.specifier).split(",") if part.strip()})
    return name + ",".join(parts)


def _unsloth(installed: Installed, card: bool) -> Iterator[Check]:
    """Unsloth and its other half, which are wanted on a card alone."""
    for name in UNSLOTH:
        version = installed.versions.get(normal(name), "")
        wanted = (f"{name}=={tested()[normal(name)][-1]}",)
        if normal(name) in installed.broken:
            told = f"broken metadata: {installed.broken[normal(name)]}"
            remedy = f'pip install --ignore-installed --no-deps "{wanted[0]}"'
            yield Check(name, "", FAILS if card else NOTE, told, remedy)
        elif version:
            yield Check(name, version, FINE, f"tested with {', '.join(tested()[normal(name)])}")
        elif card and name == UNSLOTH[0]:
            yield Check(
                name, "", NOTE, "missing: a run is about 2x slower without it", "pip install -U unsloth unsloth_zoo"
            )
