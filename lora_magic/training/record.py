"""The run's record on disk: config.yaml, metrics.jsonl a line at a time, the adapter and a model card."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lora_magic.backends.saved import RUNS
from lora_magic.errors import LoraError
from lora_magic.events import Evaluated, Event, Finished, Started, Stepped
from lora_magic.files import atomic_file, disk_errors, require_space

RECORDED = ("lora_magic", "torch", "transformers", "peft", "trl", "bitsandbytes")


def new_run_dir(name: str, adapter_bytes: int) -> Path:
    """A fresh folder for a run: `lora_runs/NAME`, or `NAME-2` and so on where that is taken.

    Args:
        name: the adapter's.
        adapter_bytes: what the adapter will take on disk.

    Raises:
        LoraError: no space or no permission.
    """
    root = RUNS.absolute()
    require_space(root, 2 * adapter_bytes + 2**20, f"the run {name}")
    for number in range(1, 100_000):
        folder = root / (name if number == 1 else f"{name}-{number}")
        with disk_errors(folder):
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
    raise LoraError(f"{root} holds too many runs called {name}.", "Give the run another name.")


class Record:
    """A listener that writes what a run says into its folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import yaml

        self.folder = folder
        atomic_file(folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

    def __call__(self, event: Event) -> None:
        """Append the event and the time (UTC) to metrics.jsonl, whole lines only."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"event": type(event).__name__.lower(), "time": now, **dataclasses.asdict(event)})
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def model_card(started: Started, finished: Finished, config: Mapping[str, Any], said: list[Event]) -> str:
    """README.md of a run: what was trained on what, how it went, and with which versions."""
    steps = [e for e in said if isinstance(e, Stepped)]
    held_out = [e for e in said if isinstance(e, Evaluated)]
    lines = [
        "---", "library_name: peft", f"base_model: {json.dumps(started.model)}", "tags: [lora]", "---", "",
        f"# {started.name}", "",
        f"A {config['method']} adapter of rank {config['rank']} for {started.model}, trained on {config['data']}"
        f" ({started.training_rows:,} rows): {finished.reason} after {finished.step} of {started.planned_steps} steps"
        f" in {finished.seconds:.0f} s.", "",
        f"Trainable parameters: {started.trainable_parameters:,} of {started.total_parameters:,}"
        f" ({started.trainable_parameters / started.total_parameters:.2%}).", "",
    ]  # fmt: skip
    if steps:
        lines += [f"Training loss: {steps[0].loss:.4f} at step 1, {steps[-1].loss:.4f} at step {steps[-1].step}.", ""]
    if held_out:
        lines += ["| step | held-out loss |", "|---|---|", *(f"| {e.step} | {e.loss:.4f} |" for e in held_out), ""]
    lines += ["## Settings", "", "```yaml", *(f"{k}: {v}" for k, v in config.items()), "```", "", "## Versions", ""]
    return "\n".join([*lines, *versions(), ""])


def versions() -> list[str]:
    """`- name version` lines of what a run depends on."""
    found = []
    for name in RECORDED:
        try:
            found.append(f"- {name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
