"""What the record of a run says of its adapter, when that comes back from disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_magic.config import TrainConfig
from lora_magic.dataset.prepare import read_sides
from lora_magic.dataset.template import read_template
from lora_magic.demo import DATASETS
from lora_magic.drawer.adapter import Adapter
from lora_magic.errors import LoraError
from lora_magic.training.repeat import repeated
from lora_magic.training.runs import ADAPTER, CONFIG, is_file, read_settings


def as_recorded(adapter: Adapter, folder: Path, tokenizer: Any) -> tuple[Adapter, str]:
    """The adapter with its run's settings, system text, template and held-out rows.

    Args:
        adapter: as it came from `folder`.
        folder: the adapter's; the record lies beside it, if there is one.
        tokenizer: the base's, which the template must suit.

    Returns:
        The adapter as far as its run is known, and what is not; "" where all is, or there is no record.
    """
    run = folder.parent
    if folder.name != ADAPTER or not is_file(run / CONFIG):
        return adapter, ""
    try:
        recorded = read_settings(run)
        system = recorded.get("system")
        known = replace(
            adapter, system=system if isinstance(system, str) else None, source=str(recorded.get("data") or "")
        )
    except LoraError as error:
        return adapter, error.problem.rstrip(".")
    try:
        config = repeated(TrainConfig.of({"from_run": str(run), "name": adapter.name})).config.with_preset()
        template = read_template(config.template, tokenizer) if config.template else None
        known = replace(known, template=template)
        sides = read_sides(config, {}, DATASETS)
    except LoraError as error:
        return known, f"what its run held out is not known: {error.problem.rstrip('.')}"
    content = str(recorded.get("content_hash") or "")
    if content and content != sides.content_hash:
        return known, f"{known.source} has changed since, so what the run held out is not known"
    return replace(known, settings=config, content_hash=content, held_out=tuple(sides.held_out)), ""
