"""The studio's steps: what each is for, what is done, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.display import units
from lora_magic.results import Comparison, DataReport, LoadResult, MergeResult, PlanResult, TrainResult

if TYPE_CHECKING:
    from lora_magic.session import Session

DONE, READY, MISSING = "done", "ready", "missing"


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        magic: whose form it shows.
        title: in a word.
        purpose: what stands beside it while it can be done and is not.
    """

    magic: str
    title: str
    purpose: str


STEPS = (
    Step("lora_load", "Model", "choose a base"),
    Step("lora_data", "Data", "see the rows as a model will, and what is wrong with them"),
    Step("lora_plan", "Plan", "see what a run takes on this card, or on a T4"),
    Step("lora_train", "Train", "train an adapter on the base"),
    Step("lora_compare", "Compare", "see base and adapter side by side"),
    Step("lora_merge", "Merge", "write the base with the adapter in it"),
)
_NO_MODEL, _NO_ADAPTER = "needs a model (step 1)", "needs an adapter (step 4)"


@dataclass(frozen=True)
class Standing:
    """How a step stands.

    Attributes:
        state: "done", "ready" or "missing".
        said: its result, its purpose, or what is missing, in a phrase.
    """

    state: str
    said: str


def standings(session: Session | None, results: Mapping[str, str]) -> dict[str, Standing]:
    """How each step stands, by its magic's name.

    Args:
        session: which knows of what was loaded and trained elsewhere too; None where nothing was so far.
        results: of the studio's own runs, each in a phrase, by magic, as far as they still hold.
    """
    base = session.status().base if session is not None else None
    adapters = list(session.adapters) if session is not None and base is not None else []
    found = {step.magic: Standing(READY, step.purpose) for step in STEPS}
    found |= {name: Standing(DONE, said) for name, said in results.items()}
    if base is not None:
        found["lora_load"] = Standing(DONE, phrase(base))
    else:
        found["lora_train"] = found["lora_compare"] = Standing(MISSING, _NO_MODEL)
    if adapters and "lora_train" not in results:
        found["lora_train"] = Standing(DONE, f"{', '.join(adapters)} on the base")
    if not adapters:
        for name in ("lora_compare", "lora_merge"):
            if found[name].state == READY:
                found[name] = Standing(MISSING, _NO_ADAPTER)
    return found


def first_open(found: Mapping[str, Standing]) -> str:
    """The magic of the step to begin with: the one after the last that is done; "" where that is the last."""
    done = [number for number, step in enumerate(STEPS) if found[step.magic].state == DONE]
    return following(STEPS[done[-1]].magic) if done else STEPS[0].magic


def following(magic: str) -> str:
    """The magic of the step after this one, or ""."""
    names = [step.magic for step in STEPS]
    return dict(pairwise(names)).get(magic, "")


def phrase(result: Any) -> str:
    """A step's result in a phrase; user text in it is not escaped."""
    if isinstance(result, LoadResult):
        return f"{result.model} at {result.bits} bits on {result.device}"
    if isinstance(result, DataReport):
        return _data(result)
    if isinstance(result, PlanResult):
        return _plan(result)
    if isinstance(result, TrainResult):
        return _trained(result)
    if isinstance(result, Comparison):
        columns = "two columns, blind" if result.votes is not None else ", ".join(result.adapters)
        return f"{columns} on {len(result.rows):,} rows"
    return f"{result.adapter} in {_from_here(result.path)}" if isinstance(result, MergeResult) else "done"


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _data(report: DataReport) -> str:
    wrong = sum(issue.severity in ("error", "warning") for issue in report.issues)
    said = f"{report.name}: {report.training_rows:,} rows to train on, {report.held_out_rows:,} held out"
    return f"{said}; {wrong} {'warning' if wrong == 1 else 'warnings'}" if wrong else said


def _plan(plan: PlanResult) -> str:
    said = f"{'fits' if plan.fits else 'does not fit'} {plan.card}: peak {units.gib(plan.peak_gib)}"
    return f"{said}, about {units.duration(plan.seconds)}" if plan.steps is not None else said


def _trained(result: TrainResult) -> str:
    made = result.losses[-1][0] if result.losses else 0
    if result.interrupted:
        return f"{result.name}: stopped at step {made:,} of {result.planned_steps:,}, and kept"
    steps = "1 step" if made == 1 else f"{made:,} steps"
    if len(result.eval_losses) > 1:
        first, last = (units.loss(loss) for loss in (result.eval_losses[0][1], result.eval_losses[-1][1]))
        return f"{result.name}: {steps}, held-out loss {first} to {last}"
    return f"{result.name}: {steps}"
