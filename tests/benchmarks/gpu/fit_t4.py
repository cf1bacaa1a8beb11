"""Fit the cost model's parameters, and one mean row length a data set, to runs recorded on real T4s.

    python -m tests.benchmarks.gpu.fit_t4 [RUNS.csv] [--write]

Least squares of the logarithms (Levenberg-Marquardt) within physical bounds, with a weak pull of each parameter
towards a value that is known from elsewhere; no row has a parameter of its own. Prints each row's recorded and
modelled seconds, and its error when the model is fitted without it. `--write` puts the result into
`lora_magic/planning/calibration.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lora_magic.planning
from lora_magic.planning.architecture import Architecture, read
from lora_magic.planning.setting import Setting
from lora_magic.planning.speed import Costs, card, step
from tests.planning import configs

RECORDED = Path(__file__).parent / "recorded_t4.csv"
CALIBRATION = Path(lora_magic.planning.__file__).parent / "calibration.json"
SHAPES = {
    "Llama-3.1-8B": configs.LLAMA_8B, "Llama-3-8B": configs.LLAMA_8B, "Llama-3.2-3B": configs.LLAMA_3B,
    "Llama-3.2-1B": configs.LLAMA_1B, "Qwen2.5-7B": configs.QWEN2_7B, "Mistral-7B-v0.3": configs.MISTRAL_7B,
    "Mistral-Small-22B": configs.MISTRAL_22B, "Gemma-2-2B": configs.GEMMA_2_2B,
    "Phi-3.5-mini": configs.PHI_35_MINI, "Gemma-7B": configs.GEMMA_7B,
}  # fmt: skip
# name: lowest, highest, expected, and the spread (of the logarithm) within which it is expected.
PARAMETERS = {
    "matrix_share": (0.15, 1.0, 0.4, 0.35),  # a T4 holds neither its clock nor its 70 W rate for long
    "bandwidth_share": (0.4, 1.0, 0.75, 0.3),  # plain copies reach about 240 of 320 GB/s
    "dequantisation_passes": (1.0, 4.0, 1.5, 0.5),
    "launch_us": (25.0, 100.0, 50.0, 0.2),  # Unsloth notes 0.25-0.4 s a micro-batch of models with 28-36 blocks
    "exposed": (0.01, 1.0, 0.5, 1.0),
    "step_ms": (1.0, 100.0, 20.0, 1.0),
}
LENGTHS = (40.0, 2048.0, 500.0, 2.0)
PULL = 0.1


@dataclass(frozen=True)
class Run:
    """One recorded run."""

    model: str
    dataset: str
    steps: int
    micro_batch: int
    accumulation: int
    seconds: float

    @property
    def shapes(self) -> Architecture:
        """Of its model."""
        return read(SHAPES[self.model])


def recorded(path: Path) -> list[Run]:
    """The runs of a csv file with the recorded ones' columns."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [
        Run(r["model"], r["dataset"], int(r["steps"]), int(r["micro_batch"]), int(r["grad_accum"]), float(r["seconds"]))
        for r in csv.DictReader(lines)
    ]


def modelled(run: Run, costs: Costs, length: float) -> float:
    """Seconds of the run according to the model."""
    shapes = run.shapes
    setting = Setting(
        1, 1, "offload", accumulation=run.accumulation, attention="math" if shapes.capped else "efficient"
    )
    tokens = run.micro_batch * run.accumulation * length
    return run.steps * step(shapes, setting, card("t4"), tokens=tokens, row=length, costs=costs).total


def fit(runs: Sequence[Run]) -> tuple[Costs, dict[str, float]]:
    """The parameters, and each data set's mean row length."""
    names = sorted({run.dataset for run in runs})
    table = np.array([*PARAMETERS.values(), *[LENGTHS] * len(names)])
    low, high, expected, spread = table.T

    def split(logs: Any) -> tuple[Costs, dict[str, float]]:
        values = [float(v) for v in np.exp(logs)]
        return Costs(*values[: len(PARAMETERS)]), dict(zip(names, values[len(PARAMETERS) :], strict=True))

    def residuals(logs: Any) -> Any:
        costs, lengths = split(logs)
        misses = [np.log(modelled(run, costs, lengths[run.dataset]) / run.seconds) for run in runs]
        return np.concatenate([misses, np.sqrt(PULL) * (logs - np.log(expected)) / spread])

    at, damping = np.log(expected), 1.0
    for _ in range(300):
        now = residuals(at)
        slope = np.stack([(residuals(at + 1e-5 * e) - now) / 1e-5 for e in np.eye(len(at))], axis=1)
        move = np.linalg.solve(slope.T @ slope + damping * np.eye(len(at)), -slope.T @ now)
        new = np.clip(at + move, np.log(low), np.log(high))
        better = np.sum(residuals(new) ** 2) < np.sum(now**2)
        at, damping = (new, damping / 3) if better else (at, damping * 3)
        if damping > 1e12:
            break
    return split(at)


def fallback(lengths: dict[str, float]) -> float:
    """The length for a data set that has none: the geometric mean, to ten tokens."""
    return float(10 * round(float(np.exp(np.mean(np.log(list(lengths.values()))))) / 10))


def without(runs: Sequence[Run], run: Run) -> float:
    """The relative error at `run` of a model that was fitted to the others."""
    costs, lengths = fit([other for other in runs if other is not run])
    return modelled(run, costs, lengths.get(run.dataset, fallback(lengths))) / run.seconds - 1


def write(path: Path, costs: Costs, lengths: dict[str, float], runs: Sequence[Run]) -> None:
    """Put the fit into calibration.json, everything else left as it is."""
    worst = max(abs(modelled(r, costs, lengths[r.dataset]) / r.seconds - 1) for r in runs)
    content = json.loads(path.read_text())
    content["speed"] = {
        "note": f"fitted by tests/benchmarks/gpu/fit_t4.py to {len(runs)} runs recorded on T4s, which used older "
        "versions of Unsloth; other cards take the same shares of their data sheets",
        "short": f"fitted to {len(runs)} runs recorded on T4s, each within {worst:.0%}",
        "costs": {k: float(f"{v:.4g}") for k, v in asdict(costs).items()},
    }
    content["tokens_per_row"] = {k: round(v) for k, v in lengths.items()} | {"fallback": round(fallback(lengths))}
    path.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Fit, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, default=RECORDED)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    runs = recorded(options.runs)
    costs, lengths = fit(runs)
    print("\n".join(f"{name:22} {value:.4g}" for name, value in {**asdict(costs), **lengths}.items()))
    print(f"\n{'model':18} {'data set':30} {'recorded':>9} {'model':>8} {'error':>7} {'left out':>9}")
    for run in runs:
        made = modelled(run, costs, lengths[run.dataset])
        shown = f"{run.seconds:8.0f}s {made:7.0f}s {made / run.seconds - 1:+7.0%} {without(runs, run):+9.0%}"
        alone = "" if sum(r.dataset == run.dataset for r in runs) > 1 else "  (its data set's only row)"
        print(f"{run.model:18} {run.dataset:30} {shown}{alone}")
    if options.write:
        write(CALIBRATION, costs, lengths, runs)


if __name__ == "__main__":
    main()
