"""What a form needs of the magic that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lora_magic.config.fields import Config


class Job(Protocol):
    """A magic as its form sees it."""

    @property
    def name(self) -> str:
        """The magic's, without `%`."""

    @property
    def config_class(self) -> type[Config]:
        """Whose fields the form has."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Fields that the magic's line does not take."""

    def line(self, given: Mapping[str, Any]) -> str:
        """The line that gives these values, `%` included."""

    def parse(self, line: str) -> dict[str, Any]:
        """What a line gives by field, with the notebook's variables in place.

        Raises:
            LoraError: as the magic itself would, where something must be given among other things.
        """

    def run(self, line: str) -> Any:
        """Run a line as a cell would, and return its result."""

    def offered(self, field: str) -> Sequence[str]:
        """What completion would offer for a field: files, variables, adapters."""

    def needs(self, line: str) -> Sequence[str]:
        """Names of the notebook's variables that a line takes rows from."""


@dataclass(frozen=True)
class Ran:
    """A run of a form, as it begins or as it has ended.

    Attributes:
        line: what ran.
        state: "running", "done", "interrupted" or "failed".
        given: the values that the line says, by field.
        result: what it returned.
        error: what ended it.
    """

    line: str
    state: str
    given: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    error: BaseException | None = None
