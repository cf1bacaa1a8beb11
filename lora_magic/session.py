"""The one place that holds state: the loaded base, the adapters on it, and the last run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.backends.base import Base, BaseFacts, Decoding, Loader, Phases
from lora_magic.config import CompareConfig, DataConfig, LoadConfig, MergeConfig, PlanConfig, TrainConfig, UseConfig
from lora_magic.dataset.examples import Example
from lora_magic.errors import LoraError, nearest
from lora_magic.events import Listener
from lora_magic.results import Comparison, DataReport, LoadResult, MergeResult, PlanResult, Status, TrainResult

if TYPE_CHECKING:
    from lora_magic.merging.verify import LogitSource
    from lora_magic.training.repeat import Repeat

PROBES = 4
PLAIN_PROBE = list(range(3, 24))


@dataclass
class Adapter:
    """One adapter in memory.

    Attributes:
        name: what the user calls it.
        key: what the backend calls it.
        path: its folder on disk; None when it could not be written.
        kind: such as "lora, rank 8".
        system: the system text it was trained with, or None.
        source: the data's name.
        held_out: rows to compare on.
        template: the chat template that it was trained with, or None for the model's own.
    """

    name: str
    key: str
    path: Path | None
    kind: str
    system: str | None
    source: str
    held_out: tuple[Example, ...]
    template: str | None = None


class Session:
    """A base and its adapters. One a process is enough; tests make their own.

    Args:
        loader: the backend's way in; chosen when first needed unless given.
    """

    def __init__(self, loader: Loader | None = None) -> None:
        self._loader = loader
        self._base: Base | None = None
        self._loaded: LoadResult | None = None
        self._keys = itertools.count(1)
        self.adapters: dict[str, Adapter] = {}
        self.active = "base"
        self.last: Adapter | None = None

    @property
    def base(self) -> Base:
        """The loaded base.

        Raises:
            LoraError: none is.
        """
        if self._base is None:
            raise LoraError("No model is loaded.", "%lora_load demo loads the embedded one.")
        return self._base

    def load(self, config: LoadConfig, phases: Phases) -> LoadResult:
        """Load a base; the one before is freed first, with its adapters (which stay on disk).

        What cannot be found or read is refused before the old base goes.
        """
        from lora_magic.backends.choose import choose
        from lora_magic.backends.fetch import resolve

        path = resolve(config, phases)
        load = self._loader or choose(config, path, phases)
        self.free()
        base = load(config, path, phases)
        self._base, self._loaded = base, _load_result(base, phases)
        return self._loaded

    def free(self) -> None:
        """Forget the base and every adapter in memory."""
        if self._base is not None:
            self._base.free()
        self._base = self._loaded = self.last = None
        self.adapters, self.active = {}, "base"

    def data(self, config: DataConfig, phases: Phases, variables: Mapping[str, object]) -> DataReport:
        """What a run would make of some rows, by the loaded base's tokenizer or by that of another model.

        Args:
            config: which rows, and how they are read.
            phases: where the stages are reported, by name.
            variables: the notebook's, for data by name.
        """
        from lora_magic.backends.tokenizers import tokenizer_of
        from lora_magic.dataset.report import report
        from lora_magic.demo import DATASETS

        if self._base is not None and config.model in (None, self._base.facts.model):
            facts = self._base.facts
            tokenizer, name, longest = self._base.tokenizer, facts.model, facts.max_length
        else:
            name = config.model or "demo"
            tokenizer, longest = tokenizer_of(name, phases), config.max_length or LoadConfig(name).max_length
            name += "" if config.model else " (no model is loaded; --model counts for another)"
        with phases.phase("rows"):
            return report(config, tokenizer, name, min(config.max_length or longest, longest), variables, DATASETS)

    def plan(self, config: PlanConfig, phases: Phases, variables: Mapping[str, object]) -> PlanResult:
        """What a run would take on a card; needs no model, and changes nothing.

        Args:
            config: model, card and settings of the run.
            phases: where downloads and counting are reported.
            variables: the notebook's, for data by name.
        """
        from lora_magic.demo import DATASETS
        from lora_magic.training.plan import plan

        loaded = self._base is not None and config.model == self._base.facts.model
        return plan(config, phases, variables, DATASETS, self.base.tokenizer if loaded else None)

    def train(
        self,
        config: TrainConfig,
        listeners: Sequence[Listener],
        variables: Mapping[str, object],
        report: Callable[[str], None],
    ) -> TrainResult:
        """Train a new adapter; one of the same name is replaced in memory once the new one is whole.

        Args:
            listeners: hear the run's events.
            variables: the notebook's, for data by name.
            report: takes lines for the user while the data is prepared.
        """
        from lora_magic.training.repeat import repeated
        from lora_magic.training.run import train

        repeat = repeated(config)
        base, before = self._base_for(repeat, report), self.active
        config, start = self._further(repeat.config)
        for note in repeat.notes:
            report(note)
        key = f"adapter{next(self._keys)}"
        try:
            trained = train(base, key, config, listeners, variables, report, start, repeat.content_hash)
        except BaseException:
            with suppress(Exception):  # it may not have been put on yet, and the first error counts
                base.detach(key)
            self._activate(before if before in self.adapters else "base")
            raise
        replaced = self.adapters.pop(config.name, None)
        settings = trained.config
        self.last = Adapter(
            config.name, key, trained.result.adapter_path if trained.problem is None else None,
            f"{settings.method}, rank {settings.rank}", settings.system, trained.source, trained.held_out,
            trained.template,
        )  # fmt: skip
        self.adapters[config.name] = self.last
        self._activate(config.name)
        if replaced is not None:
            base.detach(replaced.key)
        if trained.problem is not None:
            raise trained.problem
        return trained.result

    def compare(self, config: CompareConfig, phases: Phases) -> Comparison:
        """Base and adapters side by side on given prompts, or on the last run's held-out rows."""
        from lora_magic.evaluation.columns import compare

        base, before = self.base, self.active
        names = config.columns or ["base", *([self._default_adapter()] if self.adapters else [])]
        columns = {name: None if name == "base" else self._adapter(name).key for name in names}
        asked, source = self._asked(config, names)
        template = named.template if (named := self._speaking(names)) else None
        decoding = Decoding(config.max_new_tokens, config.temperature, config.top_p, config.seed)
        try:
            return compare(base, asked, columns, decoding, source, phases, template)
        finally:
            self._activate(before)

    def merge(self, config: MergeConfig, progress: Callable[[float, str], None]) -> MergeResult:
        """Merge an adapter into the base's original weights, in a new folder."""
        from lora_magic.backends.stack import import_stack
        from lora_magic.merging.merge import merge

        folder, adapter = self._adapter_folder(config.name)
        import_stack()
        facts = self._base.facts if self._base is not None else None
        source, revision = recorded_base(folder, facts)
        known = facts is not None and source == facts.path
        with self._restored():
            return merge(
                folder, source, Path(config.out), revision=revision, dtype=config.dtype, overwrite=config.overwrite,
                probes=self._probes(adapter) if known else [PLAIN_PROBE], progress=progress,
                trained=self._as_trained(adapter) if adapter else None, name=config.name if adapter else folder.name,
                trust_remote_code=facts is not None and known and facts.trust_remote_code,
            )  # fmt: skip

    def use(self, config: UseConfig) -> Status:
        """Answer with another adapter, or with the base alone, from now on."""
        if config.name != "base":
            self._adapter(config.name)
        elif self._base is None:
            _ = self.base
        self._activate(config.name)
        return self.status()

    def status(self) -> Status:
        """What is loaded and what it takes."""
        if self._base is None:
            return Status(None, "base", (), ())
        from lora_magic.planning.hardware import used_gib

        hardware = self._base.facts.hardware
        label = "memory of the card in use" if hardware.kind == "cuda" else "memory of this process"
        memory = ((label, f"{used_gib(hardware):.2f} GiB of {hardware.total_bytes / 2**30:.1f} GiB"),)
        listed = tuple((a.name, a.kind, str(a.path or "not on disk")) for a in self.adapters.values())
        return Status(self._loaded, self.active, listed, memory)

    def _base_for(self, repeat: Repeat, report: Callable[[str], None]) -> Base:
        """The loaded base; says so where it is not the one that a repeated run was trained on."""
        then = f"{repeat.model} --bits {repeat.bits}" if repeat.bits else repeat.model
        if self._base is None and repeat.model:
            raise LoraError("No model is loaded.", f"The run was trained on: %lora_load {then}")
        facts = self.base.facts
        if repeat.model and (facts.model, facts.bits) != (repeat.model, repeat.bits or facts.bits):
            report(f"the run was trained on {then}; this is {facts.model} --bits {facts.bits}")
        return self.base

    def _further(self, config: TrainConfig) -> tuple[TrainConfig, Path | None]:
        """The settings and the folder to start from, where an adapter is to be trained further."""
        from lora_magic.training.further import further

        if config.continue_from is None:
            return config, None
        name = config.continue_from or config.from_run or config.name
        folder, _ = self._adapter_folder(name)
        return further(config, folder, name), folder

    def _activate(self, name: str) -> None:
        self.base.activate(None if name == "base" else self.adapters[name].key)
        self.active = name

    def _default_adapter(self) -> str:
        if self.active != "base":
            return self.active
        return self.last.name if self.last is not None else next(reversed(self.adapters))

    def _adapter(self, name: str) -> Adapter:
        _ = self.base
        if name in self.adapters:
            return self.adapters[name]
        raise self._unknown(name, "adapter")

    def _unknown(self, name: str, what: str) -> LoraError:
        listed = (
            f"In memory: {', '.join(self.adapters)}." if self.adapters else "Train one: %lora_train --data demo-json"
        )
        return LoraError(f'There is no {what} "{name}".', nearest(name, ["base", *self.adapters]) or listed)

    def _speaking(self, names: Sequence[str]) -> Adapter | None:
        """The adapter whose system text and chat template all columns get: the last one named."""
        return next((self.adapters[n] for n in reversed(names) if n in self.adapters), self.last)

    def _asked(self, config: CompareConfig, names: Sequence[str]) -> tuple[list[Any], str]:
        from lora_magic.evaluation.columns import from_examples, from_prompts

        named = self._speaking(names)
        if config.questions is not None:
            system = config.system if config.system is not None else (named.system if named else None)
            own = "1 prompt" if len(config.questions) == 1 else f"{len(config.questions)} prompts"
            told = f', after the system text "{system}"' if system else ""
            return from_prompts(config.questions, system), f"{own} of your own{told}"
        if self.last is None:
            raise LoraError("There is nothing to compare on yet.", "Train first, or write prompts in %%lora_compare.")
        rows = [row for row in self.last.held_out if not row.is_text]
        if not rows:
            why = "only plain text, which is no prompt" if self.last.held_out else "no rows"
            raise LoraError(f"The run {self.last.name} held out {why}.", "Write prompts in %%lora_compare.")
        shown = rows[: config.rows]
        count = f"{len(shown)} of {len(rows)}" if len(shown) < len(rows) else str(len(rows))
        return from_examples(shown), f"{count} held-out rows of {self.last.source}"

    def _adapter_folder(self, name: str) -> tuple[Path, Adapter | None]:
        """The folder of an adapter in memory (written now if it could not be before), or of one on disk."""
        from lora_magic.training.record import RUNS, new_run_dir

        if name in self.adapters:
            adapter = self.adapters[name]
            if adapter.path is None or not (adapter.path / "adapter_config.json").is_file():
                adapter.path = new_run_dir(name, 0) / "adapter"
                self.base.save(adapter.key, adapter.path)
            return adapter.path, adapter
        folder = Path(name).expanduser()
        for place in (folder, folder / "adapter", RUNS.absolute() / name / "adapter"):
            if (place / "adapter_config.json").is_file():
                return place, None
        if folder.is_dir():
            raise LoraError(
                f'"{folder}" is not an adapter: it has no adapter_config.json.', "Give a peft adapter's folder."
            )
        if self._base is None:
            raise LoraError(f'There is no adapter or folder "{name}".', f"You are in {Path.cwd()}.")
        raise self._unknown(name, "adapter or folder")

    def _probes(self, adapter: Adapter | None) -> list[list[int]]:
        """Token ids of a few rows that the adapter's run held out, answers in them, where there are any."""
        from lora_magic.dataset.tokens import prompt_ids

        run = adapter or self.last
        rows = [row for row in (run.held_out if run is not None else ()) if not row.is_text][:PROBES]
        return [
            prompt_ids(self.base.tokenizer, row.turns, template=run.template if run else None, tools=row.tools)
            for row in rows
        ] or [PLAIN_PROBE]

    def _as_trained(self, adapter: Adapter) -> LogitSource:
        from lora_magic.merging.verify import LogitSource

        def logits(key: str | None) -> Callable[[list[int]], Any]:
            def one(row: list[int]) -> Any:
                self.base.activate(key)
                return self.base.logits(row)

            return one

        return LogitSource(adapter=logits(adapter.key), base=logits(None))

    @contextmanager
    def _restored(self) -> Iterator[None]:
        before = self.active
        try:
            yield
        finally:
            if self._base is not None:
                self._activate(before)


