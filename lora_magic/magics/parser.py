"""A magic's line: the options of its config, parsed as a shell would, with errors of one line."""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from lora_magic.config.defaults import own
from lora_magic.config.fields import Config, label
from lora_magic.errors import LoraError, nearest
from lora_magic.magics.variables import TEXT, expand, split_words


class Parser(argparse.ArgumentParser):
    """argparse made from a config, whose errors are a `LoraError`.

    Args:
        name: the magic's, such as `lora_train`.
        config_class: whose fields are the options.
        about: a sentence or two on top of the help.
        example: a line that works as it stands.
        left_out: fields that the line does not take (a cell's body brings them).
        takes_body: also a cell magic, whose result `--into` keeps.
        has_form: `--form` opens its form.
    """

    def __init__(
        self,
        name: str,
        config_class: type[Config],
        about: str,
        example: str,
        left_out: tuple[str, ...] = (),
        takes_body: bool = False,
        has_form: bool = False,
    ) -> None:
        super().__init__(
            prog=f"%{name}", description=about, epilog=f"Example: {example}", allow_abbrev=False, add_help=False,
            formatter_class=_Formatter, argument_default=argparse.SUPPRESS,
        )  # fmt: skip
        self.config_class, self.example = config_class, example
        self._negative_number_matcher = re.compile(r"-\.?\d")
        self._required: list[str] = []
        hints = typing.get_type_hints(config_class)
        for field in dataclasses.fields(config_class):
            if field.name not in left_out:
                self._add(field, hints[field.name])
        if takes_body:
            self.add_argument("--into", metavar="VARIABLE", help="leave the result in this variable")
        if has_form:
            self.add_argument("--form", action="store_true", help="choose in a form that begins with these values")
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")
        self.add_argument("--help", action="store_true", help="show this")

    def _add(self, field: dataclasses.Field[Any], hint: Any) -> None:
        text, required = field.metadata["help"].replace("%", "%%"), field.default is dataclasses.MISSING
        if not required and field.default not in (None, False) and not field.metadata["positional"]:
            text += f" (default {field.default})"
        if required:
            self._required.append(field.name)
        shown = field.metadata["metavar"] or "|".join(str(c) for c in field.metadata["choices"])
        if field.metadata["positional"]:
            self.add_argument(field.name, nargs="?", metavar=shown, help=text)
        elif hint is bool:
            self.add_argument(_option(field), dest=field.name, action="store_true", help=text)
        else:
            bare = {} if field.metadata["bare"] is None else {"nargs": "?", "const": field.metadata["bare"]}
            self.add_argument(_option(field), dest=field.name, metavar=shown or label(field).upper(), help=text, **bare)

    def format_help(self) -> str:
        """argparse's help, with the defaults that `%config` set."""
        text = super().format_help()
        fields = self.config_class.__dataclass_fields__
        put = ", ".join(f"{label(fields[name])} {value}" for name, value in own(self.config_class.__name__).items())
        return f"{text}\nDefaults set by %config: {put}\n" if put else text

    def error(self, message: str) -> NoReturn:
        """argparse's complaint as one line."""
        raise LoraError(f"{self.prog}: {message.removeprefix('argument ')}.", f"Example: {self.example}")

    def parse(self, line: str, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Field names and values of what the line gives; `help`, `debug`, `form` and `into` too when asked for.

        Args:
            line: as typed.
            variables: the notebook's, for `$name` and `{expression}`; None leaves these as they are.

        Raises:
            LoraError: an open quotation, an unknown option (with the nearest), a word too many, a variable
                that is not there.
        """
        try:
            words = split_words(line)
        except ValueError as error:
            raise LoraError(f"{self.prog}: {str(error).lower()} in: {line.strip()}", "Close the quotation.") from None
        self._refuse_spread_list(words)
        known, unknown = self.parse_known_intermixed_args(words)
        if unknown:
            self._refuse(unknown[0])
        given = vars(known)
        if variables is None:
            return given
        return {name: self._expanded(name, value, variables) for name, value in given.items()}

    def _expanded(self, name: str, value: Any, variables: Mapping[str, object]) -> Any:
        if not isinstance(value, str):
            return value
        made = expand(value, variables)
        fields = self.config_class.__dataclass_fields__
        if isinstance(made, TEXT) or (name in fields and fields[name].metadata["offers"] == "data"):
            return made
        kind = type(made).__name__
        raise LoraError(
            f"{self.prog}: {value} is a {kind}, and {name.replace('_', '-')} takes text.", "Only --data takes objects."
        )

    def _refuse_spread_list(self, words: list[str]) -> None:
        """`--target q_proj v_proj` would silently take the second name for something else."""
        lists = {_option(f) for f in self.config_class.__dataclass_fields__.values() if f.metadata["rest"]}
        for option, first, second in zip(words, words[1:], words[2:], strict=False):
            if option in lists and not second.startswith("-"):
                raise LoraError(
                    f"{self.prog}: {option} {first} {second} is ambiguous.",
                    f"Join names with commas: {option} {first},{second}. Anything else goes before {option}.",
                )

    def _refuse(self, word: str) -> NoReturn:
        options = [s for action in self._actions for s in action.option_strings]
        if word.startswith("-"):
            name = word.partition("=")[0]
            raise LoraError(
                f'{self.prog} has no option "{name}".', nearest(name, options) or f"{self.prog} --help lists all."
            )
        raise LoraError(f'{self.prog} does not know what to do with "{word}".', self._meant(word))

    def _meant(self, word: str) -> str:
        """What a word that belongs to no option was probably for."""
        takes = [_option(f) for f in self.config_class.__dataclass_fields__.values() if f.metadata["offers"] == "data"]
        if takes and Path(word).is_file():
            return f"Write {takes[0]} {word}."
        return 'Names with spaces need quotes: "two words".'

    def complete(self, given: dict[str, Any]) -> dict[str, Any]:
        """`given`, held against what must be given.

        Raises:
            LoraError: something is missing.
        """
        for name in self._required:
            if name not in given:
                spelled = next(
                    a.metavar if not a.option_strings else a.option_strings[0] for a in self._actions if a.dest == name
                )
                raise LoraError(f"{self.prog} needs {spelled}.", f"Example: {self.example}")
        return given


def _option(field: dataclasses.Field[Any]) -> str:
    return f"--{label(field)}"


class _Formatter(argparse.HelpFormatter):
    """Help of a steady width, whatever the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)
