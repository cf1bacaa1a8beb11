"""The cards and their driver, as the driver's own tool tells them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lora_magic.results.doctor import FINE, NOTE, Check

QUERY = "name,driver_version,memory.total,memory.free,compute_cap"
OLDEST = (7, 0)
"""Compute capability that Unsloth's kernels need."""
BFLOAT16 = (8, 0)


@dataclass(frozen=True)
class Card:
    """One visible card.

    Attributes:
        name: as its driver calls it.
        driver: the driver's version.
        cuda: the newest CUDA that the driver runs, (0, 0) where it does not say.
        total_gib, free_gib: its memory.
        capability: CUDA's compute capability.
    """

    name: str
    driver: str
    cuda: tuple[int, int]
    total_gib: float
    free_gib: float
    capability: tuple[int, int]


def cards() -> tuple[Card, ...]:
    """The cards that this process may use; none where there is no driver or it does not answer."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip()
    if visible in ("", "-1"):
        return ()
    chosen = [] if visible == "all" or visible.startswith("MIG") else [f"--id={visible}"]
    told = _ask(f"--query-gpu={QUERY}", "--format=csv,noheader,nounits", *chosen)
    if not told:
        return ()
    header = re.search(r"CUDA(?: UMD)? Version\s*:\s*(\d+)\.(\d+)", _ask())
    cuda = (int(header[1]), int(header[2])) if header else (0, 0)
    return tuple(card for line in told.splitlines() if (card := _card(line, cuda)) is not None)


def checks(found: Sequence[Card]) -> Iterator[Check]:
    """The first card with what it can do, and its driver; or that there is none."""
    if not found:
        yield _without()
        return
    card = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    size = f"{card.name}{more}, {card.free_gib:.1f} of {card.total_gib:.1f} GiB free"
    if card.capability < OLDEST:
        told = f"compute capability {card.capability[0]}.{card.capability[1]}: Unsloth needs 7.0"
        yield Check("GPU", size, NOTE, told, "%lora_load MODEL --backend transformers")
    elif card.free_gib < card.total_gib / 2:
        yield Check("GPU", size, NOTE, "something else holds more than half of it", "restart other kernels")
    elif card.capability < BFLOAT16:
        yield Check("GPU", size, FINE, "computes in float16: no bfloat16")
    else:
        yield Check("GPU", size, FINE, "computes in bfloat16")
    runs = f"runs CUDA up to {card.cuda[0]}.{card.cuda[1]}" if card.cuda[0] else ""
    yield Check("driver", card.driver, FINE, runs)


def _without() -> Check:
    told = "trains on the CPU: right for the embedded model, slow for others"
    if "google.colab" in sys.modules:
        return Check("GPU", "", NOTE, told, "Runtime > Change runtime type > T4 GPU")
    if shutil.which("nvidia-smi") and os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() not in ("", "-1"):
        return Check("GPU", "", NOTE, "the driver does not answer", "restart this machine, or install the driver again")
    return Check("GPU", "", NOTE, told)


def _card(line: str, cuda: tuple[int, int]) -> Card | None:
    fields = [field.strip() for field in line.split(",")]
    try:
        major, minor = fields[4].split(".")
        capability = (int(major), int(minor))
        return Card(fields[0], fields[1], cuda, float(fields[2]) / 1024, float(fields[3]) / 1024, capability)
    except (IndexError, ValueError):
        return None


def _ask(*options: str) -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  the driver's own tool
            [program, *options], capture_output=True, text=True, errors="replace", timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
