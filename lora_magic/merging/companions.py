"""The small files that make a folder of weights a model: config, tokenizer, template, model card."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lora_magic.merging.adapter import Adapter
from lora_magic.merging.nf4_folder import quantisation_config
from lora_magic.merging.originals import Originals, require_inside
from lora_magic.merging.updates import Plan
from lora_magic.merging.verify import Differences, table_rows
from lora_magic.merging.write import Shard
from lora_magic.results import RunSummary

_MOST_POINTS = 12

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


def is_companion(path: Path) -> bool:
    """Whether a file or folder in a model's folder is one that is written beside the weights."""
    if path.is_dir():
        return any(pattern.startswith(f"{path.name}/") for pattern in _FROM_BASE)
    return path.name == "README.md" or any(fnmatch(path.name, pattern) for pattern in _FROM_BASE)


def _copy_matching(source: Path, patterns: tuple[str, ...], target: Path) -> None:
    for pattern in patterns:
        for path in source.glob(pattern):
            if path.is_file():
                require_inside(path, source)
                place = target / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


def write_companions(
    originals: Originals, adapter: Adapter, plan: Plan, dtype: str, folder: Path, shards: Sequence[Shard] = ()
) -> None:
    """Write config.json and copy what else the base has beside its weights.

    A tokenizer or chat template saved with the adapter wins over the base's: it was trained with that one.

    Args:
        originals: the base.
        adapter: may hold a tokenizer.
        plan: tells whether the output head is written apart.
        dtype: torch's name of what is written.
        folder: to write into.
        shards: tell whether weights are packed.

    Raises:
        LoraError: one of the files is a link out of its folder.
    """
    config = merged_config(originals.config, dtype, plan.untied)
    packed = quantisation_config(shards, dtype)
    if packed:
        config["quantization_config"] = packed
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _copy_matching(originals.folder, _FROM_BASE, folder)
    _copy_matching(adapter.folder, _TOKENIZER, folder)


def _shown(source: str) -> str:
    """A Hub id as it is; of a local path only the last part, so that a published card names no disk."""
    path = Path(source)
    return path.name if path.is_absolute() or path.is_dir() or source.startswith(".") else source


def model_card(
    originals: Originals,
    adapter: Adapter,
    *,
    name: str,
    dtype: str,
    found: Differences,
    run: RunSummary | None = None,
) -> str:
    """README.md of a merged model.

    Args:
        originals: the base.
        adapter: what was merged.
        name: the adapter's name.
        dtype: torch's name of what is written, or "NF4".
        found: what merging and rounding changed.
        run: the record of the run that made the adapter.
    """
    base = _shown(originals.source)
    front = ["---", "library_name: transformers", "tags:", "- lora", "- merged"]
    if base == originals.source and base.count("/") == 1:
        front.append(f"base_model: {base}")
    parts = [
        *front, "---", "", f"# {name}, merged", "",
        "The adapter's changes are part of these weights; no adapter has to be loaded.", "",
        *_table(("Setting", "Value"), _settings(originals, adapter, name, dtype)), "",
        "## Differences", "",
        f"Next-token predictions over {found.positions:,} positions of {found.probes} prompts.", "",
        *_table(("Compared", "Same top token", "KL, nats", "Largest logit difference"), _differences(found)), "",
    ]  # fmt: skip
    return "\n".join([*parts, *(_training(run) if run is not None else [])])


def _settings(originals: Originals, adapter: Adapter, name: str, dtype: str) -> list[tuple[str, str]]:
    rank = str(adapter.rank) + (", with exceptions" if adapter.rank_pattern else "")
    alpha = f"{adapter.alpha:g}" + (", with exceptions" if adapter.alpha_pattern else "")
    return [
        ("Base", _shown(originals.source) + (", unpacked from 4 bits" if originals.packed else "")),
        ("Adapter", f"{name} ({adapter.method})"),
        *([("Rank", rank), ("Alpha", alpha)] if adapter.rank else []),
        *([] if adapter.by_peft else [("Adapted modules", str(len(adapter.factors)))]),
        ("Biases", adapter.bias),
        ("Modules trained whole", ", ".join(adapter.modules_to_save) or "none"),
        ("Weights", dtype),
    ]


def _differences(found: Differences) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for what, measured in table_rows(found).items():
        figures = (f"{measured.same_top:.1%}", f"{measured.kl:.3g}", f"{measured.largest:.3g}") if measured else ()
        rows.append((what, *(figures or ("not measured",) * 3)))
    return rows


def _training(run: RunSummary) -> list[str]:
    """The run's settings, the hash of its data, and its curves."""
    settings = [(key, str(value)) for key, value in run.config.items() if value is not None and key != "content_hash"]
    data_hash = str(run.config.get("content_hash") or "not recorded")
    lines = ["## Training", "", f"Hash of the data: `{data_hash}`", ""]
    lines += [*_table(("Setting", "Value"), settings), ""] if settings else []
    for title, points in (("Training loss", run.losses), ("Held-out loss", run.eval_losses)):
        if points:
            shown = [(str(step), f"{loss:.4f}") for step, loss in _thinned(points)]
            lines += [*_table(("Step", title), shown), ""]
    return lines


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `_MOST_POINTS` of a curve, spread evenly, its ends among them."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    last = len(points) - 1
    return [points[round(index * last / (_MOST_POINTS - 1))] for index in range(_MOST_POINTS)]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *map(_cells, rows))]


def _cells(row: Sequence[str]) -> list[str]:
    return [" ".join(cell.split()).replace("|", "\\|") for cell in row]
