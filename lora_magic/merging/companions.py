"""The small files that make a folder of weights a model: config, tokenizer, template, model card."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_magic.merging.adapter import Adapter
from lora_magic.merging.originals import Originals
from lora_magic.merging.updates import Plan

_TOKENIZER = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
    "*.model", "*.tiktoken", "chat_template*", "additional_chat_templates/*",
)  # fmt: skip

_FROM_BASE = (
    *_TOKENIZER, "generation_config.json", "*processor_config.json", "*.py", "LICENSE*", "NOTICE*",
    "USE_POLICY*",
)  # fmt: skip


def merged_config(config: Mapping[str, Any], dtype: str, untied: bool) -> dict[str, Any]:
    """The base's config.json for the merged weights.

    Args:
        config: the base's.
        dtype: torch's name of what is written.
        untied: the output head has a weight of its own now.
    """
    merged = copy.deepcopy(dict(config))
    parts = [merged, *(part for part in merged.values() if isinstance(part, dict))]
    for part in parts:
        part.pop("quantization_config", None)
        for key in ("dtype", "torch_dtype"):
            if key in part:
                part[key] = dtype
        if untied and "tie_word_embeddings" in part:
            part["tie_word_embeddings"] = False
    if "torch_dtype" not in merged:
        merged["dtype"] = dtype
    if untied:
        merged["tie_word_embeddings"] = False
    return merged


def _copy_matching(source: Path, patterns: tuple[str, ...], target: Path) -> None:
    for pattern in patterns:
        for path in source.glob(pattern):
            if path.is_file():
                place = target / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


def write_companions(originals: Originals, adapter: Adapter, plan: Plan, dtype: str, folder: Path) -> None:
    """Write config.json and copy what else the base has beside its weights.

    A tokenizer or chat template saved with the adapter wins over the base's: it was trained with that one.

    Args:
        originals: the base.
        adapter: may hold a tokenizer.
        plan: tells whether the output head is written apart.
        dtype: torch's name of what is written.
        folder: to write into.
    """
    config = merged_config(originals.config, dtype, plan.untied)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _copy_matching(originals.folder, _FROM_BASE, folder)
    _copy_matching(adapter.folder, _TOKENIZER, folder)


def _shown(source: str) -> str:
    """A Hub id as it is; of a local path only the last part, so that a published card names no disk."""
    path = Path(source)
    return path.name if path.is_absolute() or path.is_dir() or source.startswith(".") else source


def model_card(
    originals: Originals, adapter: Adapter, *, name: str, dtype: str, measured: list[tuple[str, str]]
) -> str:
    """README.md of a merged model.

    Args:
        originals: the base.
        adapter: what was merged.
        name: the adapter's name.
        dtype: torch's name of what is written.
        measured: label and value pairs of the differences.
    """
    base = _shown(originals.source)
    front = ["---", "library_name: transformers", "tags:", "- lora", "- merged"]
    if base == originals.source and base.count("/") == 1:
        front.append(f"base_model: {base}")
    rank = str(adapter.rank) + (", with exceptions" if adapter.rank_pattern else "")
    alpha = f"{adapter.alpha:g}" + (", with exceptions" if adapter.alpha_pattern else "")
    rows = [
        ("Base", base),
        ("Adapter", f"{name} ({adapter.method})"),
        ("Rank", rank),
        ("Alpha", alpha),
        ("Adapted modules", str(len(adapter.factors))),
        ("Biases", adapter.bias),
        ("Modules trained whole", ", ".join(adapter.modules_to_save) or "none"),
        ("Weights", dtype),
    ]
    return "\n".join([
        *front, "---", "", f"# {name}, merged", "",
        "The adapter's changes are part of these weights; no adapter has to be loaded.", "",
        *_table("Setting", "Value", rows), "",
        "## Differences", "",
        "Largest absolute difference of any next-token logit over the probe prompts.", "",
        *_table("Compared", "Difference", measured), "",
    ])  # fmt: skip


def _table(left: str, right: str, rows: list[tuple[str, str]]) -> list[str]:
    return [f"| {left} | {right} |", "|---|---|", *(f"| {label} | {value} |" for label, value in rows)]
