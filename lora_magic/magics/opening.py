"""A magic's form: when it opens instead of the magic's work, and what the form needs of the magic."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lora_magic.config.fields import checked, converted_field, label
from lora_magic.errors import LoraError
from lora_magic.magics.variables import TEXT

if TYPE_CHECKING:
    from lora_magic.config.fields import Config
    from lora_magic.forms.preview import Preview
    from lora_magic.magics.completion import Offers
    from lora_magic.magics.magic import Magic

_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")


class MagicJob:
    """A magic as its form sees it; see `lora_magic.forms.job.Job`.

    Args:
        magic: which one.
        offers: what there is to choose.
    """

    def __init__(self, magic: Magic, offers: Offers) -> None:
        self._magic, self._offers = magic, offers
        self.name: str = magic.name
        self.config_class: type[Config] = magic.config_class
        self.left_out: tuple[str, ...] = magic.body_fields

    def line(self, given: Mapping[str, Any]) -> str:
        """The line that gives these values; `$name` for data is the notebook's variable."""
        from lora_magic.magics.lines import line

        return line(self._magic, {name: self._passed(name, value) for name, value in given.items()})

    def _passed(self, name: str, value: Any) -> Any:
        from lora_magic.magics.lines import Variable

        field = self.config_class.__dataclass_fields__[name]
        found = _VARIABLE.fullmatch(value) if field.metadata["offers"] == "data" and isinstance(value, str) else None
        return Variable(found[1]) if found else value

    def parse(self, line: str) -> dict[str, Any]:
        """What a line gives by field.

        Raises:
            LoraError: as the magic itself would.
        """
        parser = self._magic.parser
        return parser.complete(parser.parse(self._options(line), self._magic.variables()))

    def _options(self, line: str) -> str:
        return line.removeprefix(f"%{self.name}")

    def run(self, line: str) -> Any:
        """Run a line as a cell would, with nothing on it too."""
        return self._magic.function(opens=False)(self._options(line))

    def needs(self, line: str) -> list[str]:
        """Names of the notebook's variables that a line takes rows from."""
        from lora_magic.magics.completion import data_names

        written = self._magic.parser.parse(self._options(line))
        fields = self.config_class.__dataclass_fields__
        told = [written[name] for name in written if name in fields and fields[name].metadata["offers"] == "data"]
        known = data_names(self._magic.variables())
        return [one.removeprefix("$") for one in map(str, told) if one in known or _VARIABLE.fullmatch(one)]

    def offered(self, field: str) -> list[str]:
        """What completion offers for a field."""
        from lora_magic.magics.completion import complete

        asked = self.config_class.__dataclass_fields__[field]
        before = f"%{self.name} "
        if asked.metadata["positional"]:
            placed = [f.name for f in self.config_class.__dataclass_fields__.values() if f.metadata["positional"]]
            before += "x " * placed.index(field)
        else:
            before += f"--{label(asked)} "
        found = complete(before, {self.name: self._magic}, self._offers)
        return [_unquoted(one) for one in found[1]] if found else []


def _unquoted(word: str) -> str:
    try:
        return "".join(shlex.split(word)) if word[:1] in "\"'" else word
    except ValueError:
        return word


def open_form(magic: Magic, typed: str, asked: bool) -> None:
    """Show a magic's form in a notebook, its help in a terminal.

    Args:
        typed: the line, whose values stand in the form.
        asked: whether --form stands on it.

    Raises:
        LoraError: a form was asked for in a terminal.
    """
    from lora_magic.display.surface import in_notebook

    if not in_notebook():
        if asked:
            raise LoraError("--form needs a notebook.", f"%{magic.name} --help lists what a line takes.")
        print(magic.parser.format_help())
        return
    from lora_magic.forms.form import opened
    from lora_magic.magics.offers import offers

    opened(MagicJob(magic, offers(magic.variables)), _prefilled(magic, typed), preview_of(magic))


def _prefilled(magic: Magic, typed: str) -> dict[str, Any]:
    """The line's values, with variables in place except where one holds data.

    Raises:
        LoraError: the line cannot be read, or a value is not among a field's choices.
    """
    written = magic.parser.parse(typed)
    values = magic.parser.parse(typed, magic.variables())
    fields = magic.config_class.__dataclass_fields__
    found = {n: value if isinstance(value, TEXT) else written[n] for n, value in values.items() if n in fields}
    for name in (n for n in found if fields[n].metadata["choices"]):
        found[name] = converted_field(magic.config_class, fields[name], found[name])
        checked(fields[name], found[name])
    return found


def preview_of(magic: Magic) -> Callable[[Config], str] | None:
    """What the choices of a run or a plan lead to; for a run nothing is imported before a base is loaded."""
    if magic.name not in ("lora_train", "lora_plan"):
        return None
    made: list[Preview] = []

    def preview(config: Config) -> str:
        loaded = sys.modules.get("lora_magic.api")
        if magic.name == "lora_train" and (loaded is None or loaded.session().status().base is None):
            return ""
        from lora_magic import api

        if not made:
            from lora_magic.forms.preview import Preview

            made.append(Preview(api.session(), api.notebook_variables))
        return made[0](config)

    return preview
