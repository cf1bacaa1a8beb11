"""The comparison: the same prompts, decoding and seeds for every column, and numbers beside the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from lora_magic.backends.base import Base, Decoding, Loader, Phases
from lora_magic.config import CompareConfig
from lora_magic.dataset.tokens import TrainOn
from lora_magic.errors import LoraError
from lora_magic.evaluation.adapters import Adapter, training_rows
from lora_magic.evaluation.answering import Answers, Prompts, answer
from lora_magic.evaluation.asked import Questions, questions
from lora_magic.evaluation.columns import BASE, Column, Prompting, columns, prompting
from lora_magic.evaluation.forgetting import forgetting, general_questions
from lora_magic.evaluation.losses import ColumnLosses
from lora_magic.evaluation.measures import Scored, check, check_by, measure
from lora_magic.evaluation.wide import check_wide, wide_base
from lora_magic.results import Comparison, Forgetting
from lora_magic.results.measures import Measures
from lora_magic.results.selected import Wanted

LOSS_MEASURES = {"held-out-loss", "perplexity", "auc"}
# Without references fewer answers tell nothing.
LEAST_WITHOUT_REFERENCES = 10
# Training rows that answers are held against for words taken over from them.
MOST_TRAINING_ROWS = 20_000
Show = Callable[[Comparison], None]


@dataclass(frozen=True)
class Scene:
    """What there is to compare.

    Attributes:
        base: the loaded base; whatever is active on it changes and is the caller's to restore.
        adapters: those in memory, by name.
        default: the adapter that is compared with the base unless others are named, or None.
        last: the adapter of the last run, or None.
        variables: the notebook's.
        loader: the way in for a base in 16 bits; the one that fits unless given.
    """

    base: Base
    adapters: Mapping[str, Adapter]
    default: str | None = None
    last: Adapter | None = None
    variables: Mapping[str, object] = field(default_factory=dict)
    loader: Loader | None = None

    def speaking(self, names: Sequence[str]) -> Adapter | None:
        """The adapter whose rows, system text and chat template all columns get: the last one named."""
        return next((self.adapters[name] for name in reversed(names) if name in self.adapters), self.last)


def compare(scene: Scene, config: CompareConfig, phases: Phases, show: Show | None = None) -> Comparison:
    """Every column's answers to every prompt, with numbers beside them.

    An interrupt ends it with the rows that every column has answered, where there are any.

    Args:
        scene: what there is.
        config: what was asked for.
        phases: where it is told how far things are.
        show: called with the newest rows, the newest last, whenever there is an answer more.

    Raises:
        LoraError: an unknown column or measure, nothing to ask, or too little memory; before any answer is made.
        KeyboardInterrupt: no row was answered yet.
    """
    work = _Work(scene, config, phases, show)
    for stage in (work.answers, work.general, work.losses, work.wide):
        try:
            stage()
        except KeyboardInterrupt:
            if not work.interrupted():
                raise
            break
    return work.result()


class _Work:
    """One comparison under way. Making it checks all that can be checked before an answer is made."""

    def __init__(self, scene: Scene, config: CompareConfig, phases: Phases, show: Show | None) -> None:
        names = config.columns or [BASE, *([scene.default] if scene.default else [])]
        self.scene, self.config, self.phases, self.show = scene, config, phases, show
        self.columns = columns(names, scene.adapters)
        self.run = scene.speaking(names)
        check(config.wanted or (), config.embedder or "")
        Wanted.of(config).check([column.name for column in self.columns])
        if config.by is not None:
            check_by(config.by, config.wanted)
        if any(column.wide for column in self.columns):
            check_wide(scene.base.facts)
        found = questions(config, self.run, scene.variables)
        self.prompting: Prompting = prompting(
            self.columns, config.system, config.seed, self.run, found.asked, scene.variables
        )
        self.prompts = Prompts(scene.base, self._template, self.prompting)
        self.questions: Questions = self.prompts.fitting(found, self.columns)
        asked = self.questions.asked
        self.decoding = Decoding(config.max_new_tokens, config.temperature, config.top_p, config.seed)
        self.general_asked = general_questions(config.general, scene.variables) if config.general is not None else None
        self.made = Answers(tuple(column.name for column in self.columns), asked)
        self.column_losses = ColumnLosses(asked, self._train_on(), self._template, self._wants({"auc"}))
        self.forgotten: Forgetting | None = None
        self.notes = list(self.questions.notes)
        self.source = self.questions.source + self._after_system()
        self.stopped = False

    def answers(self) -> None:
        """The columns of the base in use and of adapters."""
        here = [column for column in self.columns if not column.wide]
        with self.phases.phase("answers"):
            self._answer(self.scene.base, here)

    def general(self) -> None:
        """The general prompts, before and after."""
        if self.general_asked is None:
            return
        tuned = {column.name: column.key for column in self.columns if column.key is not None}
        with self.phases.phase("general prompts"):
            self.forgotten = forgetting(self.scene.base, tuned, self.general_asked, self.phases, self._template)

    def losses(self) -> None:
        """Held-out losses of the columns of the base in use and of adapters."""
        if not self._loses():
            return
        with self.phases.phase("losses"):
            for column in self.columns:
                if not column.wide:
                    self.scene.base.activate(column.key)
                    self._lose(self.scene.base, column)

    def wide(self) -> None:
        """The columns of the base in 16 bits, loaded when all others are done."""
        wide = [column for column in self.columns if column.wide]
        if not wide:
            return
        with self.phases.phase("16-bit base"), wide_base(self.scene.base.facts, self.scene.loader, self.phases) as base:
            self._answer(base, wide)
            for column in wide:
                self._lose(base, column)

    def interrupted(self) -> bool:
        """Note an interrupt; whether anything is there to keep."""
        self.stopped = True
        return bool(self._whole()[1])

    def result(self) -> Comparison:
        """What came of it."""
        names, places = self._whole()
        if self.stopped:
            self.notes.append(self._stopped_note(names, places))
        measures = None
        try:
            measures = self._measures(names, places)
        except KeyboardInterrupt:
            self.notes.append("interrupted: the numbers beside the answers are not made")
        made = self._comparison(names, places)
        return replace(made, measures=measures, forgetting=self.forgotten)

    def _answer(self, base: Base, chosen: Sequence[Column]) -> None:
        answer(base, chosen, self.prompts, self.decoding, self.made, self.phases, self._told)

    def _told(self) -> None:
        if self.show is not None:
            self.show(self._comparison(self.made.names, self.made.newest()))

    def _comparison(self, names: Sequence[str], places: Sequence[int]) -> Comparison:
        seconds = {name: taken for name, taken in self.made.seconds.items() if name in names}
        about = {column.name: said for column in self.columns if (said := self.prompting.about(column))}
        return Comparison(
            self.scene.base.facts.model, tuple(names), self.made.rows(places, names), self.source,
            described(self.decoding), seconds, about, notes=tuple(self.notes), asked=len(self.questions.asked),
        )  # fmt: skip

    def _whole(self) -> tuple[list[str], list[int]]:
        """The columns and the rows that are kept: all of them, or after an interrupt those that are complete.

        The base in 16 bits comes last, and is left out where it has not answered what the others have.
        """
        here = [column.name for column in self.columns if not column.wide]
        places = self.made.whole(here)
        names = [name for name in self.made.names if name in here or set(places) <= set(self.made.made[name])]
        return names, self.made.whole(names) if names else []

    def _stopped_note(self, names: Sequence[str], places: Sequence[int]) -> str:
        total, left_out = len(self.questions.asked), [name for name in self.made.names if name not in names]
        rows = f"{len(places)} of {total} rows were answered" if len(places) < total else "all rows were answered"
        return "; ".join([f"interrupted: {rows}", *(f"{name} was not asked" for name in left_out)])

    def _after_system(self) -> str:
        """What is said of a system text that goes before every prompt."""
        trained = self.run.system if self.run is not None else None
        text = self.config.system if self.config.system is not None else trained
        return f', after the system text "{text}"' if text and not self.prompting.apart else ""

    @property
    def _template(self) -> str | None:
        return self.run.template if self.run is not None else None

    def _wants(self, measures: set[str]) -> bool:
        return self.config.wanted is None or bool(measures & set(self.config.wanted))

    def _loses(self) -> bool:
        return self._wants(LOSS_MEASURES) and any(one.answer is not None for one in self.questions.asked)

    def _lose(self, base: Base, column: Column) -> None:
        if self._loses():
            context, told = partial(self.prompting.context, column), partial(self._told_losses, column.name)
            self.column_losses.add(base, column.name, context, told)

    def _told_losses(self, name: str, done: int) -> None:
        self.phases.update(done / len(self.questions.asked), f"{name}: loss of {done} rows")

    def _train_on(self) -> TrainOn:
        """Whose tokens the loss is over: as in training; the last answer's where columns differ in what is before."""
        if self.prompting.apart or self.prompting.examples or self.run is None or self.run.settings is None:
            return "last"
        found: TrainOn = self.run.settings.train_on  # type: ignore[assignment]
        return found

    def _measures(self, names: Sequence[str], places: Sequence[int]) -> Measures | None:
        """Numbers beside the answers; none where none are wanted, or nothing can be told."""
        wanted, rows = self.config.wanted, self.made.rows(places, names)
        without = all(row.reference is None for row in rows)
        if wanted == [] or not rows or (wanted is None and without and len(rows) < LEAST_WITHOUT_REFERENCES):
            return None
        return measure(
            [Scored(row.prompt, row.reference, row.outputs) for row in rows], names,
            baseline=BASE if BASE in names else names[0], wanted=wanted, training=self._training(),
            losses=self.column_losses.paired(names, places), label_losses=self.column_losses.of_labels(names, places),
            embedder=self.config.embedder or "", seed=self.config.seed,
        )  # fmt: skip

    def _training(self) -> list[str]:
        """Answers of the run's training rows; none where the rows are gone or there is no run."""
        if self.run is None:
            return []
        with suppress(LoraError):
            return [row.reference for row in training_rows(self.run, self.scene.variables, MOST_TRAINING_ROWS)]
        return []


def described(decoding: Decoding) -> tuple[tuple[str, str], ...]:
    """The decoding as label and value pairs."""
    how = "greedy" if decoding.temperature == 0 else f"temperature {decoding.temperature:g}, top-p {decoding.top_p:g}"
    return (("decoding", how), ("tokens at most", str(decoding.max_new_tokens)), ("seed", str(decoding.seed)))
