"""Compare predicted peaks with measured ones, and fit the memory formulas' coefficients to them.

    python -m tests.benchmarks.gpu.fit_memory [ROWS.jsonl] [--write]

Prints each measured setting with its prediction before the fit, then the fitted coefficients and the errors they
leave. What counts is the square of the relative error, with predictions that fall short weighing more: a plan may
be up to 5% off but no more than 3% short. `--write` puts the coefficients into `lora_magic/planning/calibration.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_magic.planning.architecture import read
from lora_magic.planning.calibration import data
from lora_magic.planning.memory import GIB, peak
from lora_magic.planning.setting import Setting
from tests.benchmarks.gpu.fit_t4 import CALIBRATION

ROWS = Path(__file__).parent / "memory.jsonl"
# Path in calibration.json's "memory", lowest, highest.
COEFFICIENTS: tuple[tuple[tuple[str, ...], float, float], ...] = (
    (("activations", "unsloth"), 0.8, 1.3),
    (("activations", "transformers"), 0.8, 1.3),
    (("backward", "unsloth"), 0.5, 4.0),
    (("backward", "transformers"), 0.5, 4.0),
    (("bytes_a_logit", "fused"), 3.0, 16.0),
    (("bytes_a_logit", "full"), 8.0, 20.0),
    (("fixed_mib",), 0.0, 400.0),
)
SHORT, WEIGHT = 0.01, 30.0


def settings(rows: Sequence[dict[str, Any]]) -> list[tuple[Any, Setting, float]]:
    """Shapes, setting and measured GiB of the rows that ran."""
    return [
        (
            read(row["model"]),
            Setting(
                row["length"] * row["micro_batch"], row["length"], row["checkpointing"], bits=row["bits"],
                rank=row["rank"], optimizer=row["optimizer"], accumulation=row["accumulation"],
                backend=row["backend"], attention=row["attention"], padded=row["padded"],
                method=row.get("method", "lora"), dropout=row.get("dropout", 0.0),
                expanded=row.get("expanded", False),
            ),
            row["peak_gib"],
        )
        for row in rows
        if not row["failed"]
    ]  # fmt: skip


def errors(found: Sequence[tuple[Any, Setting, float]]) -> list[float]:
    """Predicted over measured, less one."""
    return [peak(model, setting) / GIB / measured - 1 for model, setting, measured in found]


def loss(found: Sequence[tuple[Any, Setting, float]]) -> float:
    """What the fit makes small."""
    return sum(e * e + WEIGHT * max(0.0, -SHORT - e) ** 2 for e in errors(found))


def fit(found: Sequence[tuple[Any, Setting, float]]) -> dict[str, Any]:
    """Set the coefficients in the loaded calibration, one at a time in ever smaller steps, and return them."""
    memory: dict[str, Any] = data("calibration")["memory"]
    share, best = 0.2, loss(found)
    while share > 1e-3:
        improved = False
        for path, low, high in COEFFICIENTS:
            group = memory[path[0]] if len(path) == 2 else memory
            for sign in (1, -1):
                old = group[path[-1]]
                group[path[-1]] = min(high, max(low, old + sign * share * (high - low)))
                now = loss(found)
                if now < best - 1e-12:
                    best, improved = now, True
                else:
                    group[path[-1]] = old
        share = share if improved else share / 2
    return memory


def table(found: Sequence[tuple[Any, Setting, float]]) -> str:
    """A line for each setting."""
    lines = [
        f"{s.backend:12} {m.hidden:5} x {m.layers:2}  {s.tokens // s.longest} x {s.longest:4}  {s.checkpointing:8}"
        f"{measured:7.2f} GiB {e:+7.1%}"
        for (m, s, measured), e in zip(found, errors(found), strict=True)
    ]
    made = errors(found)
    return "\n".join([*lines, f"{len(made)} settings: from {min(made):+.1%} to {max(made):+.1%}"])


def main() -> None:
    """Compare, fit, compare, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=Path, default=ROWS)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.rows.read_text().splitlines() if line]
    found = settings(rows)
    print(table(found))
    memory = fit(found)
    print("\nfitted:", json.dumps(memory))
    print(table(found))
    if options.write:
        content = json.loads(CALIBRATION.read_text())
        made = errors(found)
        content["memory"] = memory | {
            "measured": f"{len(made)} settings on {rows[-1]['card']}, {rows[-1]['date']}: "
            f"predictions from {min(made):+.1%} to {max(made):+.1%}"
        }
        CALIBRATION.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
