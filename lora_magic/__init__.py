"""Fine-tune language models in a notebook: `%load_ext lora_magic`, then load, train, compare, merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from lora_magic.api import adapters as adapters
    from lora_magic.api import chat as chat
    from lora_magic.api import compare as compare
    from lora_magic.api import data as data
    from lora_magic.api import doctor as doctor
    from lora_magic.api import load as load
    from lora_magic.api import merge as merge
    from lora_magic.api import plan as plan
    from lora_magic.api import runs as runs
    from lora_magic.api import status as status
    from lora_magic.api import train as train
    from lora_magic.api import use as use
    from lora_magic.errors import LoraError as LoraError

__version__ = "0.1.0"
__all__ = [
    "LoraError",
    "adapters",
    "chat",
    "compare",
    "data",
    "doctor",
    "load",
    "merge",
    "plan",
    "runs",
    "status",
    "train",
    "use",
]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used."""
    if name == "LoraError":
        from lora_magic.errors import LoraError

        return LoraError
    if name in __all__:
        from lora_magic import api

        return getattr(api, name)
    raise AttributeError(f"module 'lora_magic' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext lora_magic`: register the magics."""
    from lora_magic.magics import register

    register(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext lora_magic`: take the magics away and free the session's model."""
    from lora_magic.magics import unregister

    unregister(shell)
