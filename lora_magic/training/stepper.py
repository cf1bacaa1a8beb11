"""An optimiser step's gradients, computed the plan's way, and again another way where that fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lora_magic.backends.base import Base
from lora_magic.backends.batches import let_go, out_of_memory
from lora_magic.backends.trainer import forget
from lora_magic.dataset.collate import StepRows
from lora_magic.errors import LoraError
from lora_magic.planning.passes import passes
from lora_magic.planning.run_plan import Plan

SCALED_DOWN = 4.0
"""What the scale of float16 gradients is divided by when they overflow."""


class Stepper:
    """Computes steps and held-out losses; a step that fails leaves nothing behind and is computed once more.

    A step is the mean loss over all trained tokens of its rows, however many passes that takes. Where memory runs
    out the plan's next way is taken from there on. Where float16 gradients overflow their scale is lowered. Rows
    whose loss is no number are left out of the step, which is said.

    Args:
        base: the model. key: the adapter that is trained.
        plan: the ways to compute a step.
        recovered: told in a line what went wrong and what was done.
        between: called between passes; may raise to leave the step.
        probe: rows as large as any pass will be, computed once before the first step; None for no such check.

    Attributes:
        tokens_seen: input tokens of the steps made, padding not counted.
        way: how steps are computed now.
        gradient_norm: of the last step's gradients, a scalar tensor; those of float16 are scaled.
    """

    def __init__(
        self,
        base: Base,
        key: str,
        plan: Plan,
        recovered: Callable[[str], None],
        between: Callable[[], None],
        probe: StepRows | None = None,
    ) -> None:
        self._base, self._key = base, key
        self._left = list(plan.ways)
        self._recovered, self._between, self._probe = recovered, between, probe
        self._state_bytes = plan.state_bytes
        self.way = self._left.pop(0)
        self.tokens_seen = 0
        self.gradient_norm: Any = None
        self._told = False

    def step(self, trainer: Any, model: Any, rows: StepRows) -> Any:
        """The step's mean loss as a scalar tensor; its gradients are on the model.

        Raises:
            LoraError: out of memory with nothing left to try, or a loss that is no number for any row.
        """
        if self._probe is not None:
            self._check(trainer, model, self._probe)
            self._probe = None
        state = _random_state()
        chosen = [i for i in range(len(rows)) if rows.trained([i])]
        while True:
            loss = self._tried(trainer, model, rows, chosen)
            finite, gradients_finite = self._finite(trainer, loss) if loss is not None else (True, False)
            if finite and gradients_finite:
                self.tokens_seen += sum(rows.lengths[i] for i in chosen)
                return loss
            forget(trainer.trained)
            _restore(state)
            if not finite:
                chosen = self._sound(trainer, model, rows, chosen, float(loss))
            elif loss is not None and not self._lower_scale(trainer):
                raise _broken(trainer, "The gradients are not finite")

    def measure(self, trainer: Any, model: Any, rows: StepRows) -> tuple[float, int]:
        """Summed loss in nats of rows that are not trained on, and the number of their trained tokens.

        Rows whose loss is no number are left out, which is said once.
        """
        chosen = [i for i in range(len(rows)) if rows.trained([i])]
        total, sound = 0.0, []
        for part in self._parts(rows, chosen, padded=True):
            loss = self._measured(trainer, model, rows, part)
            if not math.isfinite(loss):
                each = {i: self._measured(trainer, model, rows, [i]) for i in part}
                part = [i for i in part if math.isfinite(each[i])]
                loss = sum(each[i] for i in part)
            total += loss
            sound += part
            self._between()
        if len(sound) < len(chosen) and not self._told:
            self._told = True
            kind = self._base.facts.dtype
            self._recovered(f"held-out rows whose loss is no number in {kind} are left out of the held-out loss")
        return total, rows.trained(sound)

    def _tried(self, trainer: Any, model: Any, rows: StepRows, chosen: Sequence[int]) -> Any:
        """The step's loss, or None where memory ran out and another way has been taken."""
        try:
            return self._computed(trainer, model, rows, chosen)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        forget(trainer.trained)
        let_go()
        self._back_off(max(rows.lengths))
        return None

    def _computed(self, trainer: Any, model: Any, rows: StepRows, chosen: Sequence[int]) -> Any:
        import torch

        if not model.training:
            model.train()
        self._base.recompute(self._key, self.way.checkpointing, self.way.kept, expanded=self.way.expanded)
        trained, total = rows.trained(chosen), torch.zeros((), device=trainer.args.device)
        for part in self._parts(rows, chosen, padded=self.way.padded):
            self._between()
            with trainer.compute_loss_context_manager():
                loss = self._loss(trainer, model, rows, part, trained, padded=self.way.padded)
            trainer.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _loss(
        self, trainer: Any, model: Any, rows: StepRows, part: Sequence[int], trained: int, *, padded: bool
    ) -> Any:
        """Summed loss of a pass over `trained` tokens."""
        inputs = rows.padded(part, self._base.tokenizer.pad_token_id) if padded else rows.end_to_end(part)
        device = trainer.args.device
        placed = {k: v if k == "packed_seq_lengths" else v.to(device, non_blocking=True) for k, v in inputs.items()}
        if trainer.model_accepts_loss_kwargs:
            return trainer.compute_loss(model, placed, num_items_in_batch=trained)
        return trainer.compute_loss(model, placed) * (rows.trained(part) / trained)

    def _parts(self, rows: StepRows, chosen: Sequence[int], *, padded: bool) -> list[list[int]]:
        if not chosen:
            return []
        lengths = [rows.lengths[i] for i in chosen]
        cut = passes(lengths, tokens=self.way.tokens, rows=self.way.rows, padded=padded)
        return [[chosen[i] for i in part] for part in cut]

    def _measured(self, trainer: Any, model: Any, rows: StepRows, part: Sequence[int]) -> float:
        import torch

        trained = rows.trained(part)
        try:
            with torch.no_grad(), trainer.compute_loss_context_manager():
                return float(self._loss(trainer, model, rows, part, trained, padded=True)) * trained
        except RuntimeError as error:
            if not out_of_memory(error) or len(part) == 1:
                raise
        let_go()
        half = len(part) // 2
        return sum(self._measured(trainer, model, rows, some) for some in (part[:half], part[half:]))

    def _check(self, trainer: Any, model: Any, rows: StepRows) -> None:
        """Compute rows as large as any pass will be, until there is a way that fits beside the optimiser's states."""
        import torch

        state, chosen = _random_state(), list(range(len(rows)))
        states = math.ceil(self._state_bytes * sum(p.numel() for p in trainer.trained))
        reserved = torch.empty(states, dtype=torch.uint8, device=trainer.args.device)
        while self._tried(trainer, model, rows, chosen) is None:
            continue
        del reserved
        forget(trainer.trained)
        _restore(state)

    def _back_off(self, longest: int) -> None:
        """Take the next way.

        Raises:
            LoraError: there is none.
        """
        before = self.way
        if not self._left:
            raise LoraError(
                f"Memory ran out with one row of up to {longest:,} tokens at once and all activations recomputed.",
                "Give a smaller --max-length or --rank, load with --bits 4, or take a smaller model.",
            )
        self.way = self._left.pop(0)
        self._recovered(f"memory ran out with {before.title}; goes on with {self.way.title}")

    def _finite(self, trainer: Any, loss: Any) -> tuple[bool, bool]:
        """Whether the loss, and whether all gradients are finite; the card is waited for once."""
        import torch

        gradients = [p.grad for p in trainer.trained if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros_like(loss)
        self.gradient_norm = norm.to(loss.device)
        told = torch.stack([torch.isfinite(loss), torch.isfinite(self.gradient_norm)]).tolist()
        return bool(told[0]), bool(told[1])

    def _lower_scale(self, trainer: Any) -> bool:
        """Divide the scale of float16 gradients; False where there is none left to lower."""
        scaler = getattr(trainer.accelerator, "scaler", None)
        if scaler is None or not scaler.is_enabled() or scaler.get_scale() <= 1.0:
            return False
        scaler.update(max(1.0, scaler.get_scale() / SCALED_DOWN))
        return True

    def _sound(self, trainer: Any, model: Any, rows: StepRows, chosen: list[int], loss: float) -> list[int]:
        """The rows whose loss is a number.

        Raises:
            LoraError: none, or every one by itself, so that it is no row's fault.
        """
        import torch

        def alone(i: int) -> float:
            with torch.no_grad(), trainer.compute_loss_context_manager():
                return float(self._loss(trainer, model, rows, [i], rows.trained([i]), padded=self.way.padded))

        sound = [i for i in chosen if math.isfinite(alone(i))]
        if not sound or len(sound) == len(chosen):
            raise _broken(trainer, f"The loss is {loss}")
        left_out = len(chosen) - len(sound)
        self._recovered(
            f"the loss of {left_out} of {len(chosen)} rows is {loss} in {self._base.facts.dtype}; "
            f"{'it was' if left_out == 1 else 'they were'} left out of this step"
        )
        return sound


def _broken(trainer: Any, what: str) -> LoraError:
    step = trainer.state.global_step + 1
    rate = trainer.lr_scheduler.get_last_lr()[0] if trainer.lr_scheduler is not None else trainer.args.learning_rate
    return LoraError(
        f"{what} at step {step}, so the adapter is broken from there on.",
        f"Lower --lr (it was {rate:g} in this step), or check the rows.",
    )


def _random_state() -> tuple[Any, Any]:
    import torch

    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None


def _restore(state: tuple[Any, Any]) -> None:
    import torch

    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
