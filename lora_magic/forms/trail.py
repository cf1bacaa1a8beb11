"""What a studio has done so far: results that still hold, and the lines of a cell that repeats it without a form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_magic.config import LoadConfig
from lora_magic.forms.job import Ran
from lora_magic.forms.steps import phrase
from lora_magic.results import TrainResult

if TYPE_CHECKING:
    from pathlib import Path

    from lora_magic.drawer.adapter import Adapter
    from lora_magic.session import Session

FIRST = "%load_ext lora_magic"
_KEPT = "What is on disk already is not overwritten: in the same folder {} needs another name, or --overwrite."
Write = Callable[[str, Mapping[str, Any]], str]


class Trail:
    """The runs of the studio's steps.

    Args:
        write: gives a magic's line for values by field.

    Attributes:
        results: of each magic's last run, in a phrase; gone when another base is loaded.
        given: what the line of each magic's last run said, by field; the latest run last.
        lines: of all runs that went through, in order, with comments on what they need.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self.results: dict[str, str] = {}
        self.given: dict[str, dict[str, Any]] = {}
        self.lines: list[str] = []
        self._base: Any = None  # what the lines tell of
        self._known: list[Adapter] = []
        self._of: Any = None  # what the results are of

    @property
    def cell(self) -> str:
        """The whole cell; "" while nothing ran."""
        return "\n".join([FIRST, *self.lines]) if self.lines else ""

    @property
    def note(self) -> str:
        """What to know before the cell runs again, or ""."""
        writing = {line.partition(" ")[0] for line in self.lines if _writes(line)}
        return _KEPT.format(" and ".join(sorted(writing))) if writing else ""

    def outside(self, session: Session | None) -> list[str]:
        """Lines for what is on the session and did not come from here, each under a comment.

        Ask before a run, which may use it, and hand them to `add` when it went through.
        """
        base = session.status().base if session is not None else None
        if session is None or base is None:
            return []
        found = []
        if base is not self._base:
            found += ["# loaded before, outside of the studio", self._write("lora_load", _load_given(session))]
        for adapter in session.adapters.values():
            if not any(adapter is one for one in self._known) and adapter.path is not None:
                found += self._came(adapter, adapter.path)
        return found

    def _came(self, adapter: Adapter, path: Path) -> list[str]:
        """Lines that make or fetch an adapter."""
        from lora_magic.training.runs import is_run

        if adapter.settings is not None and is_run(path.parent):
            given = {"name": adapter.name, "from_run": _short(path.parent)}
            return ["# trained before, outside of the studio", self._write("lora_train", given)]
        given = {"import_from": str(path), "name": adapter.name}
        return ["# came on the base outside of the studio", self._write("lora_adapters", given)]

    def add(self, magic: str, ran: Ran, before: Sequence[str], needs: Sequence[str], session: Session | None) -> None:
        """Take in a run that went through.

        Args:
            magic: whose.
            ran: the run.
            before: what its line needs, as `outside` told.
            needs: the notebook's variables that it takes rows from.
            session: as it is now.
        """
        named = [f"# {name} is a variable of the notebook" for name in needs]
        self.lines += [*before, *(told for told in named if told not in self.lines)]
        if isinstance(ran.result, TrainResult) and ran.result.interrupted:
            made = ran.result.losses[-1][0] if ran.result.losses else 0
            self.lines.append(f"# stopped by hand at step {made:,}; from here it runs to its end")
        self.lines.append(ran.line)
        self.hold(session)
        self.results[magic] = phrase(ran.result)
        self.given = {**{name: given for name, given in self.given.items() if name != magic}, magic: dict(ran.given)}
        self._base, self._known = self._of, list(session.adapters.values()) if session is not None else []

    def hold(self, session: Session | None) -> None:
        """Forget the results where another base is loaded now."""
        base = session.status().base if session is not None else None
        if base is not self._of:
            self.results = {}
        self._of = base


def _load_given(session: Session) -> dict[str, Any]:
    """What loads the base again as it is."""
    facts, fields = session.base.facts, LoadConfig.__dataclass_fields__
    given: dict[str, Any] = {
        "model": facts.model, "bits": facts.bits, "max_length": facts.max_length, "revision": facts.revision,
        "trust_remote_code": facts.trust_remote_code,
    }  # fmt: skip
    if facts.hardware.kind == "cuda":
        given["backend"] = facts.backend
    return {name: value for name, value in given.items() if value != fields[name].default}


def _short(run: Path) -> str:
    """How `--from` finds a run: by its name in ./lora_runs, else by its folder."""
    from lora_magic.backends.saved import RUNS

    return run.name if run.parent == RUNS.absolute() else str(run)


def _writes(line: str) -> bool:
    """Whether a line makes something that it would not replace."""
    words = line.split()
    return "--overwrite" not in words and (words[0] == "%lora_merge" or (words[0] == "%lora_data" and "--fix" in line))
