"""`%lora_studio`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

from lora_magic.config.fields import Config
from lora_magic.config.studio import StudioConfig
from lora_magic.magics.magic import Magic
from lora_magic.magics.opening import MagicJob, preview_of

if TYPE_CHECKING:
    from lora_magic.forms.studio import Studio
    from lora_magic.forms.trail import Trail
    from lora_magic.session import Session

_trails: dict[int, Trail] = {}
_open: dict[int, Studio] = {}


class LoraStudio(Magic):
    """Open the panel of steps."""

    name: ClassVar[str] = "lora_studio"
    config_class: ClassVar[type[Config]] = StudioConfig
    about: ClassVar[str] = (
        "All steps in one panel of forms, from a model to a merged one; in a terminal, a list of them. "
        "What was run stands below as a cell that repeats it."
    )
    example: ClassVar[str] = "%lora_studio"

    def call(self, given: dict[str, Any]) -> None:
        """Open the panel in a notebook; in a terminal print the steps with their lines."""
        from lora_magic.display.surface import in_notebook, shell

        magics = _by_name()
        if not in_notebook():
            print(self.parser.format_help())
            print(_steps(magics))
            return
        from lora_magic.forms.studio import Studio
        from lora_magic.forms.trail import Trail
        from lora_magic.magics.lines import line
        from lora_magic.magics.offers import offers

        found = offers(self.variables)
        jobs = {name: MagicJob(magic, found) for name, magic in magics.items() if magic.has_form}
        running = shell()
        close(running)
        trail = _trails.setdefault(id(running), Trail(lambda name, values: line(magics[name], values)))
        studio = Studio(jobs, trail, _session, {name: preview_of(magics[name]) for name in jobs})
        studio.open()
        _open[id(running)] = studio
        running.events.register("post_run_cell", studio.refresh)


def close(shell: Any, forget: bool = False) -> None:
    """Let the open panel hear of no other cell.

    Args:
        shell: whose.
        forget: what its steps have done, too.
    """
    studio = _open.pop(id(shell), None)
    if studio is not None:
        shell.events.unregister("post_run_cell", studio.refresh)
    if forget:
        _trails.pop(id(shell), None)


def _by_name() -> dict[str, Magic]:
    from lora_magic.magics import all_magics

    return {magic.name: magic for magic in all_magics()}


def _session() -> Session | None:
    api = sys.modules.get("lora_magic.api")  # without which nothing is loaded
    return api.session() if api is not None else None


def _steps(magics: dict[str, Magic]) -> str:
    """The steps as text: how each stands, and a line for it."""
    from lora_magic.display.tables import text_table
    from lora_magic.forms.steps import STEPS, standings

    found = standings(_session(), {})
    rows = [
        (f"{number} {step.title}", found[step.magic].state, found[step.magic].said, magics[step.magic].example)
        for number, step in enumerate(STEPS, 1)
    ]
    return text_table(("step", "", "", "such as"), rows)
