"""Which settings of several runs differ, in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lora_magic.display.safe import line
from lora_magic.results import RunSummary

_NOT_SAID = frozenset({"name", "model", "data", "data_reference", "given"})
_MOST_IN_FULL = 3
_LONGEST_VALUE = 32
_MOST_SAID = 12
_HASH_LENGTH = 8


def differences(runs: Sequence[RunSummary]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is not the same in all runs.

    Runs whose settings could not be read do not count. `alpha` is left out where it follows from the rank, the
    hash of the data's content where the data's names differ already.

    Returns:
        For each run those settings, such as `rank 8 · lr 2e-4`, and what most runs have. Where more than three
        settings differ, a run's own are only those that most runs do not have; up to three are said in full.
    """
    configs = [run.config for run in runs if run.config]
    differing = _differing(configs)
    usual = _usual(configs, differing) if len(differing) > _MOST_IN_FULL else {}
    own = (" · ".join(_own(run.config, differing, usual)) for run in runs)
    return tuple(own), tuple(_setting(key, usual[key]) for key in list(usual)[:_MOST_SAID] if usual[key] is not None)


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for config in configs for key in config if key not in _NOT_SAID)
    if all(config.get("alpha") == _twice(config.get("rank")) for config in configs):
        keys.pop("alpha", None)
    if len({str(config.get("data")) for config in configs}) > 1:
        keys.pop("content_hash", None)
    return [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)]


def _twice(value: Any) -> Any:
    return 2 * value if isinstance(value, int | float) else None


def _usual(configs: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """The values that more than half of the runs have."""
    usual = {}
    for key in keys:
        values = [config.get(key) for config in configs]
        common = max(values, key=values.count)
        if 2 * values.count(common) > len(values):
            usual[key] = common
    return usual


def _own(config: Mapping[str, Any], keys: Sequence[str], usual: Mapping[str, Any]) -> list[str]:
    """What to say of one run; a setting that it lacks is said only where most runs have it."""
    if not config:
        return []
    said = [key for key in keys if (config.get(key) is not None if key not in usual else config.get(key) != usual[key])]
    told = [_setting(key, config.get(key)) for key in said[:_MOST_SAID]]
    return [*told, "…"] if len(said) > _MOST_SAID else told


def _setting(key: str, value: Any) -> str:
    """An option and its value as a user would type them."""
    if isinstance(value, bool) or value is None:
        told = {True: "yes", False: "no", None: "none"}[value]
    elif isinstance(value, float):
        told = _number(value)
    elif key == "content_hash":
        told = str(value)[:_HASH_LENGTH]
    else:
        told = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{cut(key, _LONGEST_VALUE).replace('_', '-')} {cut(told, _LONGEST_VALUE)}"


def _number(value: float) -> str:
    """A number in few signs: 2e-4, 0.05, 3."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if exponent else mantissa


def cut(text: str, length: int) -> str:
    """`text` on one line of at most `length` characters."""
    short = line(text[: 4 * length])
    return short if len(short) <= length and len(text) <= 4 * length else f"{short[: length - 1]}…"
