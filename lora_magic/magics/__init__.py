"""The shell's side: each magic parses its line, calls the function of the same name and returns its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lora_magic.magics.bodiless import give_blank_body
from lora_magic.magics.magic import Magic

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from lora_magic.magics.completion import Completer
    from lora_magic.magics.settings import Settings

_completers: dict[int, Completer] = {}
_settings: dict[int, Settings] = {}


def all_magics() -> list[Magic]:
    """One of each."""
    from lora_magic.magics.adapters import LoraAdapters
    from lora_magic.magics.chat import LoraChat
    from lora_magic.magics.compare import LoraCompare
    from lora_magic.magics.data import LoraData
    from lora_magic.magics.doctor import LoraDoctor
    from lora_magic.magics.load import LoraLoad
    from lora_magic.magics.merge import LoraMerge
    from lora_magic.magics.plan import LoraPlan
    from lora_magic.magics.runs import LoraRuns
    from lora_magic.magics.studio import LoraStudio
    from lora_magic.magics.train import LoraTrain
    from lora_magic.magics.use import LoraStatus, LoraUse

    return [
        LoraLoad(), LoraPlan(), LoraData(), LoraTrain(), LoraCompare(), LoraChat(), LoraUse(), LoraAdapters(),
        LoraStatus(), LoraRuns(), LoraMerge(), LoraStudio(), LoraDoctor(),
    ]  # fmt: skip


def register(shell: InteractiveShell) -> None:
    """Make the magics known to `shell`, as line and cell magics where they take a body, and complete them."""
    from lora_magic.magics.completion import Completer
    from lora_magic.magics.offers import offers
    from lora_magic.magics.settings import Settings

    magics = all_magics()
    functions = [(magic, magic.function()) for magic in magics]
    for magic, function in functions:
        kind = "line_cell" if magic.takes_body else "line"
        shell.magics_manager.register_function(function, magic_kind=kind, magic_name=magic.name)

    def document() -> None:
        for magic, function in functions:
            function.__doc__ = magic.parser.format_help()

    _settings[id(shell)] = Settings(shell, document)
    _settings[id(shell)].install()
    shell.magics_manager.register_function(_overview(magics), magic_kind="line", magic_name="lora")
    shell.input_transformers_cleanup.append(give_blank_body)
    if getattr(shell, "Completer", None) is not None:
        _completers[id(shell)] = Completer(
            shell, {magic.name: magic for magic in magics}, offers(lambda: shell.user_ns)
        )
        _completers[id(shell)].install()


def unregister(shell: InteractiveShell) -> None:
    """Take the magics and all that came with them from `shell`, and free the session."""
    from lora_magic import api
    from lora_magic.magics.studio import close

    close(shell, forget=True)
    for name in ("lora", *(magic.name for magic in all_magics())):
        for kind in ("line", "cell"):
            shell.magics_manager.magics[kind].pop(name, None)
    if give_blank_body in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(give_blank_body)
    completer = _completers.pop(id(shell), None)
    if completer is not None:
        completer.remove()
    settings = _settings.pop(id(shell), None)
    if settings is not None:
        settings.remove()
    api.session().free()


def _overview(magics: list[Magic]) -> Callable[[str], None]:
    def lora(_: str) -> None:
        """List the magics of lora_magic with one line on each."""
        from lora_magic.magics.overview import overview

        print(overview(magics))

    return lora
