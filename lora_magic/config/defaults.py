"""Defaults of the user's own, which stand in for a config's wherever an option is not given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_own: dict[str, dict[str, Any]] = {}


def own(config_class: str) -> Mapping[str, Any]:
    """The user's defaults for a config class, by field name.

    Args:
        config_class: the class's name, such as "TrainConfig".
    """
    return _own.get(config_class, {})


def put(config_class: str, field: str, value: Any) -> None:
    """Use `value` wherever `field` of `config_class` is not given; both by name."""
    _own.setdefault(config_class, {})[field] = value


def take_back(config_class: str, field: str) -> None:
    """Use the config's own default again."""
    _own.get(config_class, {}).pop(field, None)


def clear() -> None:
    """Forget all of the user's defaults."""
    _own.clear()
