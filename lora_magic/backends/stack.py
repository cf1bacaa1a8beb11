"""The one place that imports the training stack, in the order that it needs."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lora_magic.backends import attention
from lora_magic.errors import LoraError
from lora_magic.interrupts import held_back

OLDEST_UNSLOTH = (2026, 10, 7)
INSTALL_UNSLOTH = "pip install -U unsloth unsloth_zoo"
# Modules that Unsloth imports while it loads a model and that print at once.
PRINTING_LATE = ("unsloth.models._block_compile",)
# Those whose imports take long enough to be named.
SLOW = ("torch", "triton", "bitsandbytes", "transformers", "peft", "trl", "datasets", "unsloth", "unsloth_zoo")

_running: list[str] = []


def running() -> str | None:
    """The backend that this process has, "unsloth" or "transformers"; None before the first."""
    return _running[0] if _running else None


def import_stack(backend: str = "", began: Callable[[str], None] | None = None) -> SimpleNamespace:
    """torch, bitsandbytes, transformers, peft and trl, quiet and without progress bars of their own.

    The environment is set before the first import: tokenizers must not fork warnings, and trl's experimental
    notices and the Hub's widget bars do not belong into a notebook. Unsloth goes before all of them, since it
    patches them while it imports; a process keeps the backend that it has.

    Args:
        backend: "unsloth" or "transformers" fixes which one this process has; "" takes what is there.
        began: told the name of each slow package while its modules are imported.

    Returns:
        The modules by name; `unsloth` is None without it.

    Raises:
        LoraError: a package is missing or does not import, with what to install.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    # On some CPUs bitsandbytes looks for an optional kernel package and warns that there is none.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if backend and not _running and backend != "unsloth":
        _running.append(backend)
    unsloth = _import_unsloth(began) if "unsloth" in (backend, running()) else None
    try:
        with held_back(), warnings.catch_warnings(), _told(began):
            warnings.simplefilter("ignore")
            # isort: off
            import torch
            import bitsandbytes
            import transformers
            import peft
            import trl
            from safetensors import SafetensorError
            from trl import SFTConfig, SFTTrainer
            # isort: on
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        raise LoraError(
            f"The training stack does not import: {error}.", f"pip install -U {name or 'lora_magic'}"
        ) from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return SimpleNamespace(
        torch=torch, bitsandbytes=bitsandbytes, transformers=transformers, peft=peft, trl=trl, unsloth=unsloth,
        SFTTrainer=SFTTrainer, SFTConfig=SFTConfig, safetensors_error=SafetensorError,
    )  # fmt: skip


def unsloth_version() -> str | None:
    """The version of Unsloth that is installed, or None; it is not imported for the question."""
    try:
        return importlib.metadata.version("unsloth")
    except importlib.metadata.PackageNotFoundError:
        return None


def is_old(version: str) -> bool:
    """Whether this version of Unsloth is older than the oldest that is known to work."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < OLDEST_UNSLOTH


def check_bitsandbytes(stack: SimpleNamespace) -> None:
    """Refuse a bitsandbytes that has no library for the CUDA of this torch.

    It imports all the same, and then Unsloth loads 16-bit weights where 4-bit ones were asked for.

    Raises:
        LoraError: it has none.
    """
    native = getattr(getattr(stack.bitsandbytes, "cextension", None), "lib", None)
    if stack.torch.cuda.is_available() and type(native).__name__.startswith("ErrorHandler"):
        version, cuda = stack.bitsandbytes.__version__, stack.torch.version.cuda
        raise LoraError(
            f"bitsandbytes {version} has no library for this torch's CUDA {cuda}.",
            "pip install -U bitsandbytes and restart the kernel, or load with --bits 16.",
        )


def silence_unsloth() -> None:
    """Take `print` from Unsloth's modules, and its loggers' warnings: banners do not belong into a notebook."""
    for name, module in list(sys.modules.items()):
        if name.lower().startswith("unsloth") and module is not None:
            vars(module)["print"] = _nothing
    for name in ("unsloth", "unsloth_zoo", "unsloth_zoo.log"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _nothing(*_: Any, **__: Any) -> None:
    """Stands for `print`."""


def _import_unsloth(began: Callable[[str], None] | None) -> Any:
    """Unsloth, without its banner, its call for statistics, and its folder of compiled code where one stands."""
    if "unsloth" not in sys.modules:
        os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        compiled = cache / "lora_magic" / f"unsloth-{unsloth_version()}"
        os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(compiled))
    try:
        with held_back(), _quiet(), _told(began):
            import unsloth

            for name in PRINTING_LATE:
                with suppress(ModuleNotFoundError):
                    importlib.import_module(name)
            attention.put_in()
    except Exception as error:  # noqa: BLE001  it runs its own checks while it imports, and they raise what they like
        raise _not_imported(error) from None
    silence_unsloth()
    if not _running:
        _running.append("unsloth")
    return unsloth


def _not_imported(error: Exception) -> LoraError:
    text = " ".join(str(error).split())
    name = (getattr(error, "name", None) or "").partition(".")[0]
    remedy = INSTALL_UNSLOTH
    if isinstance(error, ModuleNotFoundError) and name not in ("", "unsloth", "unsloth_zoo"):
        remedy = f"pip install {name}"
    elif "bitsandbytes" in text.lower():
        remedy = "pip install -U bitsandbytes"
    elif "cuda" in text.lower():
        remedy = "Run %lora_doctor"
    return LoraError(
        f"Unsloth does not import ({type(error).__name__}: {text[:200]}).",
        f"{remedy}, then restart the kernel. Without it: --backend transformers, about 2x slower.",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, nothing is printed and nothing warns; the root logger is left as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with ExitStack() as inside:
        inside.enter_context(redirect_stdout(io.StringIO()))
        inside.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)


@contextmanager
def _told(began: Callable[[str], None] | None) -> Iterator[None]:
    """Inside, `began` hears of each slow package while its modules are imported."""
    if began is None:
        yield
        return
    finder = _Listening(began)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path[:] = [one for one in sys.meta_path if one is not finder]


class _Listening:
    """Finds nothing itself, so every import goes on to the next finder."""

    def __init__(self, began: Callable[[str], None]) -> None:
        self._began = began

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Says which package a module belongs to."""
        package = name.partition(".")[0]
        if package in SLOW:
            self._began(package)
