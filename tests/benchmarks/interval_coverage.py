"""How often the 95% intervals hold the truth: `python tests/benchmarks/interval_coverage.py [DRAWS]`.

Rows are drawn from laws whose mean is known, as many times as asked (2,000 unless given), and each draw gets ours, the
percentile bootstrap's and BCa's interval. Binary rows have a share drawn from 5 to 95%, and pairs of binary rows 5 to
60% of pairs that differ: at one share alone the coverage of any interval jumps with the number of rows. The heavy
law is there to show where every method falls short. Takes 3 minutes on one core.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

from lora_magic.evaluation.intervals import Bootstrap
from lora_magic.evaluation.measures import Scored, measure

DRAWS, RESAMPLES, SEEDS = 2000, 2000, 10
SIZES = (20, 50, 100, 200)
Rng = np.random.Generator
LABELS = {"yes": 0.5, "no": 0.3, "perhaps": 0.2}
Law = Callable[[Rng, int], tuple[Any, float]]
"""Rows, and the mean of the law that they were drawn from."""


def binary(rng: Rng, rows: int) -> tuple[Any, float]:
    """Right and wrong answers."""
    share = rng.uniform(0.05, 0.95)
    return (rng.random(rows) < share).astype(float), share


def binary_pairs(rng: Rng, rows: int) -> tuple[Any, float]:
    """Differences of right and wrong answers."""
    differ, up = rng.uniform(0.05, 0.6), rng.uniform(0.1, 0.9)
    drawn = rng.random(rows)
    ups, downs = drawn < differ * up, (drawn >= differ * up) & (drawn < differ)
    return ups.astype(float) - downs, differ * (2 * up - 1)


def f1_like(rng: Rng, rows: int) -> Any:
    """Two fifths zeros, a fifth ones, the rest between."""
    drawn = rng.random(rows)
    return np.where(drawn < 0.4, 0, np.where(drawn < 0.6, 1, rng.beta(2, 2, size=rows)))


def f1_pairs(rng: Rng, rows: int) -> tuple[Any, float]:
    """Half the rows answered alike, the rest not."""
    return np.where(rng.random(rows) < 0.5, 0, f1_like(rng, rows) - 0.8 * f1_like(rng, rows)), 0.5 * 0.2 * 0.4


VALUES: dict[str, tuple[Law, float | None]] = {
    "binary": (binary, 1.0),
    "token F1, many 0 and 1": (lambda rng, rows: (f1_like(rng, rows), 0.4), 1.0),
    "shares, skewed": (lambda rng, rows: (rng.beta(0.5, 1.5, size=rows), 0.25), 1.0),
    "lengths, exponential": (lambda rng, rows: (rng.exponential(size=rows), 1.0), None),
    "lengths, log-normal": (lambda rng, rows: (np.exp(rng.normal(size=rows) / 2), math.exp(1 / 8)), None),
    "log-normal, heavy": (lambda rng, rows: (np.exp(rng.normal(size=rows)), math.exp(1 / 2)), None),
}
DIFFERENCES: dict[str, tuple[Law, float | None]] = {
    "binary pairs": (binary_pairs, 1.0),
    "token F1 pairs": (f1_pairs, 1.0),
    "losses": (lambda rng, rows: (rng.gamma(1, size=rows) - rng.gamma(2, size=rows) / 2, 0.0), None),
    "normal": (lambda rng, rows: (rng.normal(size=rows), 0.0), None),
}


def labels(rng: Rng, rows: int) -> tuple[list[str], list[str], list[str]]:
    """The right labels, those of a column that is right on 2/3 of rows, and of one on 4/5."""
    truth = rng.choice(list(LABELS), size=rows, p=list(LABELS.values()))
    given = [np.where(rng.random(rows) < sure, truth, rng.choice(list(LABELS), size=rows)) for sure in (0.5, 0.7)]
    return truth.tolist(), given[0].tolist(), given[1].tolist()


def macro_f1(sure: float) -> float:
    """What `labels` gives with this share of sure answers, the rest guessed."""
    shares, kinds = np.array(list(LABELS.values())), len(LABELS)
    right, told = shares * (sure + (1 - sure) / kinds), shares * sure + (1 - sure) / kinds
    return float(np.mean(2 * right / (shares + told)))


def losses(rng: Rng, rows: int) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
    """Rows of 20 tokens or so, log-normal, of 1.4 and of 1.2 nats a token."""
    tokens = np.maximum(1, np.rint(np.exp(3 + 0.8 * rng.normal(size=rows)))).astype(int)
    nats = [tokens * (mean + 0.4 * rng.normal(size=rows)) for mean in (1.4, 1.2)]
    first, second = (list(zip(of.tolist(), tokens.tolist(), strict=True)) for of in nats)
    return first, second


def of_figures(rows: int, draws: int) -> dict[str, float]:
    """The share of draws whose interval holds the truth, of figures that are of all rows together."""
    rng = np.random.default_rng([1, rows])
    held: dict[str, float] = {}
    truths = {"held-out-loss": (1.4, 1.2), "macro-f1": (macro_f1(0.5), macro_f1(0.7))}
    for number in range(draws):
        truth, *given = labels(rng, rows)
        found = measure(
            [Scored("", right, {"base": one, "tuned": other}) for right, one, other in zip(truth, *given, strict=True)],
            ["base", "tuned"], baseline="base", wanted=list(truths),
            losses=dict(zip(("base", "tuned"), losses(rng, rows), strict=True)), seed=number % SEEDS,
        )  # fmt: skip
        for one in found.measures:
            base, tuned = truths[one.name]
            value, difference = one.values["base"], one.differences["tuned"]
            for name, of, right in ((one.title, value, base), (f"{one.title}, difference", difference, tuned - base)):
                held[name] = held.get(name, 0) + (of.low <= right <= of.high) / draws
    return held


def ours(bootstrap: Bootstrap, rows: Any, top: float | None, paired: bool) -> tuple[float, float]:
    """The interval that is shown."""
    made = bootstrap.difference(np.zeros(len(rows)), rows, top=top) if paired else bootstrap.value(rows, top=top)
    return made.low, made.high


def percentile(means: Any) -> tuple[float, float]:
    """The middle 95% of the draws."""
    low, high = np.quantile(means, [0.025, 0.975])
    return low, high


def bca(rows: Any, means: Any) -> tuple[float, float]:
    """Bias-corrected and accelerated (Efron 1987)."""
    off = rows - rows.mean()
    spread = float((off**2).sum())
    if spread == 0:
        return rows.mean(), rows.mean()
    law = NormalDist()
    below = ((means < rows.mean() - 1e-12).mean() + (means <= rows.mean() + 1e-12).mean()) / 2
    bias = law.inv_cdf(min(max(below, 1 / len(means)), 1 - 1 / len(means)))
    pull = float((off**3).sum()) / (6 * spread**1.5)
    ends = [law.cdf(bias + (bias + z) / (1 - pull * (bias + z))) for z in (-1.959964, 1.959964)]
    low, high = np.quantile(means, ends)
    return low, high


def coverage(law: Law, top: float | None, rows: int, draws: int, paired: bool, seed: int = 1) -> dict[str, float]:
    """The share of draws whose interval holds the truth, by method."""
    rng = np.random.default_rng([seed, rows])
    bootstraps = [Bootstrap(number, RESAMPLES) for number in range(SEEDS)]
    weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES) / rows
    held = dict.fromkeys(("ours", "percentile", "BCa"), 0)
    for number in range(draws):
        drawn, truth = law(rng, rows)
        means = weights @ drawn
        shown = ours(bootstraps[number % SEEDS], drawn, top, paired)
        found = {"ours": shown, "percentile": percentile(means), "BCa": bca(drawn, means)}
        for method, (low, high) in found.items():
            held[method] += low - 1e-9 <= truth <= high + 1e-9
    return {method: number / draws for method, number in held.items()}


def main(draws: int) -> None:
    """Prints a line for each law and number of rows."""
    print(f"{'law':26} {'rows':>4} {'ours':>7} {'percentile':>11} {'BCa':>7}")
    for rows in SIZES:
        for name, share in of_figures(rows, draws).items():
            print(f"{name:26} {rows:4} {share:7.1%}", flush=True)
    for paired, laws in ((False, VALUES), (True, DIFFERENCES)):
        for name, (law, top) in laws.items():
            for rows in SIZES:
                found = coverage(law, top, rows, draws, paired)
                cells = f"{found['ours']:7.1%} {found['percentile']:11.1%} {found['BCa']:7.1%}"
                print(f"{name:26} {rows:4} {cells}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS)
