"""What `%lora_doctor` returns."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.results.shown import Shown

FINE, NOTE, FAILS = "fine", "note", "fails"


@dataclass(frozen=True)
class Check:
    """One thing that a run depends on.

    Attributes:
        what: such as "GPU" or "datasets".
        found: what is there, such as a version; empty where nothing is.
        state: "fine", "note" (a run works, with this drawback) or "fails" (a run would fail).
        told: why, in a few words.
        remedy: the one command, or the one thing to do, that mends it; empty where nothing has to be.
        install: what pip is to install, as requirements, where that mends it.
    """

    what: str
    found: str
    state: str
    told: str = ""
    remedy: str = ""
    install: tuple[str, ...] = ()

    @property
    def mends(self) -> str:
        """The command or deed that mends it, or nothing."""
        return self.remedy or (pip_command(self.install) if self.install else "")


@dataclass(frozen=True, eq=False)
class Diagnosis(Shown):
    """This machine and its packages, held against what a run needs.

    Attributes:
        checks: in reading order: the machine, the packages, what clashes.
    """

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Nothing here would make a run fail."""
        return not self.failing

    @property
    def failing(self) -> tuple[Check, ...]:
        """What would make a run fail."""
        return self._of(FAILS)

    @property
    def notes(self) -> tuple[Check, ...]:
        """What a run works with, at a cost."""
        return self._of(NOTE)

    @property
    def fine(self) -> tuple[Check, ...]:
        """What is as it should be."""
        return self._of(FINE)

    @property
    def command(self) -> str:
        """One pip command for all packages that would make a run fail; empty where pip mends nothing."""
        return pip_command(tuple(dict.fromkeys(one for check in self.failing for one in check.install)))

    def _of(self, state: str) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.state == state)


def pip_command(requirements: tuple[str, ...]) -> str:
    """`pip install` of requirements, each quoted for a shell; empty for none."""
    return f"pip install {' '.join(_quoted(one) for one in requirements)}" if requirements else ""


def _quoted(requirement: str) -> str:
    return f'"{requirement}"' if any(sign in requirement for sign in "<>!;[ ") else requirement
