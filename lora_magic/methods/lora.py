"""From a run's settings to peft's config: LoRA, rank-stabilised LoRA and DoRA."""

from __future__ import annotations

from typing import Any

from lora_magic.config import TrainConfig
from lora_magic.errors import LoraError, nearest

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "query_key_value", "c_attn", "out_proj", "dense")


def linear_names(model: Any) -> list[str]:
    """Last names of the model's linear layers, quantised ones too, the output head left out."""
    import torch

    head = model.get_output_embeddings()
    linears = (n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return sorted({name.rpartition(".")[2] for name in linears})


def target_modules(model: Any, target: str) -> list[str]:
    """The layers that `target` names, by their last names.

    Args:
        model: a plain (not yet adapted) causal model.
        target: "all-linear", "attention", or names with commas or spaces.

    Raises:
        LoraError: a name that no layer has, with the nearest one.
    """
    known = linear_names(model)
    if target == "all-linear":
        return known
    if target == "attention":
        found = [name for name in known if name in ATTENTION]
        if not found:
            raise LoraError("This model has no layers known as attention.", f"Name them: --target {','.join(known)}.")
        return found
    wanted = [name for name in target.replace(",", " ").split() if name]
    for name in wanted:
        if name not in known:
            raise LoraError(f'No layer is called "{name}".', nearest(name, known) or f"Layers: {', '.join(known)}.")
    if not wanted:
        raise LoraError("target names no layer.", f"Layers: {', '.join(known)}.")
    return wanted


def peft_config(config: TrainConfig, model: Any, base_path: str, revision: str | None) -> Any:
    """peft's `LoraConfig` for this run.

    rsLoRA scales by alpha / sqrt(rank) (arXiv:2312.03732); DoRA learns each row's magnitude apart
    (arXiv:2402.09353).

    Args:
        config: the run's settings.
        model: a plain causal model, whose layers are looked up.
        base_path: where the base came from, written into the saved adapter.
        revision: of the base on the Hub, written too.

    Raises:
        LoraError: a layer that does not exist, biases asked of a model that has none, or DoRA on 8 bits.
    """
    from peft import LoraConfig

    if config.bias != "none" and not any(n.endswith(".bias") for n, _ in model.named_parameters()):
        raise LoraError(f"bias {config.bias}: this model has no biases.", "Leave --bias at none.")
    if config.method == "dora" and getattr(model, "is_loaded_in_8bit", False):
        raise LoraError(
            "peft 0.21 cannot train DoRA on 8-bit weights.", "Load with --bits 4 or 16, or use --method lora."
        )
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.scale,
        lora_dropout=config.dropout,
        target_modules=target_modules(model, config.target),
        use_rslora=config.method == "rslora",
        use_dora=config.method == "dora",
        bias=config.bias,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_path,
        revision=revision,
    )
