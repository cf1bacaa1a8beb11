"""A merge as a session asks for it: from what is loaded, and from the records of adapter and run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from lora_magic.backends.base import Base, BaseFacts
from lora_magic.backends.fetch import NAMES
from lora_magic.config import MergeConfig
from lora_magic.dataset.examples import Example
from lora_magic.errors import LoraError
from lora_magic.merging.adapter import CONFIG
from lora_magic.merging.merge import Progress, Settings, merge
from lora_magic.merging.originals import read_json
from lora_magic.merging.verify import LogitSource
from lora_magic.results import MergeResult, RunSummary

PLAIN_PROBE = list(range(3, 24))
"""Token ids to compare on where no rows were held out."""


def merge_as_asked(
    config: MergeConfig,
    folder: Path,
    base: Base | None,
    *,
    key: str | None,
    held_out: Sequence[Example],
    template: str | None,
    run: RunSummary | None,
    progress: Progress,
) -> MergeResult:
    """Merge an adapter into the base's original weights, in a new folder.

    Which adapter is active afterwards is the caller's to restore.

    Args:
        config: which adapter goes where.
        folder: the adapter's.
        base: the loaded one, or None.
        key: what `base` calls the adapter; None where it is only on disk.
        held_out: rows to compare on, where `base` is what the adapter was trained on.
        template: the chat template that it was trained with, or None for the model's own.
        run: the record of the run that made it.
        progress: called with the share done and what is being done.

    Raises:
        LoraError: see `merge`.
    """
    from lora_magic.backends.stack import import_stack

    import_stack()
    facts = base.facts if base is not None else None
    source, revision = (str(NAMES.get(config.base, config.base)), None) if config.base else recorded_base(folder, facts)
    known = facts is not None and source == facts.path
    probes: list[list[int]] = []
    if config.verify:
        rows = (row for row in held_out if not row.is_text)
        ours = base is not None and (known or key is not None)
        probes = (list(islice(_tokens(base, rows, template), config.verify)) if ours else []) or [PLAIN_PROBE]
    settings = Settings(
        config.dtype, config.to == "4bit", config.shard_bytes, config.overwrite, config.low_disk,
        take_packed=config.base is not None,
        trust_remote_code=facts is not None and known and facts.trust_remote_code,
    )  # fmt: skip
    return merge(
        folder, source, Path(config.out), settings, revision=revision, probes=probes, progress=progress, run=run,
        trained=_as_trained(base, key) if base is not None and key is not None else None,
        name=config.name if key is not None else folder.name,
    )  # fmt: skip


def _tokens(base: Any, rows: Iterable[Example], template: str | None) -> Iterator[list[int]]:
    """Token ids of held-out rows, answers in them; none of those that the chat template refuses."""
    from lora_magic.dataset.tokens import prompt_ids

    for row in rows:
        with suppress(LoraError):
            yield prompt_ids(base.tokenizer, row.turns, template=template, tools=row.tools)


def _as_trained(base: Base, key: str) -> LogitSource:
    def logits(active: str | None) -> Callable[[list[int]], Any]:
        def one(row: list[int]) -> Any:
            import torch

            base.activate(active)
            with torch.inference_mode(False):  # as answers are made: what Unsloth compiled is not made anew
                return base.logits(row)

        return one

    return LogitSource(adapter=logits(key), base=logits(None))


def recorded_base(folder: Path, loaded: BaseFacts | None) -> tuple[str, str | None]:
    """Where the original weights of an adapter's base are, and their revision.

    The adapter's own record says; where it names a folder that is gone (moved, another machine) the loaded
    base stands in, whose shapes are checked before anything is written.

    Raises:
        LoraError: the adapter's record cannot be read, or names nothing that is there.
    """
    recorded = read_json(folder / CONFIG)
    name = str(recorded.get("base_model_name_or_path") or "")
    if loaded is not None and name in (loaded.path, ""):
        return loaded.path, loaded.revision
    gone = Path(name).is_absolute() and not Path(name).is_dir()
    if gone and loaded is not None:
        return loaded.path, loaded.revision
    if not name:
        raise LoraError(
            f"{folder} does not say which base it was trained on.", "Name it: --base MODEL, or load it with %lora_load."
        )
    if gone:
        raise LoraError(
            f'The base of {folder} is not here: "{name}".', "Load that base first with %lora_load, or name it: --base."
        )
    return name, recorded.get("revision")
