"""What every magic does: help, options, body, call."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from typing import Any, ClassVar

from lora_magic.boundary import boundary, debugging
from lora_magic.config.fields import Config
from lora_magic.errors import LoraError
from lora_magic.forms.layout import LAYOUTS
from lora_magic.magics.opening import open_form
from lora_magic.magics.parser import Parser

NO_EXPANSION = "_ipython_magic_no_var_expand"


class Magic:
    """One magic; subclasses say what it is called, what it takes and what it calls.

    Attributes:
        name: as typed, without `%`.
        config_class: whose fields are its options.
        about: on top of its help.
        example: a line that works as it stands.
        takes_body: also a cell magic.
        body_fields: fields that the body brings, not the line.
        has_form: called with nothing it opens a form.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[Config]]
    about: ClassVar[str]
    example: ClassVar[str]
    takes_body: ClassVar[bool] = False
    body_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.has_form = self.name in LAYOUTS
        self.parser = Parser(
            self.name, self.config_class, self.about, self.example, self.body_fields, self.takes_body, self.has_form
        )

    def call(self, given: dict[str, Any]) -> Any:
        """The twin function, which has the magic's name without `lora_`, with what line and body gave."""
        from lora_magic import api

        return getattr(api, self.name.removeprefix("lora_"))(**given)

    def from_body(self, body: str, given: dict[str, Any]) -> dict[str, Any]:
        """What the cell's body gives; the line, parsed into `given`, wins where both name an option."""
        raise LoraError(f"%%{self.name} takes no body.", f"Write it as a line: %{self.name}")

    def works_bare(self) -> bool:
        """Whether there is work to do with nothing chosen, in place of a form."""
        return False

    def run(self, line: str, cell: str | None, opens: bool = True) -> Any:
        """Parse, then call; `--help` prints and a form opens, both return nothing; `--into` also keeps the result.

        Args:
            line: as typed, without the magic's name.
            cell: the body; None for a line.
            opens: whether a form stands for a line with nothing on it.
        """
        variables = self.variables()
        given = self.parser.parse(line, variables)
        if given.pop("help", False):
            print(self.parser.format_help())
            return None
        given.pop("debug", None)
        asked = given.pop("form", False)
        bare = opens and self.has_form and not given and cell is None
        if asked or (bare and not self.works_bare()):
            open_form(self, line, asked)
            return None
        into = given.pop("into", None)
        if into is not None and (not into.isidentifier() or keyword.iskeyword(into)):
            raise LoraError(f"--into {into}: not a variable's name.", "Use letters, digits and _.")
        if cell is not None and cell.strip():
            given = {**self.from_body(cell, given), **given}
        self.config_class.known(given)
        result = self.call(self.parser.complete(given))
        if into is not None:
            variables[into] = result
        return result

    @staticmethod
    def variables() -> dict[str, Any]:
        """The notebook's variables."""
        from IPython.core.getipython import get_ipython

        shell = get_ipython()
        namespace: dict[str, Any] = shell.user_ns if shell is not None else {}
        return namespace

    def function(self, opens: bool = True) -> Callable[..., Any]:
        """What IPython registers, documented for `%name?`.

        Args:
            opens: whether a form stands for a line with nothing on it.
        """
        run = boundary(self.run)

        def magic(line: str, cell: str | None = None) -> Any:
            with debugging("--debug" in line.split()):
                return run(line, cell, opens)

        setattr(magic, NO_EXPANSION, True)  # our parser expands, and says when it fails
        magic.__name__ = magic.__qualname__ = self.name
        magic.__doc__ = self.parser.format_help()
        return magic
