"""Runs read back from disk: found by name, with their settings and whatever of their record can be read.

A record may be damaged, cut short or growing while it is read. Reading one run never raises: what could not be
read is said in the run's notes.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path
from typing import Any

from lora_magic.backends.saved import RUNS
from lora_magic.errors import LoraError, nearest

CONFIG, METRICS, ADAPTER = "config.yaml", "metrics.jsonl", "adapter"
LARGEST_CONFIG = 2**18
_NAMED = 8


def run_names() -> list[str]:
    """Names of the runs in ./lora_runs, in alphabetical order; none where there is no such folder."""
    with suppress(OSError):
        return sorted(path.name for path in RUNS.iterdir() if not path.name.startswith(".") and is_run(path))
    return []


def is_run(folder: Path) -> bool:
    """Whether `folder` holds any part of a run's record: settings, metrics or an adapter."""
    return any(is_file(folder / part) for part in (CONFIG, METRICS, f"{ADAPTER}/adapter_config.json"))


def is_file(path: Path) -> bool:
    """Whether `path` is a plain file that may be asked for; a pipe, say, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def find_run(name: str) -> Path:
    """The absolute folder of a recorded run.

    Args:
        name: a run in ./lora_runs, or else the path of a run's folder.

    Raises:
        LoraError: there is no such run (with the nearest name), or the folder holds none.
    """
    places = [RUNS / name] if name == Path(name).name and name not in ("", "..") else []
    with suppress(RuntimeError):  # a home folder that nobody has
        places += [Path(name).expanduser()] if name else []
    for folder in places:
        if is_run(folder):
            return folder.absolute()
    recorded = run_names()
    known = f"Recorded: {', '.join(recorded[:_NAMED])}{', …' if len(recorded) > _NAMED else ''}."
    remedy = nearest(name, recorded) or (known if recorded else "Make one: %lora_train NAME --data demo-json")
    if any(_is_dir(folder) for folder in places):
        raise LoraError(f'The folder "{name}" holds no run: it has no {CONFIG} and no {METRICS}.', remedy)
    raise LoraError(f'There is no run "{name}" in {RUNS.absolute()}.', remedy)


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def read_settings(folder: Path) -> dict[str, Any]:
    """What config.yaml of a run says, by option name.

    Args:
        folder: the run's, as from `find_run`.

    Raises:
        LoraError: the file is missing, cannot be read, or holds no settings.
    """
    path = folder / CONFIG
    remedy = "%lora_runs lists the runs and what of them can be read."
    if not is_file(path):
        raise LoraError(f"The settings of the run {folder.name} are missing: there is no {path}.", remedy)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_CONFIG + 1)
        if len(content) > LARGEST_CONFIG:
            raise ValueError(f"it is larger than {LARGEST_CONFIG // 1024} KiB")
        found = _parsed(content.decode("utf-8"))
        if not isinstance(found, dict) or not found:
            raise ValueError("it holds no settings" if found else "it is empty")
    except (OSError, ValueError, RecursionError) as error:
        raise LoraError(f"{path} cannot be read: {_said(error)}.", remedy) from None
    return {str(name): value for name, value in found.items()}


def _said(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return (getattr(error, "strerror", None) or " ".join(str(error).split())).rstrip(".")


def _parsed(text: str) -> Any:
    """The YAML document in `text`, which must repeat nothing by reference.

    Raises:
        ValueError: it is no YAML, or refers to parts of itself, which no record does and few lines of which
            can stand for gigabytes.
    """
    import yaml

    try:
        return yaml.load(text, _loader())  # noqa: S506  a safe loader with less
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context or 'no YAML'}{line}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except (LookupError, AttributeError, TypeError) as error:  # from values whose tag says another kind
        raise ValueError(f"it holds a value that cannot be ({error})") from None


@functools.cache
def _loader() -> Any:
    import yaml

    class WithoutReferences(yaml.SafeLoader):
        """A safe loader that refuses references."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it refers to parts of itself")
            return super().compose_node(parent, index)

    return WithoutReferences
