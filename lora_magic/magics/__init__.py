"""The shell's side: each magic parses its line, calls the function of the same name and returns its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_magic.magics.bodiless import give_blank_body
from lora_magic.magics.magic import Magic

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def all_magics() -> list[Magic]:
    """One of each."""
    from lora_magic.magics.compare import LoraCompare
    from lora_magic.magics.load import LoraLoad
    from lora_magic.magics.merge import LoraMerge
    from lora_magic.magics.train import LoraTrain
    from lora_magic.magics.use import LoraStatus, LoraUse

    return [LoraLoad(), LoraTrain(), LoraCompare(), LoraUse(), LoraStatus(), LoraMerge()]


def register(shell: InteractiveShell) -> None:
    """Make the magics known to `shell`, as line and cell magics where they take a body."""
    for magic in all_magics():
        kind = "line_cell" if magic.takes_body else "line"
        shell.magics_manager.register_function(magic.function(), magic_kind=kind, magic_name=magic.name)
    shell.input_transformers_cleanup.append(give_blank_body)


def unregister(shell: InteractiveShell) -> None:
    """Take the magics from `shell` and free the session."""
    from lora_magic import api

    for magic in all_magics():
        for kind in ("line", "cell"):
            shell.magics_manager.magics[kind].pop(magic.name, None)
    if give_blank_body in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(give_blank_body)
    api.session().free()
