"""The functions behind the magics, for Python code: same defaults, same results, same progress shown."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lora_magic.boundary import boundary
from lora_magic.config import (
    AdaptersConfig,
    ChatConfig,
    CompareConfig,
    DataConfig,
    DoctorConfig,
    LoadConfig,
    MergeConfig,
    PlanConfig,
    RunsConfig,
    StatusConfig,
    TrainConfig,
    UseConfig,
)
from lora_magic.config.fields import Config
from lora_magic.errors import LoraError, nearest
from lora_magic.interrupts import said
from lora_magic.results import (
    Adapters,
    Chat,
    Comparison,
    DataReport,
    Diagnosis,
    LoadResult,
    MergeResult,
    PlanResult,
    Runs,
    Status,
    TrainResult,
)
from lora_magic.session import Session

T = TypeVar("T")


@functools.cache
def session() -> Session:
    """The process's session."""
    return Session()


def _load(config: LoadConfig) -> LoadResult:
    """Load a base model, in 4-bit NF4 unless asked otherwise; the one loaded before is freed."""
    from lora_magic.display.progress import Progress

    with said(f"Loading {config.model}", _what_is_loaded), Progress(f"Loading {config.model}") as progress:
        return session().load(config, progress)


def _data(config: DataConfig) -> DataReport:
    """Show rows as a model will see them: format, trained tokens, lengths, and what is wrong with them.

    Counts by the loaded base's tokenizer, or by that of `model`, or else by the embedded model's.
    """
    from lora_magic.display.progress import Progress

    with said("Reading the data", lambda: "Nothing was changed."), Progress("Reading the data") as progress:
        return session().data(config, progress, notebook_variables())


def _plan(config: PlanConfig) -> PlanResult:
    """What a run would take on a card, and the fastest way to compute it that fits; from config.json alone."""
    from lora_magic.display.progress import Progress

    doing = f"Planning {config.model}"
    with said(doing, lambda: "Nothing was changed."), Progress(doing) as progress:
        return session().plan(config, progress, notebook_variables())


def _train(config: TrainConfig) -> TrainResult:
    """Train an adapter on the loaded base, with the loss drawn as it goes.

    Interrupting ends the run and keeps the adapter as of the last step.
    """
    from lora_magic.display.live import picture
    from lora_magic.display.shown import mark_shown

    with said(f"Preparing the run {config.name}", lambda: "Nothing was trained; model and adapters are as they were."):
        result = session().train(config, [picture()], notebook_variables(), print)
    mark_shown(result)
    return result


def _compare(config: CompareConfig) -> Comparison:
    """Answers of the base and of adapters side by side; on the last run's held-out rows without prompts."""
    if config.blind:
        from lora_magic.forms.voting import compared_blind

        return compared_blind(session(), config, notebook_variables())
    from lora_magic.display.comparison_live import LiveComparison
    from lora_magic.results.selected import Wanted, as_asked

    with said("Comparing", lambda: "Model and adapters are as they were."), LiveComparison("Comparing") as live:
        made = session().compare(config, live, notebook_variables(), live.show)
    if config.browse:
        from lora_magic.forms.browsing import browsed

        return browsed(made, Wanted.of(config))
    return as_asked(made, Wanted.of(config))


def _chat(config: ChatConfig) -> Chat:
    """Talk with the base and adapters side by side, turn by turn; a turn can be kept as a row to compare on."""
    from lora_magic.forms.chat import chat

    return chat(session(), config, notebook_variables)


def _merge(config: MergeConfig) -> MergeResult:
    """Merge an adapter into the base's original, unquantised weights; the new folder is verified or not made."""
    from lora_magic.display.progress import Progress

    doing = f"Merging {config.name}"
    with said(doing, lambda: f"{config.out} is as it was."), Progress(doing) as progress, progress.phase("merge"):
        return session().merge(config, lambda share, what: progress.update(share, what))


def _adapters(config: AdaptersConfig) -> Adapters:
    """The adapters of the base and of this folder; one comes in, is made of others, or goes."""
    from lora_magic.display.progress import Progress

    doing = "Opening the drawer of adapters"
    with said(doing, lambda: "Model and adapters are as they were."), Progress(doing) as progress:
        return session().drawer(config, progress)