def recorded_base(folder: Path, loaded: BaseFacts | None) -> tuple[str, str | None]:
    """Where the original weights of an adapter's base are, and their revision.

    The adapter's own record says; where it names a folder that is gone (moved, another machine) the loaded
    base stands in, whose shapes are checked before anything is written.

    Raises:
        LoraError: the adapter's record cannot be read, or names nothing that is there.
    """
    try:
        recorded = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoraError(
            f"{folder / 'adapter_config.json'} cannot be read ({error}).", "Give an intact adapter."
        ) from None
    name = str(recorded.get("base_model_name_or_path") or "") if isinstance(recorded, dict) else ""
    if loaded is not None and name in (loaded.path, ""):
        return loaded.path, loaded.revision
    gone = Path(name).is_absolute() and not Path(name).is_dir()
    if gone and loaded is not None:
        return loaded.path, loaded.revision
    if gone or not name:
        raise LoraError(f'The base of {folder} is not here: "{name}".', "Load that base first with %lora_load.")
    return name, recorded.get("revision")


def _load_result(base: Base, phases: Phases) -> LoadResult:
    from lora_magic.dataset.template import chat_template

    facts = base.facts
    return LoadResult(
        model=facts.model, architecture=facts.architecture, backend=facts.backend, device=facts.hardware.title,
        bits=facts.bits, dtype=facts.dtype, reasons=facts.reasons, parameters=facts.parameters,
        memory_bytes=facts.memory_bytes, max_length=facts.max_length,
        chat_template=chat_template(base.tokenizer)[1], seconds=phases.seconds,
    )  # fmt: skip
