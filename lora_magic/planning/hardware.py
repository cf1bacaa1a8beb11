"""The machine a run happens on, and what it can compute in."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """One card, or the CPU.

    Attributes:
        kind: "cuda" or "cpu".
        name: such as "Tesla T4" or "CPU".
        capability: CUDA compute capability, (0, 0) on a CPU.
        total_bytes, free_bytes: memory of the card, or of the machine.
        cores: CPU cores.
    """

    kind: str
    name: str
    capability: tuple[int, int]
    total_bytes: int
    free_bytes: int
    cores: int

    @property
    def title(self) -> str:
        """How messages call it: `Tesla T4` or `CPU (2 cores)`."""
        return self.name if self.kind == "cuda" else f"CPU ({self.cores} cores)"

    @property
    def short(self) -> str:
        """The name without its maker: `T4` for `Tesla T4`."""
        return self.name.removeprefix("NVIDIA ").removeprefix("Tesla ").removeprefix("GeForce ")


def detect() -> Hardware:
    """The first visible card, else the CPU. Imports torch."""
    import psutil
    import torch

    cores = os.cpu_count() or 1
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(0)
        return Hardware("cuda", torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0), total, free, cores)
    memory = psutil.virtual_memory()
    return Hardware("cpu", "CPU", (0, 0), memory.total, memory.available, cores)


OVERFLOWING = (
    "embedding_gemma", "gemma3", "gemma4", "glm4_moe", "gpt_oss", "qwen3_5", "qwen3_moe",
)  # fmt: skip
"""Beginnings of the families whose activations or gradients overflow in float16 (Unsloth 2026.10.9 lists them so)."""


def compute_dtype(hardware: Hardware, wanted: str, bits: int, family: str = "") -> tuple[str, str]:
    """What to compute in, and why.

    A card's capability decides: bfloat16 arithmetic needs 8.0 (Ampere), whatever a driver reports of
    emulation. On a CPU 4- and 8-bit weights are computed with in float32, which every CPU does well, and so are
    families that overflow in float16 on a card that has nothing else of 16 bits.

    Args:
        wanted: "auto" or a dtype's name.
        bits: a weight, which decides on a CPU.
        family: config.json's `model_type`.

    Returns:
        The dtype's name and the reason in a few words.
    """
    if wanted != "auto":
        return wanted, "as asked"
    if bits == 32:
        return "float32", "32 bits a weight"
    if hardware.kind == "cpu":
        return ("bfloat16", "16 bits a weight") if bits == 16 else ("float32", "CPU")
    if hardware.capability >= (8, 0):
        return "bfloat16", f"{hardware.short}: has bfloat16"
    if family.startswith(OVERFLOWING):
        return "float32", f"{family} overflows in float16, and {hardware.short} has no bfloat16"
    return "float16", f"{hardware.short}: no bfloat16"


def used_gib(hardware: Hardware) -> float:
    """Memory in use now in GiB: allocated on the card, or resident in this process on a CPU."""
    import psutil
    import torch

    if hardware.kind == "cuda":
        return float(torch.cuda.memory_allocated()) / 2**30
    return float(psutil.Process().memory_info().rss) / 2**30
