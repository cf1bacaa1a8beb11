"""One option: its default, help, range and choices; and how a value from text, YAML or Python becomes one."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from lora_magic.config.defaults import own
from lora_magic.errors import LoraError, nearest

REQUIRED: Any = dataclasses.MISSING


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[Any, ...] = (),
    metavar: str = "",
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    positional: bool = False,
    rest: bool = False,
    offers: str = "",
    spelled: str = "",
    bare: Any = None,
) -> Any:
    """A dataclass field that carries what its option, form field and documentation need.

    Args:
        default: the value when nothing is given; `REQUIRED` for none.
        help: one line, without the default.
        choices: the only values allowed.
        metavar: what stands for the value in help.
        low, high: inclusive bounds. above: an exclusive lower bound.
        positional: given by place on a magic's line, not by `--name`.
        rest: takes several names, separated by commas; a list in Python.
        offers: what completion and forms offer beside fixed choices, such as "data" or "adapters".
        spelled: the option's name where the field's cannot be it, such as "from", a word of Python's own.
        bare: the value of the option given on a line without one; None where it needs one.
    """
    metadata = {
        "help": help, "choices": choices, "metavar": metavar, "low": low, "above": above, "high": high,
        "positional": positional, "rest": rest, "offers": offers, "spelled": spelled, "bare": bare,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=metadata)


class Config:
    """Base of the configs: converts and checks every field when made, and makes changed copies.

    Attributes:
        given: names of the options that somebody gave; empty unless made by `of`.

    Raises:
        LoraError: a value of the wrong type, outside its range or not among the choices.
    """

    __dataclass_fields__: typing.ClassVar[dict[str, dataclasses.Field[Any]]]
    given: typing.ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = converted(field, hints[field.name], getattr(self, field.name))
            checked(field, value)
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """What no single field can tell; overridden where options depend on each other."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """A config from option names (dashes or underscores) and values; the user's own defaults for the rest.

        Raises:
            LoraError: an unknown name (with the nearest known one) or a bad value.
        """
        values = cls.by_field(given)
        cls.known(values)
        made = cls(**{**own(cls.__name__), **values})
        object.__setattr__(made, "given", frozenset(values))
        return made

    @classmethod
    def by_field(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` with every option's name (dashes or underscores) turned into its field's; unknown ones stay."""
        spelled = {label(field): field.name for field in dataclasses.fields(cls)}
        return {spelled.get(name.replace("_", "-"), name.replace("-", "_")): value for name, value in given.items()}

    @classmethod
    def known(cls, names: Iterable[str]) -> None:
        """Hold option names (underscores) against the fields.

        Raises:
            LoraError: one is unknown, with the nearest known one.
        """
        fields = dataclasses.fields(cls)
        for name in names:
            if name not in {field.name for field in fields}:
                spelled = [label(field) for field in fields]
                raise LoraError(f'Unknown option "{name}".', nearest(name.replace("_", "-"), spelled) or _list(spelled))

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`, checked anew; what counts as given stays."""
        made = dataclasses.replace(self, **changes)
        object.__setattr__(made, "given", self.given)
        return made

    def as_dict(self) -> dict[str, Any]:
        """Plain values by option name, in field order, ready for YAML."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def _list(names: Iterable[str]) -> str:
    return f"Known: {', '.join(names)}."


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, tuple) else f"<{type(value).__name__}>"


def label(field: dataclasses.Field[Any]) -> str:
    """How messages call a field: its option's spelling without the dashes in front."""
    spelled: str = field.metadata["spelled"]
    return spelled or field.name.replace("_", "-")


def default_hint(field: dataclasses.Field[Any]) -> str:
    """The remedy for a bad value: `The default is 8.`, or to leave out what is chosen by itself."""
    if field.default is dataclasses.MISSING:
        return f"Give {field.metadata['metavar'] or label(field)}: {field.metadata['help']}."
    return "Leave it out to have it chosen." if field.default is None else f"The default is {field.default}."


def converted(field: dataclasses.Field[Any], hint: Any, value: Any) -> Any:
    """`value` as the field's type: text becomes a number where the field is one.

    Raises:
        LoraError: the value cannot be one.
    """
    kinds = typing.get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and value in field.metadata["choices"]:
        return value
    for kind, convert in ((bool, _bool), (int, _int), (float, _float)):
        if kind in kinds:
            done = convert(value)
            if done is not None:
                return done
    if str in kinds:
        return _text(field, value)
    if any(k in kinds for k in (bool, int, float)):
        wanted = "yes or no" if bool in kinds else "a whole number" if float not in kinds else "a number"
        raise LoraError(f"{label(field)} must be {wanted}, got {value!r}.", default_hint(field))
    return value


def converted_field(config_class: type[Config], field: dataclasses.Field[Any], value: Any) -> Any:
    """`value` as a field of `config_class` takes it; see `converted`."""
    return converted(field, typing.get_type_hints(config_class)[field.name], value)


def _text(field: dataclasses.Field[Any], value: Any) -> str:
    if isinstance(value, list | tuple) and field.metadata["rest"]:
        return ",".join(str(v) for v in value)
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str):
        raise LoraError(f"{label(field)} must be text, got {value!r}.", default_hint(field))
    return value


def _bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())


def _int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if hasattr(value, "__index__"):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return int(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not (isinstance(value, str) or hasattr(value, "__float__")):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def checked(field: dataclasses.Field[Any], value: Any) -> None:
    """Holds `value` against the field's choices and range.

    Raises:
        LoraError: naming the field, the value and what is allowed.
    """
    meta = field.metadata
    if value is None:
        return
    if meta["choices"] and value not in meta["choices"]:
        names = [str(c) for c in meta["choices"]]
        remedy = nearest(str(value), names) or f"Choose {', '.join(names)}."
        raise LoraError(f"{label(field)} cannot be {value!r} (choices: {', '.join(names)}).", remedy)
    if isinstance(value, int | float) and not isinstance(value, bool):
        _in_range(field, value)


def _in_range(field: dataclasses.Field[Any], value: float) -> None:
    low, above, high = (field.metadata[k] for k in ("low", "above", "high"))
    inside = (low is None or value >= low) and (above is None or value > above) and (high is None or value <= high)
    if inside and math.isfinite(value):
        return
    lower = f"at least {_shown(low)}" if low is not None else f"above {_shown(above)}" if above is not None else ""
    upper = f"at most {_shown(high)}" if high is not None else ""
    bounds = " and ".join(filter(None, [lower, upper])) or "a finite number"
    raise LoraError(f"{label(field)} must be {bounds}, got {_shown(value)}.", default_hint(field))


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
