"""The card of this machine as a plan needs it, found without importing torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace

from lora_magic.planning.calibration import data
from lora_magic.planning.hardware import detect
from lora_magic.planning.speed import Card, card

QUERY = "name,memory.total,memory.free,compute_cap"
CONTEXT_GIB = 0.5
"""What CUDA takes on a card that there are no figures for: the most of those in cards.json."""
SLICE_BANDWIDTH = 2.0
"""Part of a card's multiprocessors moves more than its share: 8 of an H200's 132 copy 646 of its 4,800 GB/s."""
SIZE_SPREAD = 0.1
"""Tools differ by up to this share in how much memory they say that a card has."""


@dataclass(frozen=True)
class Here:
    """The first visible card.

    Attributes:
        card: with the figures of its kind; where there are none, with a T4's rates.
        free_gib: what a run could allocate and have for its context, this process's own share included.
        known: there are figures for it.
        flash: torch may use flash attention where the card has it.
    """

    card: Card
    free_gib: float
    known: bool
    flash: bool = True


def card_here() -> Here | None:
    """The first visible card, or None; a share of it where this process holds torch's allocator to one.

    torch is asked where it runs on the card already, else nvidia-smi.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found = detect()
        total, processors = found.total_bytes / 2**30, torch.cuda.get_device_properties(0).multi_processor_count
        held = torch.cuda.get_per_process_memory_fraction() * total
        free = min(held, (found.free_bytes + torch.cuda.memory_reserved()) / 2**30)
        here = described(found.name, total, free, found.capability, has_context=True, processors=processors)
        ours = replace(here.card, memory_gib=min(here.card.memory_gib, held))
        return replace(here, card=ours, flash=torch.backends.cuda.flash_sdp_enabled())
    told = _nvidia_smi()
    fields = [field.strip() for field in told.split(",")]
    try:
        name, total, free, (major, minor) = fields[0], float(fields[1]), float(fields[2]), fields[3].split(".")
    except (IndexError, ValueError):
        return None
    return described(name, total / 1024, free / 1024, (int(major), int(minor)), has_context=False)


def described(
    name: str, total_gib: float, free_gib: float, capability: tuple[int, int], *, has_context: bool, processors: int = 0
) -> Here:
    """A card as plans need it.

    Args:
        name: as its driver calls it, such as "NVIDIA A100-SXM4-40GB".
        total_gib, free_gib: its memory.
        capability: CUDA's.
        has_context: this process's context is already taken from what is free.
        processors: multiprocessors that this process may use; 0 is all.
    """
    for key in (key for key, value in data("cards").items() if isinstance(value, dict)):
        known = card(key)
        if _same(name, total_gib, known):
            found = _part(replace(known, memory_gib=min(known.memory_gib, total_gib)), processors)
            break
    else:
        short = re.sub(r"^(NVIDIA |Tesla |GeForce )+", "", name)
        found = replace(
            card("t4"), name=name, title=short, memory_gib=total_gib, context_gib=CONTEXT_GIB, capability=capability
        )
    free = free_gib if has_context else free_gib - found.context_gib
    return Here(found, max(0.0, free), found.name != name)


def _part(whole: Card, processors: int) -> Card:
    """The card with the rates of those of its multiprocessors that a process is given."""
    if not 0 < processors < whole.multiprocessors:
        return whole
    share = processors / whole.multiprocessors
    return replace(
        whole, costs=None, title=f"{processors} of {whole.multiprocessors} multiprocessors of a {whole.title}",
        matrix_tflops=whole.matrix_tflops * share,
        bandwidth_gbs=whole.bandwidth_gbs * min(1.0, SLICE_BANDWIDTH * share),
    )  # fmt: skip


def _same(name: str, total_gib: float, known: Card) -> bool:
    """Whether a driver's name means this card: all words of its title but sizes, none that names a sibling."""
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    wanted = {word for word in re.findall(r"[a-z0-9]+", known.title.lower()) if not word.endswith("gb")}
    siblings = {"ti", "super", "laptop", "mobile", "max"} & words
    return wanted <= words and not siblings and abs(total_gib / known.memory_gib - 1) < SIZE_SPREAD


def _nvidia_smi() -> str:
    """The first visible card's line, or nothing."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    program = shutil.which("nvidia-smi")
    if program is None or visible in ("", "-1"):
        return ""
    try:
        done = subprocess.run(  # noqa: S603  the driver's own tool, with a number or an identifier
            [program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits", f"--id={visible}"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0] if done.returncode == 0 else ""
