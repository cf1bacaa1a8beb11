"""How forms look alike: which fields stand in view, the topics the others are folded into, the main button."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from lora_magic.config.fields import Config

OTHER = "More"
_ROWS = ("map", "system", "template", "train_on", "max_length", "eval_split", "eval_data")


def primary() -> dict[str, Any]:
    """What makes a button the form's main one.

    Front ends of ipywidgets 7 write it in white on a blue that is too light for it; those of 8 choose both by theme.
    """
    import ipywidgets

    is_seven = ipywidgets.__version__.startswith("7.")
    return {"button_style": "primary", "style": {"button_color": "#1976d2"} if is_seven else {}}


@dataclass(frozen=True)
class Layout:
    """Where the fields of one form stand.

    Attributes:
        first: in view, in order.
        topics: the rest by topic; what is named nowhere comes under "More".
    """

    first: tuple[str, ...]
    topics: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def placed(self, config_class: type[Config], left_out: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
        """Every field of a config once, by topic; those in view under "".

        Args:
            config_class: whose fields.
            left_out: fields that the form does not have.
        """
        waiting = [f.name for f in dataclasses.fields(config_class) if f.name not in left_out]
        found = {}
        for topic, names in {"": self.first, **self.topics}.items():
            found[topic] = tuple(name for name in names if name in waiting)
            waiting = [name for name in waiting if name not in names]
        return {topic: names for topic, names in {**found, OTHER: tuple(waiting)}.items() if names}


LAYOUTS: dict[str, Layout] = {
    "lora_load": Layout(
        ("model", "bits", "max_length"),
        {"Device": ("dtype", "backend"), "Hub": ("revision", "trust_remote_code")},
    ),
    "lora_data": Layout(
        ("data", "model", "show"),
        {"Rows": _ROWS, "Cleaned copy": ("fix", "overwrite", "rank")},
    ),
    "lora_plan": Layout(
        ("model", "gpu", "data"),
        {
            "Rows": ("rows", "tokens_per_row", *_ROWS),
            "Adapter": ("rank", "method", "dropout", "target", "bias"),
            "Batch and length": ("batch", "micro_batch", "epochs", "max_steps", "checkpointing", "optimizer"),
            "Model and price": ("bits", "backend", "revision", "price"),
        },
    ),
    "lora_train": Layout(
        ("data", "rank", "epochs"),
        {
            "Name and start": ("name", "preset", "from_run", "continue_from", "seed"),
            "Rows": _ROWS,
            "Adapter": ("method", "alpha", "dropout", "target", "bias"),
            "Optimiser": ("lr", "scheduler", "warmup", "optimizer", "weight_decay", "max_grad_norm"),
            "Batch and length": ("batch", "micro_batch", "checkpointing", "max_steps"),
            "Checks": ("eval_every", "early_stop"),
        },
    ),
    "lora_compare": Layout(
        ("prompts", "adapters", "rows"),
        {
            "Answers": ("max_new_tokens", "temperature", "top_p", "system", "seed"),
            "Numbers": ("measures", "embedder", "general"),
            "Rows shown": ("show", "by", "sort", "column", "against", "text", "browse"),
            "Blind vote": ("blind", "scores", "votes"),
        },
    ),
    "lora_merge": Layout(
        ("name", "out", "dtype"),
        {"Files": ("shard_size", "overwrite", "low_disk", "to"), "Check and base": ("verify", "base")},
    ),
}
