"""The bridge from the trainer's callbacks to our events, and the place where a run is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from lora_magic.events import Evaluated, Event, Stepped
from lora_magic.training.best import Best
from lora_magic.training.interrupt import Interrupt


class Progressed:
    """What a run has said so far; survives the trainer."""

    def __init__(self) -> None:
        self.steps: list[Stepped] = []
        self.evaluations: list[Evaluated] = []
        self.reason = "completed"
        self.began = time.monotonic()

    @property
    def last_step(self) -> int:
        """Optimiser steps made."""
        return self.steps[-1].step if self.steps else 0

    @property
    def seconds(self) -> float:
        """Since training began."""
        return time.monotonic() - self.began


class Bridge:
    """Emits events and stops the run on request, on early stop or at a broken loss.

    Args:
        progressed: filled as the run goes.
        emit: hands an event to the listeners.
        interrupt: asked at every safe point.
        best: decides on early stopping, or None.
        memory: GiB in use now.

    Attributes:
        trainer: the trainer it belongs to, set once that is built.
    """

    trainer: Any = None
    _clock = 0.0
    _tokens = 0

    def __init__(
        self,
        progressed: Progressed,
        emit: Callable[[Event], None],
        interrupt: Interrupt,
        best: Best | None,
        memory: Callable[[], float],
    ) -> None:
        self._progressed, self._emit, self._interrupt = progressed, emit, interrupt
        self._best, self._memory = best, memory

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Starts the step's clock."""
        self._clock = self._clock or time.monotonic()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measuring can stop anywhere."""
        self._interrupt.safe_point()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The update begins."""
        self._interrupt.hold()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ends the run where a stop was asked for; measures once more at the planned end."""
        control.should_log = True
        if self._interrupt.asked:
            self._progressed.reason = "interrupted"
            control.should_training_stop, control.should_evaluate = True, False
        elif state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """One step is done."""
        if not logs or "loss" not in logs or "learning_rate" not in logs:
            return
        now, seen = time.monotonic(), self.trainer.stepper.tokens_seen
        took, tokens = max(now - self._clock, 1e-9), seen - self._tokens
        self._clock, self._tokens = now, seen
        norm = logs.get("grad_norm")
        step = Stepped(
            step=state.global_step, loss=float(logs["loss"]), learning_rate=float(logs["learning_rate"]),
            gradient_norm=None if norm is None else float(norm), tokens_per_second=tokens / took,
            memory_gib=self._memory(), seconds=self._progressed.seconds, epoch=float(state.epoch or 0.0),
        )  # fmt: skip
        self._progressed.steps.append(step)
        self._emit(step)
        self._interrupt.release()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        """The held-out loss is known."""
        seen = Evaluated(state.global_step, float(metrics["eval_loss"]), self._progressed.seconds)
        self._progressed.evaluations.append(seen)
        self._emit(seen)
        self._clock = time.monotonic()
        if self._best is not None and self._best.is_over(seen, self.trainer.model):
            self._progressed.reason = "early stop"
            control.should_training_stop = True


def bridge(stack: SimpleNamespace, *args: Any) -> Any:
    """A `Bridge` (which takes `args`) that is one of transformers' callbacks."""
    return type("TrainingCallback", (Bridge, stack.transformers.TrainerCallback), {})(*args)
