"""What `%lora_adapters` can be asked for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lora_magic.config.fields import Config, option
from lora_magic.errors import LoraError

COMBINATIONS = ("cat", "svd", "linear", "ties", "dare")
NAME = re.compile(r"[\w][\w \-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class AdaptersConfig(Config):
    """Nothing: the list. Else what comes in, what is mixed, or what goes."""

    import_from: str | None = option(
        None, "put a saved adapter on the base: a folder, a run or a Hub id", metavar="FOLDER|ID",
        spelled="import", offers="adapter or folder",
    )  # fmt: skip
    combine: str | None = option(
        None, "make a new adapter of several, each with its weight: a=0.7,b=0.3 (1 unless given)",
        metavar="NAMES", rest=True, offers="adapters",
    )  # fmt: skip
    method: str = option(
        "cat", "how: cat is the exact sum, of all ranks together; svd the closest of one rank; the others are rougher",
        choices=COMBINATIONS,
    )  # fmt: skip
    density: float = option(0.5, "share of each update that ties and dare keep", above=0, high=1)
    rank: int | None = option(None, "of the adapter that svd makes (the largest of its parts unless given)", low=1)
    remove: str | None = option(None, "take an adapter off the base; its files stay", metavar="NAME", offers="adapter")
    name: str | None = option(None, "what the new adapter is called", metavar="NAME", spelled="as")
    seed: int = option(0, "for what dare drops", low=0, high=2**32 - 1)

    def check(self) -> None:
        """One thing at a time, and a new adapter has a name that can be one."""
        moves = {"import": self.import_from, "combine": self.combine, "remove": self.remove}
        asked = [spelled for spelled, value in moves.items() if value is not None]
        if len(asked) > 1:
            raise LoraError(f"--{asked[0]} and --{asked[1]} are two things.", "Ask for one at a time.")
        if self.combine is not None and self.name is None:
            raise LoraError("The combined adapter needs a name.", "Add --as NAME.")
        if self.name is not None and not asked[:1]:
            raise LoraError("--as names what --import or --combine makes.", "Give one of them.")
        if self.name is not None and (not NAME.fullmatch(self.name) or self.name.lower() == "base"):
            raise LoraError(f"{self.name!r} cannot be an adapter's name.", "Use letters, digits, spaces, - and _.")
        _ = self.weights

    @property
    def weights(self) -> dict[str, float]:
        """Weight by the name of each adapter to combine, in order.

        Raises:
            LoraError: a weight that is no number, or fewer than two adapters.
        """
        if self.combine is None:
            return {}
        found: dict[str, float] = {}
        for part in filter(None, (p.strip() for p in self.combine.split(","))):
            name, _, text = part.partition("=")
            try:
                value = float(text) if text else 1.0
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise LoraError(f'"{part}" has no number for a weight.', "For example --combine a=0.7,b=0.3.")
            if name.strip() in found:
                raise LoraError(f'"{name.strip()}" is named twice.', "Give each adapter one weight.")
            found[name.strip()] = value
        if len(found) < 2:
            raise LoraError("Combining takes two adapters or more.", "For example --combine a=0.7,b=0.3.")
        return found
