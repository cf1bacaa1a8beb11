"""Completing a magic's line: options, their values, adapters, variables, runs and files, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.config.compare import NO_MEASURES
from lora_magic.config.fields import label
from lora_magic.demo import DATASETS

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from lora_magic.magics.magic import Magic

_OURS = re.compile(r"^\s*(?:\w+\s*=\s*)?%{1,2}(lora(?:_\w+)?)(\s.*)$", re.DOTALL)
COMMON = ("--debug", "--help")
PROMPTED = ("base+system", "base+3-shot", "base-16bit")
LAYERS = ("all-linear", "attention", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Offers:
    """What can be offered beside an option's fixed choices; each is asked only when needed.

    Attributes:
        adapters: names in memory.
        variables: names of notebook variables that could be data.
        runs: names of recorded runs.
    """

    adapters: Callable[[], Iterable[str]]
    variables: Callable[[], Iterable[str]]
    runs: Callable[[], Iterable[str]]


def complete(before: str, magics: Mapping[str, Magic], offers: Offers) -> tuple[str, list[str]] | None:
    """What could stand in place of the word that the cursor is in.

    Args:
        before: the line up to the cursor.
        magics: by name, without `%`.
        offers: see there.

    Returns:
        The word so far and its completions in order, or None when the line is not one of our magics.
    """
    match = _OURS.match(before)
    if match is None or match[1] not in magics:
        return None
    words, word = _split(match[2])
    return word, [found for found in _candidates(magics[match[1]], words, word, offers) if found.startswith(word)]


def _split(text: str) -> tuple[list[str], str]:
    """The words that are finished, and the one that is being typed, an open quotation mark with it."""
    opened = re.search(r"""(?:^|\s)(["'][^"']*)$""", text)
    if opened and text.count(opened[1][0]) % 2:
        return text[: opened.start(1)].split(), opened[1]
    words = text.split()
    return (words, "") if not text or text[-1].isspace() else (words[:-1], words[-1])


def _candidates(magic: Magic, words: list[str], word: str, offers: Offers) -> list[str]:
    fields = magic.config_class.__dataclass_fields__
    on_line = {name: field for name, field in fields.items() if name not in magic.body_fields}
    options = {f"--{label(field)}": field for field in on_line.values() if not field.metadata["positional"]}
    last = words[-1] if words else ""
    if last in options and options[last].type != "bool":
        return _values(options[last], word, offers)
    if word.startswith("-"):
        common = ("--form", *COMMON) if magic.has_form else COMMON
        return [option for option in (*options, *common) if option not in words]
    places = [field for field in on_line.values() if field.metadata["positional"]]
    index = _positionals(words, options)
    return _values(places[index], word, offers) if index < len(places) else []


def _positionals(words: list[str], options: Mapping[str, Any]) -> int:
    """How many words stand by themselves, values of options not counted."""
    count, skip = 0, False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("--"):
            skip = word in options and options[word].type != "bool"
        else:
            count += 1
    return count


def _values(field: Any, word: str, offers: Offers) -> list[str]:
    if field.metadata["choices"]:
        return [str(choice) for choice in field.metadata["choices"]]
    kind = field.metadata["offers"]
    if kind == "data":
        return [*map(_quoted, offers.variables()), *DATASETS, *_files(word)]
    if kind == "model":
        return ["demo", *_files(word, folders=True)]
    if kind == "adapter":
        return [*map(_quoted, ("base", *offers.adapters()))]
    if kind == "adapter or folder":
        return [*map(_quoted, offers.adapters()), *_files(word, folders=True)]
    if kind == "adapters":
        return _listed(word, ["base", *offers.adapters()])
    if kind == "columns":
        return _listed(word, ["base", *offers.adapters(), *PROMPTED])
    if kind == "measures":
        from lora_magic.evaluation.measures import MEASURES

        return _listed(word, [*MEASURES, NO_MEASURES])
    if kind == "layers":
        return _listed(word, LAYERS)
    if kind == "run":
        return _runs(word, offers.runs()) if field.metadata["rest"] else [*map(_quoted, offers.runs())]
    return _files(word, folders=kind == "folder") if kind in ("folder", "file") else []


def _listed(word: str, names: Iterable[str]) -> list[str]:
    """Completions of the last name in a list with commas, those already in it left out."""
    head, comma, _ = word.rpartition(",")
    taken = head.split(",")
    return [head + comma + name for name in names if name not in taken]


def _runs(word: str, names: Iterable[str]) -> list[str]:
    """As `_listed`, in quotation marks where a name has a space."""
    quote = word[0] if word[:1] in ("'", '"') else ""
    listed = _listed(word[len(quote) :], names)
    return [f"{quote}{names}" for names in listed] if quote else [*map(_quoted, listed)]


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name


def _files(word: str, folders: bool = False) -> list[str]:
    """Files and folders that the word could become, hidden ones left out; a quotation mark is kept."""
    quote = word[0] if word[:1] in ("'", '"') else ""
    typed = word[len(quote) :]
    folder = typed[: typed.rfind("/") + 1]
    try:
        entries = sorted(Path(folder or ".").expanduser().iterdir())
    except OSError:
        return []
    found = []
    for entry in entries:
        if entry.name.startswith(".") or (folders and not entry.is_dir()):
            continue
        path = folder + entry.name + ("/" if entry.is_dir() else "")
        found.append(f'"{path}"' if " " in path and not quote else f"{quote}{path}")
    return found


class Completer:
    """Hooks completion into a shell, old or new, and out again.

    IPython 8.6 and later ask a matcher that may suppress all others. Before that the completer's list of
    magics' own matchers is the one whose answer stands alone.
    """

    def __init__(self, shell: InteractiveShell, magics: Mapping[str, Magic], offers: Offers) -> None:
        self._completer: Any = shell.Completer
        self._magics, self._offers = magics, offers
        self._matcher: Any = None

    def install(self) -> None:
        """Begin to complete."""
        try:
            from IPython.core.completer import context_matcher
        except ImportError:
            self._matcher = self._old
            self._completer.magic_arg_matchers.append(self._matcher)
            return
        self._matcher = context_matcher(identifier="lora_magic")(self._new())
        self._completer.custom_matchers.append(self._matcher)

    def remove(self) -> None:
        """Leave nothing behind."""
        for matchers in (self._completer.custom_matchers, getattr(self._completer, "magic_arg_matchers", [])):
            if self._matcher in matchers:
                matchers.remove(self._matcher)

    def _new(self) -> Callable[[Any], Any]:
        def lora_magic_matcher(context: Any) -> Any:
            from IPython.core.completer import SimpleCompletion

            found = complete(context.text_until_cursor, self._magics, self._offers)
            if found is None:
                return {"completions": [], "suppress": False}
            word, options = found
            completions = [SimpleCompletion(option, type="param") for option in options]
            return {"completions": completions, "matched_fragment": word, "ordered": True, "suppress": True}

        return lora_magic_matcher

    def _old(self, text: str) -> list[str]:
        found = complete(self._completer.text_until_cursor, self._magics, self._offers)
        if found is None:
            return []
        word, options = found
        tail = self._completer.splitter.split_line(self._completer.text_until_cursor)
        return [option[len(word) - len(tail) :] for option in options] or [tail]


def data_names(variables: Mapping[str, object]) -> list[str]:
    """Names of the variables that could be data: lists of dicts or texts, DataFrames, Datasets."""
    return sorted(name for name, value in variables.items() if not name.startswith("_") and _could_be_data(value))


def _could_be_data(value: object) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and isinstance(value[0], dict | str)
    kind = type(value)
    known = {"pandas": ("DataFrame",), "datasets": ("Dataset", "DatasetDict", "IterableDataset")}
    return kind.__name__ in known.get(kind.__module__.partition(".")[0], ())
