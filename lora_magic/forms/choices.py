"""What stands in a form's fields: what of it the line must say, what it becomes, and which of it is wrong."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_magic.config import TrainConfig
from lora_magic.config.fields import Config, checked, converted_field, label
from lora_magic.errors import LoraError
from lora_magic.forms.job import Job

_DECIDING = ("preset", "from_run")


@dataclass
class Choices:
    """The fields' values and what follows from them.

    Attributes:
        line: what stands for them.
        given: the values that the line says, by field.
        settled: every field's value as the run would have it; as of the last valid choice.
        wrong: the message of each bad field; "" is what no field can be blamed for.
    """

    line: str
    given: dict[str, Any]
    settled: dict[str, Any]
    wrong: dict[str, LoraError] = field(default_factory=dict)


def settled(config_class: type[Config], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every field's value where only `given` is given: the user's defaults, the preset's or a run's in place.

    Raises:
        LoraError: a bad value, one that another contradicts, or a run that is not there.
    """
    config = config_class.of(given)
    if isinstance(config, TrainConfig) and config.from_run is not None:
        return _of_run(given)
    config = getattr(config, "with_preset", lambda: config)()
    return {name: getattr(config, name) for name in config_class.__dataclass_fields__}


def _of_run(given: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded run's settings with what is given in their place; its rows are not read."""
    from lora_magic.training.repeat import repeated

    config = repeated(TrainConfig.of({"data": "", **given})).config.with_preset()
    return {name: getattr(config, name) for name in config.__dataclass_fields__} | {"data": given.get("data")}


def untouched(config_class: type[Config], chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What each field is while nobody chooses it; None where it must be given.

    Args:
        config_class: whose fields.
        chosen: values that decide others: a preset, a run.
    """
    fields = dataclasses.fields(config_class)
    blank = {f.name: None if f.default is dataclasses.MISSING else f.default for f in fields}
    # What must be given stands there only so that the rest can be asked for.
    needed = {f.name: "x" for f in fields if f.default is dataclasses.MISSING or f.name == "data"}
    try:
        found = settled(config_class, {**needed, **(chosen or {})})
    except LoraError:
        return blank
    return {**found, **{name: blank[name] for name in needed}}


def choose(job: Job, values: Mapping[str, Any], recent: Sequence[str]) -> Choices:
    """The line for what stands in the fields, and what is wrong with it.

    Args:
        job: the magic.
        values: by field, as typed; None for an empty one.
        recent: fields in the order in which they were changed, the last one last; the others' values do not count.
    """
    fields = job.config_class.__dataclass_fields__
    wrong: dict[str, LoraError] = {}
    made: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or name not in recent:
            continue
        try:
            made[name] = converted_field(job.config_class, fields[name], value)
            checked(fields[name], made[name])
        except LoraError as error:
            made.setdefault(name, value)
            wrong[name] = error
    base = untouched(job.config_class)
    if chosen := {name: made[name] for name in _DECIDING if name in made and name not in wrong}:
        base = {**untouched(job.config_class, chosen), **{name: base[name] for name in chosen}}
    given = {name: value for name, value in made.items() if name in wrong or value != base[name]}
    line = job.line({name: values[name] if name in wrong else value for name, value in given.items()})
    if wrong:
        return Choices(line, given, base, wrong)
    try:
        found = settled(job.config_class, job.parse(line))
    except LoraError as error:
        return Choices(line, given, base, {blamed(job, given, recent, error): error})
    return Choices(line, given, found)


def blamed(job: Job, given: Mapping[str, Any], recent: Sequence[str], error: LoraError) -> str:
    """The field that an error of the whole is shown at: one without which it goes away, the latest changed first.

    Returns:
        Its name; else the first field that the message names, else one without which something else is wrong, or "".
    """
    order = sorted(given, key=lambda name: recent.index(name) if name in recent else -1, reverse=True)
    without = {name: _problem(job, {one: value for one, value in given.items() if one != name}) for name in order}
    cured = [name for name, problem in without.items() if not problem]
    other = [name for name, problem in without.items() if problem != error.problem]
    return next(iter(cured), "") or _named(job, error.problem) or next(iter(other), "")


def _problem(job: Job, given: Mapping[str, Any]) -> str:
    try:
        settled(job.config_class, job.parse(job.line(given)))
    except LoraError as error:
        return error.problem
    return ""


def _named(job: Job, said: str) -> str:
    """The field that a message names first, by its option or as what the line calls a word by place."""
    places = {}
    for name, one in job.config_class.__dataclass_fields__.items():
        words = [f"--{label(one)}", label(one)]
        if one.metadata["positional"] and one.metadata["metavar"]:
            words.append(one.metadata["metavar"])
        found = [re.search(rf"(?<![\w$-]){re.escape(word)}(?![\w-])", said) for word in words]
        starts = [match.start() for match in found if match]
        if starts:
            places[name] = min(starts)
    return min(places, key=places.__getitem__, default="")
