"""The one place that holds state: the loaded base, the adapters on it, and the last run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lora_magic.backends.base import Base, Loader, Phases
from lora_magic.backends.saved import CONFIG, RUNS, import_line
from lora_magic.config import (
    AdaptersConfig,
    CompareConfig,
    DataConfig,
    LoadConfig,
    MergeConfig,
    PlanConfig,
    TrainConfig,
    UseConfig,
)
from lora_magic.drawer.adapter import Adapter
from lora_magic.errors import LoraError, nearest
from lora_magic.events import Listener
from lora_magic.results import (
    Adapters,
    Comparison,
    DataReport,
    LoadResult,
    MergeResult,
    PlanResult,
    Status,
    TrainResult,
)

if TYPE_CHECKING:
    from lora_magic.evaluation.compare import Scene
    from lora_magic.training.repeat import Repeat


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

        What cannot be found or read is refused before the old base goes, and so is what would lose an adapter:
        one whose files are gone is written again.
        """
        from lora_magic.backends.choose import choose
        from lora_magic.backends.fetch import resolve, stored_quantisation

        path = resolve(config, phases)
        load = self._loader or choose(config, path, phases)
        for name in self.adapters:
            self._adapter_folder(name)
        self.free()
        base = load(config, path, phases)
        self._base, self._loaded = base, _load_result(base, phases, stored_quantisation(path, config) is None)
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
        config, start = self._further(repeat.config, config.given)
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
            trained.template, settings, str(trained.result.config.get("content_hash") or ""),
        )  # fmt: skip
        self.adapters[config.name] = self.last
        self._activate(config.name)
        if replaced is not None:
            base.detach(replaced.key)
        if trained.problem is not None:
            raise trained.problem
        return trained.result

    def compare(
        self,
        config: CompareConfig,
        phases: Phases,
        variables: Mapping[str, object] | None = None,
        show: Callable[[Comparison], None] | None = None,
    ) -> Comparison:
        """Base and adapters side by side on given prompts, or on a run's held-out rows.

        Args:
            config: which prompts and columns.
            phases: where it is told how far things are.
            variables: the notebook's, for prompts by name.
            show: called with what there is so far.
        """
        from lora_magic.evaluation.compare import compare

        with self.scene(variables or {}) as scene:
            return compare(scene, config, phases, show)

    @contextmanager
    def scene(self, variables: Mapping[str, object]) -> Iterator[Scene]:
        """What can be asked and compared; what answers is as before when the block ends."""
        from lora_magic.evaluation.compare import Scene

        default = self._default_adapter() if self.adapters else None
        with self._restored():
            yield Scene(self.base, self.adapters, default, self.last, variables, self._loader)

    def merge(self, config: MergeConfig, progress: Callable[[float, str], None]) -> MergeResult:
        """Merge an adapter into the base's original weights, in a new folder."""
        from lora_magic.merging.request import merge_as_asked
        from lora_magic.training.read_runs import read_run
        from lora_magic.training.runs import is_run

        folder, adapter = self._adapter_folder(config.name)
        run = adapter or self.last
        with self._restored():
            return merge_as_asked(
                config, folder, self._base, key=adapter.key if adapter else None, progress=progress,
                held_out=run.held_out if run else (), template=run.template if run else None,
                run=read_run(folder.parent) if is_run(folder.parent) else None,
            )  # fmt: skip

    def drawer(self, config: AdaptersConfig, phases: Phases) -> Adapters:
        """The adapters in memory and on disk, after one came in, was made of others or went, where that is asked for.

        Args:
            config: what is asked for.
            phases: where a download is reported.
        """
        from lora_magic.drawer.listing import entries

        done = ""
        if config.remove is not None:
            done = self._removed(config.remove)
        elif config.import_from is not None or config.combine is not None:
            done = self._added(config, phases)
        model = self._base.facts.model if self._base is not None else None
        return Adapters(model, self.active, entries(self.adapters, self.active), done)

    def _added(self, config: AdaptersConfig, phases: Phases) -> str:
        from lora_magic.drawer.moves import combined, imported

        base, before, key = self.base, self.active, f"adapter{next(self._keys)}"
        try:
            if config.combine is not None:
                made, done = combined(base, config, key, self.adapters)
            else:
                made, done = imported(base, config, key, phases, self._run_folder)
        except BaseException:
            with suppress(Exception):  # it may not have been put on yet, and the first error counts
                base.detach(key)
            self._activate(before)
            raise
        replaced = self.adapters.pop(made.name, None)
        self.adapters[made.name] = made
        self._activate(made.name)
        if replaced is not None:
            base.detach(replaced.key)
        return done

    def _removed(self, name: str) -> str:
        adapter = self._adapter(name)
        there = _is_there(adapter)
        with suppress(LoraError):
            self._adapter_folder(name)
        if self.active == name:
            self._activate("base")
        self.base.detach(adapter.key)
        del self.adapters[name]
        if self.last is adapter:
            self.last = next(reversed(self.adapters.values()), None)
        if not _is_there(adapter):
            return f"{name} is off the base; it was not on disk and cannot be written there"
        where = "its files stay in" if there else "its files were gone, and were written again to"
        return f"{name} is off the base; {where} {adapter.path}"

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

    def _further(self, config: TrainConfig, asked: frozenset[str]) -> tuple[TrainConfig, Path | None]:
        """The settings and the folder to start from, where an adapter is to be trained further; `asked` are options."""
        from lora_magic.drawer.moves import loadable
        from lora_magic.training.further import further

        if config.continue_from is None:
            return config, None
        name = config.continue_from or config.from_run or config.name
        folder = self._run_folder(name) if name == config.from_run else self._adapter_folder(name)[0]
        loadable(folder)
        return further(config, folder, name, asked), folder

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
        known = nearest(name, ["base", *self.adapters]) or listed
        return LoraError(f'There is no {what} "{name}".', import_line(name) or known)

    def _adapter_folder(self, name: str) -> tuple[Path, Adapter | None]:
        """The folder of an adapter in memory (written now if it could not be before), or of one on disk."""
        from lora_magic.training.record import new_run_dir

        if name in self.adapters:
            adapter = self.adapters[name]
            if not _is_there(adapter):
                adapter.path = new_run_dir(name, 0) / "adapter"
                self.base.save(adapter.key, adapter.path)
            assert adapter.path is not None
            return adapter.path, adapter
        folder = Path(name).expanduser()
        for place in (folder, folder / "adapter", RUNS.absolute() / name / "adapter"):
            if (place / CONFIG).is_file():
                return place, None
        if folder.is_dir():
            raise LoraError(
                f'"{folder}" is not an adapter: it has no adapter_config.json.', "Give a peft adapter's folder."
            )
        if folder.is_file():
            raise LoraError(f'"{name}" is a file; an adapter is a folder.', "Give the folder that holds it.")
        if self._base is None or len(folder.parts) > 1:
            raise LoraError(f'There is no adapter or folder "{name}".', f"You are in {Path.cwd()}.")
        raise self._unknown(name, "adapter or folder")

    def _run_folder(self, name: str) -> Path:
        """The adapter's folder of a recorded run; where there is no such run, of what else has that name."""
        folder = RUNS.absolute() / name / "adapter"
        return folder if (folder / CONFIG).is_file() else self._adapter_folder(name)[0]

    @contextmanager
    def _restored(self) -> Iterator[None]:
        before = self.active
        try:
            yield
        finally:
            if self._base is not None:
                self._activate(before)


def _is_there(adapter: Adapter) -> bool:
    """Whether an adapter in memory is on disk as well."""
    return adapter.path is not None and (adapter.path / CONFIG).is_file()


def _load_result(base: Base, phases: Phases, original_here: bool) -> LoadResult:
    """What was loaded and why so, and what a merge will need where the weights in memory are not the ones for it."""
    from lora_magic.dataset.template import chat_template
    from lora_magic.merging.outlook import outlook

    facts = base.facts
    reasons = facts.reasons
    if facts.bits < 16:
        reasons = (*reasons, ("merge", outlook(facts.model, facts.parameters, on_disk=original_here)))
    return LoadResult(
        model=facts.model, architecture=facts.architecture, backend=facts.backend, device=facts.hardware.title,
        bits=facts.bits, dtype=facts.dtype, reasons=reasons, parameters=facts.parameters,
        memory_bytes=facts.memory_bytes, max_length=facts.max_length,
        chat_template=chat_template(base.tokenizer)[1], seconds=phases.seconds,
    )  # fmt: skip
