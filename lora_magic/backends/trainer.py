"""trl's SFTTrainer as the training shell: our order of rows, our steps, no metrics nobody asked for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, Protocol

from lora_magic.dataset.collate import StepRows
from lora_magic.dataset.order import epoch_order


class EpochOrder:
    """The order of rows: a fresh shuffle every epoch that depends on the seed and the epoch alone."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        return iter(epoch_order(self.rows, seed=self.seed, epoch=self.epoch))

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch


def learning_rate_share(step: int, steps: int, warmup: int, kind: str) -> float:
    """The learning rate of a step as a share of its peak.

    Args:
        step: 0 for the first.
        steps: in the run.
        warmup: steps that rise to the peak, the first of them at 1 / `warmup`.
        kind: "cosine" or "linear" fall to 0 after the last step, "constant" stays.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if kind == "constant" or done < 0:
        return 1.0
    return max(0.0, 1.0 - done if kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done)))


class Stepper(Protocol):
    """Computes steps and losses in place of a trainer."""

    gradient_norm: Any

    def step(self, trainer: Any, model: Any, rows: StepRows) -> Any:
        """Leave the step's gradients on the model; the mean loss a trained token, a scalar tensor."""

    def measure(self, trainer: Any, model: Any, rows: StepRows) -> tuple[float, int]:
        """Summed loss in nats of rows that are not trained on, and the number of their trained tokens."""


def forget(parameters: Iterable[Any]) -> None:
    """Drop their gradients."""
    for parameter in parameters:
        parameter.grad = None


def trainer_class(stack: SimpleNamespace) -> type[Any]:
    """A subclass of the stack's SFTTrainer for rows that carry their own labels."""
    torch, transformers = stack.torch, stack.transformers

    class LabelledTrainer(stack.SFTTrainer):  # type: ignore[name-defined]
        """Takes a step's rows at once and leaves to `stepper` how they are computed.

        A model with adapters has thousands of modules, and asking each for its weights takes as long as the host
        needs for a block, so the trained weights are listed once.
        """

        stepper: Stepper
        trained: list[Any]
        control: Any

        def train(self, *args: Any, **kwargs: Any) -> Any:
            """The run, in which the model drops the gradients of what is trained alone."""
            self.trained = [p for p in self.model.parameters() if p.requires_grad]
            self.model.__dict__["zero_grad"] = lambda set_to_none=True: forget(self.trained)
            try:
                return super().train(*args, **kwargs)
            finally:
                del self.model.__dict__["zero_grad"]

        def _clip_grad_norm(self, model: Any) -> Any:
            """The norm before clipping, which the stepper knows but for the scale of float16 gradients."""
            self.accelerator.unscale_gradients()
            scaler = self.accelerator.scaler
            scale = scaler.get_scale() if scaler is not None and scaler.is_enabled() else 1.0
            norm = self.stepper.gradient_norm / scale
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.args.max_grad_norm, norm)
            return norm

        def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
            return EpochOrder(len(train_dataset or self.train_dataset), self.args.seed)

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], None]:
            """One batch is a whole step; its trained tokens are counted where it is cut."""
            return list(itertools.islice(epoch_iterator, num_batches)), None

        def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
            """One optimiser step's gradients."""
            return self.stepper.step(self, model, inputs["rows"])

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            """Mean loss a trained token; trl's extra entropy and accuracy over all logits are left out."""
            return transformers.Trainer.compute_loss(self, model, {**inputs, "use_cache": False}, *args, **kwargs)

        def floating_point_ops(self, inputs: dict[str, Any]) -> int:
            """Counted by nobody."""
            return 0

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            """A warm-up that learns from its first step on, where transformers' first step has rate 0."""
            kind, warmup = str(self.args.lr_scheduler_type.value), int(self.args.warmup_steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: learning_rate_share(step, num_training_steps, warmup, kind)
            )
            self._created_lr_scheduler = True
            return self.lr_scheduler

        def evaluation_loop(
            self, dataloader: Any, description: str, *_: Any, metric_key_prefix: str = "eval", **__: Any
        ) -> Any:
            """The mean over all trained tokens of the held-out rows; nan where none has a loss.

            A data loader draws a random number; put back, so that measuring never changes what is learned.
            """
            total, count, rows = 0.0, 0, 0
            self.model.eval()
            with torch.random.fork_rng():
                for inputs in dataloader:
                    nats, trained = self.stepper.measure(self, self.model, inputs["rows"])
                    total, count, rows = total + nats, count + trained, rows + len(inputs["rows"])
                    self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
            metrics = {f"{metric_key_prefix}_loss": total / count if count else math.nan}
            return transformers.trainer_utils.EvalLoopOutput(None, None, metrics, rows)

    return LabelledTrainer


def build_trainer(stack: SimpleNamespace, model: Any, tokenizer: Any, stepper: Stepper, **parts: Any) -> Any:
    """A trainer whose trainable weights are exactly the model's own, in float32.

    trl casts the adapter of a 4-bit model to bfloat16: that rounds its start, and float16's gradient scaler
    cannot take bfloat16 gradients. So the weights are kept aside and put back after the trainer is built.

    Args:
        model: a PeftModel with the adapter to train active.
        stepper: computes its steps.
        parts: args, train_dataset, eval_dataset, data_collator and callbacks, as SFTTrainer takes them.
    """
    kept = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]
    trainer = trainer_class(stack)(model=model, processing_class=tokenizer, **parts)
    trainer.stepper = stepper
    for parameter, value in kept:
        parameter.data = value.float()
    trainer.remove_callback(stack.transformers.trainer_callback.PrinterCallback)
    trainer.remove_callback(stack.transformers.trainer_callback.ProgressCallback)
    return trainer
