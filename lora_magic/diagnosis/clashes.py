"""What no declared range tells: pairs of packages, cards and drivers that are known not to work together."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lora_magic.diagnosis.card import Card
from lora_magic.diagnosis.installed import Installed, allows, module_of, normal, older, origin, packaging
from lora_magic.diagnosis.packages import STACK, UNSLOTH
from lora_magic.results.doctor import FAILS, NOTE, Check

OLDEST_TORCHAO = "0.16.0"
"""Where peft finds an older one it refuses to add an adapter (its `import_utils.py`, 0.20 and 0.21)."""
OLDEST_UNSLOTH = "2026.10.7"
RESTART = "restart the kernel"
HELD = (*STACK, *UNSLOTH, "numpy", "pyarrow", "pandas", "torchao", "protobuf", "pillow")
NOT_USED = frozenset(
    "aifc antigravity cgi chunk crypt graphlib mailbox nis pipes sched shelve smtplib sunau symtable telnetlib this "
    "trace turtle wave xdrlib zipapp".split()
)
"""Python's modules that no run imports."""
FILES = (*STACK, *UNSLOTH, "numpy", "pyarrow", "pyyaml", "pillow")


def checks(installed: Installed, cards: Sequence[Card]) -> Iterator[Check]:
    """What is known to clash; nothing where nothing does."""
    yield from _torchao(installed)
    yield from _old_unsloth(installed, cards)
    yield from _torch_and_card(installed, cards)
    yield from _bitsandbytes(installed, cards)
    yield from _shadowed(installed)
    yield from _held_in_memory(installed)


def _torchao(installed: Installed) -> Iterator[Check]:
    version = installed.versions.get("torchao", "")
    if version and "peft" in installed.versions and older(version, OLDEST_TORCHAO):
        told = f"peft refuses to work beside one older than {OLDEST_TORCHAO}"
        yield Check("torchao", version, FAILS, told, install=(f"torchao>={OLDEST_TORCHAO}",))


def _old_unsloth(installed: Installed, cards: Sequence[Card]) -> Iterator[Check]:
    version = installed.versions.get("unsloth", "")
    if version and cards and older(version, OLDEST_UNSLOTH):
        told = f"{OLDEST_UNSLOTH} is the oldest that works here; a run is about 2x slower without it"
        yield Check("unsloth", version, NOTE, told, "pip install -U unsloth unsloth_zoo")


def _torch_and_card(installed: Installed, cards: Sequence[Card]) -> Iterator[Check]:
    """A build of torch that cannot use the card."""
    version = installed.versions.get("torch", "")
    if not version or not cards:
        return
    cuda, driver = torch_cuda(installed), cards[0].cuda
    if cuda == (0, 0):
        told = f"a build for the CPU, beside a {cards[0].name}"
        yield Check("torch", version, NOTE, told, f"pip install --force-reinstall torch=={version.partition('+')[0]}")
    elif cuda is not None and driver[0] and cuda[0] > driver[0]:
        told = f"its CUDA {cuda[0]}.{cuda[1]} is newer than what the driver runs, {driver[0]}.{driver[1]}"
        index = f"cu{driver[0]}{driver[1]}"
        yield Check("torch", version, NOTE, told, f"update the driver, or install a build of torch for {index}")


def torch_cuda(installed: Installed) -> tuple[int, int] | None:
    """The CUDA that torch was built for, read and not imported; (0, 0) for a CPU build, None where nothing tells."""
    version = installed.versions.get("torch", "")
    suffix = re.search(r"\+cu(\d+)(\d)$", version)
    if suffix:
        return int(suffix[1]), int(suffix[2])
    if version.endswith("+cpu"):
        return 0, 0
    place = origin("torch")
    try:
        text = (place.parent / "version.py").read_text(encoding="utf-8") if place else ""
    except OSError:
        return None
    told = re.search(r"^cuda[^=\n]*= *(?:'(\d+)\.(\d+)'|None)", text, re.MULTILINE)
    if told is None:
        return None
    return (int(told[1]), int(told[2])) if told[1] else (0, 0)


def _bitsandbytes(installed: Installed, cards: Sequence[Card]) -> Iterator[Check]:
    """One without a library for the CUDA of torch imports all the same and then does not quantise."""
    place, cuda = origin("bitsandbytes"), torch_cuda(installed)
    if not cards or place is None or not cuda or cuda == (0, 0):
        return
    libraries = [re.search(r"_cuda(\d+)\d\.", file.name) for file in place.parent.glob("libbitsandbytes_cuda*")]
    if not any(found and int(found[1]) == cuda[0] for found in libraries):
        told = f"no library for torch's CUDA {cuda[0]}.{cuda[1]}"
        version = installed.versions.get("bitsandbytes", "")
        yield Check("bitsandbytes", version, FAILS, told, "pip install -U bitsandbytes")


def _shadowed(installed: Installed) -> Iterator[Check]:
    """Packages whose files are gone, or that a file or folder of the user's stands before."""
    for package in FILES:
        module = module_of(package)
        version = installed.versions.get(normal(package), "")
        listed = installed.file(package, f"{module}/__init__.py")
        if listed is None:
            continue
        found = origin(module)
        if not listed.is_file():
            remedy = f"pip install --force-reinstall --no-deps {package}=={version}"
            yield Check(package, version, FAILS, f"its files are gone: {listed.parent}", remedy)
        elif found is not None and not _same(found, listed):
            yield Check(package, version, FAILS, f"{found} is imported in its place", f"rename {found}")


def own_names() -> Iterator[Check]:
    """Files and packages of the user's that Python imports in place of modules of its own."""
    try:
        here = Path.cwd()
        found = sorted(here.iterdir()) if {"", str(here)} & set(sys.path) else []
    except OSError:
        return
    for path in found:
        is_module = path.suffix == ".py" if path.is_file() else (path / "__init__.py").is_file()
        if is_module and path.stem in sys.stdlib_module_names - NOT_USED:
            told = f"{path} is imported in place of Python's own module"
            yield Check(path.stem, "", FAILS, told, f"rename {path}")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _held_in_memory(installed: Installed) -> Iterator[Check]:
    """Packages that this process imported before another version was installed."""
    known = packaging()
    for package in HELD if known else ():
        version = installed.versions.get(normal(package), "")
        held = getattr(sys.modules.get(module_of(package)), "__version__", None)
        if version and isinstance(held, str) and not allows(known[0].Requirement(f"{package}=={version}"), held):
            told = f"this kernel has imported {held}, and {version} is installed"
            yield Check(package, held, FAILS, told, RESTART)