def _use(config: UseConfig) -> Status:
    """Answer with another adapter, or with the base alone, from now on."""
    return session().use(config)


def _status(_: StatusConfig) -> Status:
    """What is loaded, which adapters are in memory, and what that takes."""
    return session().status()


def _runs(config: RunsConfig) -> Runs:
    """The recorded runs with what differs between them, and their curves over each other; needs no model."""
    from lora_magic.training.read_runs import read_runs

    return read_runs(config.listed)


def _doctor(_: DoctorConfig) -> Diagnosis:
    """Check GPU, driver, packages, disk, memory and token for what a run needs; each fine or with what mends it."""
    from lora_magic.diagnosis import examine

    return examine()


def _what_is_loaded() -> str:
    loaded = session().status().base
    return "No model is loaded now." if loaded is None else f"{loaded.model} is still loaded, with its adapters."


def notebook_variables() -> Mapping[str, object]:
    """The notebook's variables by name; none outside IPython."""
    import sys

    if "IPython" not in sys.modules:
        return {}
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return dict(shell.user_ns) if shell is not None else {}


def twin(name: str, config_class: type[Config], run: Callable[[Any], T]) -> Callable[..., T]:
    """A function whose parameters, defaults and documentation are the config's fields."""
    signature = _signature(config_class, run)

    @boundary
    def function(*args: Any, **kwargs: Any) -> T:
        return run(config_class.of(_bound(signature, name, args, kwargs)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _documented(config_class, run)
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _signature(config_class: type[Config], run: Callable[..., Any]) -> inspect.Signature:
    hints = typing.get_type_hints(config_class)
    first: list[inspect.Parameter] = []
    rest: list[inspect.Parameter] = []
    for field in config_class.__dataclass_fields__.values():
        placed = field.metadata["positional"] or field.name == "prompts"
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if placed else inspect.Parameter.KEYWORD_ONLY
        default = inspect.Parameter.empty if "MISSING" in repr(field.default) else field.default
        (first if placed else rest).append(
            inspect.Parameter(field.name, kind, default=default, annotation=hints[field.name])
        )
    return inspect.Signature([*first, *rest], return_annotation=typing.get_type_hints(run)["return"])


def _bound(signature: inspect.Signature, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    for word in kwargs:
        if word not in signature.parameters:
            remedy = nearest(word, signature.parameters) or f"Known: {', '.join(signature.parameters)}."
            raise LoraError(f'{name}() has no option "{word}".', remedy)
    try:
        return dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise LoraError(f"{name}(): {error}.", f"help(lora_magic.{name}) lists what it takes.") from None


def _documented(config_class: type[Config], run: Callable[..., Any]) -> str:
    fields = config_class.__dataclass_fields__.values()
    listed = [f"    {f.name}: {f.metadata['help']}." for f in fields]
    arguments = ["", "Args:", *listed] if listed else []
    return "\n".join([inspect.getdoc(run) or "", *arguments, "", "Raises:", "    LoraError: with the remedy."])


data: Callable[..., DataReport] = twin("data", DataConfig, _data)
load: Callable[..., LoadResult] = twin("load", LoadConfig, _load)
plan: Callable[..., PlanResult] = twin("plan", PlanConfig, _plan)
train: Callable[..., TrainResult] = twin("train", TrainConfig, _train)
compare: Callable[..., Comparison] = twin("compare", CompareConfig, _compare)
chat: Callable[..., Chat] = twin("chat", ChatConfig, _chat)
merge: Callable[..., MergeResult] = twin("merge", MergeConfig, _merge)
adapters: Callable[..., Adapters] = twin("adapters", AdaptersConfig, _adapters)
use: Callable[..., Status] = twin("use", UseConfig, _use)
status: Callable[..., Status] = twin("status", StatusConfig, _status)
runs: Callable[..., Runs] = twin("runs", RunsConfig, _runs)
doctor: Callable[..., Diagnosis] = twin("doctor", DoctorConfig, _doctor)
