"""A whole run: data, plan, adapter, loop, record; what `%%lora_train` does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lora_magic.backends.base import Base
from lora_magic.backends.batches import out_of_memory
from lora_magic.config import TrainConfig
from lora_magic.dataset.examples import Example
from lora_magic.dataset.prepare import Prepared, prepare
from lora_magic.dataset.sources import Source, read
from lora_magic.demo import DATASETS
from lora_magic.errors import LoraError
from lora_magic.events import Event, Finished, Listener, Started
from lora_magic.files import atomic_file
from lora_magic.planning.run_plan import Plan, plan
from lora_magic.results import TrainResult
from lora_magic.training.best import Best
from lora_magic.training.callback import Progressed
from lora_magic.training.further import SHAPE
from lora_magic.training.loop import Schedule, run, schedule
from lora_magic.training.record import Record, model_card, new_run_dir
from lora_magic.training.repeat import keep_rows


@dataclass(frozen=True)
class Trained:
    """A run that left an adapter in memory.

    Attributes:
        result: for the user.
        config: the settings as used, presets worked in.
        source: the data's name.
        held_out: rows to compare on.
        problem: why the adapter could not be written to disk, or None.
        template: the chat template of the data's own, or None for the model's.
    """

    result: TrainResult
    config: TrainConfig
    source: str
    held_out: tuple[Example, ...]
    problem: LoraError | None
    template: str | None = None


class Emitter:
    """Hands events to listeners; one that fails is named once and no longer asked."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = list(listeners)
        self.said: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Tell everybody."""
        self.said.append(event)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  whatever it is, the training goes on
                self._listeners.remove(listener)
                warnings.warn(f"{type(listener).__name__} stopped: {error}. The training goes on.", stacklevel=2)

    def add(self, listener: Listener) -> None:
        """One more listener, first in line."""
        self._listeners.insert(0, listener)


def train(
    base: Base,
    key: str,
    given: TrainConfig,
    listeners: Sequence[Listener],
    variables: Mapping[str, object],
    report: Callable[[str], None],
    start: Path | None = None,
    expected_rows: str = "",
) -> Trained:
    """Train an adapter under `key`: a fresh one, or on from the saved one in the folder `start`.

    Args:
        expected_rows: content hash of the rows as they were in a run that is repeated.

    Raises:
        LoraError: unusable data or settings, before the model is touched; a broken loss; whatever stops a run.
    """
    config = given.with_preset()
    prepared = prepare(config, base.tokenizer, _longest(config, base), variables, DATASETS)
    prepared = replace(prepared, notes=(*prepared.notes, *_unmet(config, base, prepared)))
    for note in prepared.notes:
        report(note)
    if expected_rows and expected_rows != prepared.content_hash:
        report("these are not the rows of that run: they, or what is made of them, have changed since")
    cut = _plan(config, base, prepared)
    for note in cut.notes:
        report(note)
    rows, held_out = len(prepared.training.rows), len(prepared.held_out.rows) if prepared.held_out else 0
    length = schedule(config, rows, held_out)
    trainable, total = base.attach(key, config, start)
    folder = new_run_dir(config.name, 4 * trainable)
    keep_rows(folder, prepared.source, _own(config.eval_data, variables))
    started = Started(
        config.name, base.facts.model, _header(config, base, cut), length.steps, length.epochs, rows, held_out,
        trainable, total,
    )  # fmt: skip
    asked = given.given - set(SHAPE) if start is not None else given.given
    settings = _settings(config, asked, base, prepared)
    emit = Emitter(listeners)
    emit.add(Record(folder, settings))
    return _run(base, key, config, prepared, cut, length, folder, started, settings, emit)


def _run(
    base: Base, key: str, config: TrainConfig, prepared: Prepared, cut: Plan, length: Schedule, folder: Path,
    started: Started, settings: Mapping[str, object], emit: Emitter,
) -> Trained:  # fmt: skip
    progressed = Progressed()
    emit(started)
    try:
        best = run(base, key, config, prepared, cut, length, folder, progressed, emit)
    except (Exception, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        told = _memory_problem(error) or error
        why = getattr(told, "problem", "") or f"{type(told).__name__}: {told}"
        emit(Finished(progressed.last_step, progressed.seconds, reason, why))
        if told is error:
            raise
        raise told from error
    notes = _ending(progressed, best, length)
    seconds = progressed.seconds
    problem = _saved(base, key, folder / "adapter")
    done = Finished(progressed.last_step, seconds, progressed.reason, _next_line(config.name, prepared, problem, notes))
    emit(done)
    if problem is None:
        atomic_file(folder / "README.md", model_card(started, done, settings, emit.said))
    result = TrainResult(
        name=config.name, model=base.facts.model, losses=tuple((s.step, s.loss) for s in progressed.steps),
        eval_losses=tuple((e.step, e.loss) for e in progressed.evaluations), adapter_path=folder / "adapter",
        run_dir=folder, seconds=seconds, trainable_parameters=started.trainable_parameters,
        total_parameters=started.total_parameters, reason=progressed.reason, planned_steps=length.steps,
        header=started.header, steps=tuple(progressed.steps), evaluations=tuple(progressed.evaluations),
        config=dict(settings), notes=(*prepared.notes, *notes),
    )  # fmt: skip
    return Trained(result, config, prepared.source.name, prepared.held_out_examples, problem, prepared.template)


def _own(eval_data: object, variables: Mapping[str, object]) -> Source | None:
    if eval_data is None or isinstance(eval_data, Source):
        return eval_data
    return read(eval_data, variables=variables, embedded=DATASETS)


def _unmet(config: TrainConfig, base: Base, prepared: Prepared) -> Iterator[str]:
    """What was asked for and cannot be."""
    if prepared.held_out is None and config.early_stop:
        yield "no rows are held out, so the run cannot stop early"
    most = base.facts.max_length
    if config.max_length and config.max_length > most:
        yield f"rows may have {most:,} tokens, not {config.max_length:,}: the model is loaded for no longer ones"


def _plan(config: TrainConfig, base: Base, prepared: Prepared) -> Plan:
    facts, lengths = base.facts, prepared.training.rows.lengths
    return plan(
        config, facts.hardware, backend=facts.backend, bits=facts.bits, shapes=facts.shapes,
        mean=float(lengths.mean()), longest=int(lengths.max()), dtype=facts.dtype,
    )  # fmt: skip


def _memory_problem(error: BaseException) -> LoraError | None:
    if isinstance(error, LoraError) or not out_of_memory(error):
        return None
    return LoraError(
        "Memory ran out where no other plan helps: something else is using it.",
        "Free it, or try --preset memory or a smaller --max-length.",
    )


def _longest(config: TrainConfig, base: Base) -> int:
    return min(config.max_length or base.facts.max_length, base.facts.max_length)


def _header(config: TrainConfig, base: Base, cut: Plan) -> tuple[tuple[str, str], ...]:
    facts = base.facts
    return (
        ("model", facts.model), ("rank", str(config.rank)), ("method", config.method),
        ("bits", str(facts.bits)), ("dtype", f"{facts.dtype} ({facts.dtype_reason})"), *cut.header,
        ("learning rate", f"{config.lr:g}"),
    )  # fmt: skip


def _settings(config: TrainConfig, given: Iterable[str], base: Base, prepared: Prepared) -> dict[str, object]:
    facts, source = base.facts, prepared.source
    loaded = {"model": facts.model, "revision": facts.revision, "bits": facts.bits, "dtype": facts.dtype}
    own = str(config.eval_data) if isinstance(config.eval_data, str | Path) else None
    found_again = {"data": source.name, "data_reference": source.reference, "content_hash": prepared.content_hash}
    return {
        **loaded, **config.as_dict(), **found_again, "eval_data": own, "alpha": config.scale, "given": sorted(given),
    }  # fmt: skip


def _ending(progressed: Progressed, best: Best | None, length: Schedule) -> tuple[str, ...]:
    if progressed.reason == "interrupted":
        return (
            f"Stopped by you after step {progressed.last_step} of {length.steps}; the adapter as of that step is kept.",
        )
    if best is not None and best.at is not None:
        return (f"Kept the adapter of step {best.at.step}, the lowest held-out loss ({best.at.loss:.4f}).",)
    return ()


def _saved(base: Base, key: str, folder: Path) -> LoraError | None:
    try:
        base.save(key, folder)
    except LoraError as error:
        return LoraError(
            f"The run is done, but its adapter could not be written: {error.problem}",
            f"{error.remedy} The adapter is in memory: compare and merge work.",
        )
    return None


def _next_line(name: str, prepared: Prepared, problem: LoraError | None, notes: tuple[str, ...]) -> str:
    quoted = f'"{name}"' if " " in name else name
    askable = any(not row.is_text for row in prepared.held_out_examples)
    compare = "%lora_compare" if askable else "%lora_compare --prompts FILE"
    ahead = problem.problem if problem else f"Next: {compare}, then %lora_merge {quoted} FOLDER"
    return " ".join([*notes, ahead])
