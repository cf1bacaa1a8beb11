"""trl's SFTTrainer as the training shell: our order of rows, exact held-out loss, no metrics nobody asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

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


def trainer_class(stack: SimpleNamespace) -> type[Any]:
    """A subclass of the stack's SFTTrainer for rows that carry their own labels."""
    torch, transformers = stack.torch, stack.transformers

    class LabelledTrainer(stack.SFTTrainer):  # type: ignore[name-defined]
        """Trains on `input_ids` and `labels` as given.

        `tokens_seen` counts input tokens without padding, for the rate that the user sees.
        """

        tokens_seen: Any = 0
        _held_out: Any = None

        def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
            return EpochOrder(len(train_dataset or self.train_dataset), self.args.seed)

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """Mean loss a trained token; trl's extra entropy and accuracy over all logits are left out."""
            inputs = {k: v for k, v in inputs.items() if not k.startswith("_")} | {"use_cache": False}
            result = transformers.Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)
            if model.training:
                self.tokens_seen = self.tokens_seen + inputs["attention_mask"].sum()
            elif self._held_out is not None:
                trained = (inputs["labels"][:, 1:] != -100).sum()
                loss = result[0] if return_outputs else result
                self._held_out += torch.stack([loss.detach().double() * trained, trained.double()]).cpu()
            return result

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            """A warm-up that learns from its first step on, where transformers' first step has rate 0."""
            kind, warmup = str(self.args.lr_scheduler_type.value), int(self.args.warmup_steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: learning_rate_share(step, num_training_steps, warmup, kind)
            )
            self._created_lr_scheduler = True
            return self.lr_scheduler

        def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
            """transformers' loop, its mean of batch means replaced by the mean over all trained tokens.

            Its data loader draws a random number; put back, so that measuring never changes what is learned.
            """
            self._held_out = torch.zeros(2, dtype=torch.float64)
            try:
                with torch.random.fork_rng():
                    output = super().evaluation_loop(*args, **kwargs)
                total, count = self._held_out.tolist()
            finally:
                self._held_out = None
            prefix = kwargs.get("metric_key_prefix", "eval")
            output.metrics[f"{prefix}_loss"] = total / max(count, 1.0)
            return output

    return LabelledTrainer


def build_trainer(stack: SimpleNamespace, model: Any, tokenizer: Any, **parts: Any) -> Any:
    """A trainer whose trainable weights are exactly the model's own, in float32.

    trl casts the adapter of a 4-bit model to bfloat16: that rounds its start, and float16's gradient scaler
    cannot take bfloat16 gradients. So the weights are kept aside and put back after the trainer is built.

    Args:
        model: a PeftModel with the adapter to train active.
        parts: args, train_dataset, eval_dataset, data_collator and callbacks, as SFTTrainer takes them.
    """
    kept = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]
    trainer = trainer_class(stack)(model=model, processing_class=tokenizer, **parts)
    for parameter, value in kept:
        parameter.data = value.float()
    trainer.remove_callback(stack.transformers.trainer_callback.PrinterCallback)
    trainer.remove_callback(stack.transformers.trainer_callback.ProgressCallback)
    return trainer
