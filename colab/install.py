"""What a notebook's first cell runs on Colab: brings what the runtime lacks, in one pass of pip, and keeps the rest.

It needs Python alone, so that the cell can run it before anything is installed: from the wheel that holds it, or from
the project's address. Torch and Jupyter are held at what is installed, the packages that are brought at what
`constraints.txt` beside this file says. A second run looks at versions alone and takes seconds.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

KEPT = (
    "torch", "torchvision", "torchaudio", "triton", "numpy", "pandas", "ipython", "ipykernel", "ipywidgets",
    "traitlets", "jupyter_client", "jupyter_core", "tornado", "pyzmq",
)  # fmt: skip
"""Never changed: what Colab's front end and its CUDA were built for, and what a kernel has imported already."""
IN_WHEEL = "lora_magic/_colab"
IN_REPOSITORY = "colab"
SHOWN_OF_A_FAILURE = 12


class RestartNeeded(Exception):
    """A package that this session has imported was replaced; shown as one line, and it ends Run all."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what to print in place of a traceback."""
        return [f"RestartNeeded: {self}"]


class NotInstalled(Exception):
    """Pip could not install; shown as pip's own last lines."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what to print in place of a traceback."""
        return str(self).splitlines()


def main(source: str) -> None:
    """Install, or say that all is there.

    Args:
        source: the path of lora_magic's wheel, or the address of a folder tree of the repository's files.

    Raises:
        RestartNeeded: a package that is in use already has changed.
        NotInstalled: pip refused.
    """
    pins = pinned(text_beside(source, "constraints.txt"))
    before = versions()
    began = time.monotonic()
    held = vars(sys.modules["lora_magic"]).get("__version__") if "lora_magic" in sys.modules else None
    lacks = not complete(source, pins)
    if lacks:
        print("Installing lora_magic and what this runtime lacks …", flush=True)
        install(source, pins)
        importlib.invalidate_caches()
    changed = {name: version for name, version in versions().items() if before.get(name) != version}
    stale = in_use(set(pins) | set(changed))
    if lacks and held is not None:
        stale["lora-magic"] = (str(held), versions()["lora-magic"])
    if stale:
        listed = ", ".join(
            f"{name} {held} (installed: {new if new != held else 'another build'})"
            for name, (held, new) in stale.items()
        )
        raise RestartNeeded(
            f"This session already uses {listed}. Choose Runtime > Restart session, then Run all: it takes seconds now."
        )
    count = f"{len(changed)} packages in {time.monotonic() - began:.0f} s" if changed else "nothing had to be installed"
    print(f"lora_magic {importlib.metadata.version('lora_magic')} is ready: {count}.")


def text_beside(source: str, name: str) -> str:
    """A file that lies beside this one, from the wheel or from the address."""
    if source.endswith(".whl"):
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(f"{IN_WHEEL}/{name}").decode()
    with urllib.request.urlopen(f"{raw(source)}/{IN_REPOSITORY}/{name}", timeout=60) as answer:  # noqa: S310
        return str(answer.read().decode())


def raw(address: str) -> str:
    """Where a repository's files are read one by one."""
    return address.replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main"


def pinned(constraints: str) -> dict[str, str]:
    """Versions by normal name, from lines of NAME==VERSION."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", constraints, re.MULTILINE)
    return {normal(name): version for name, version in found}


def normal(name: str) -> str:
    """A package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def versions() -> dict[str, str]:
    """What is installed, by normal name."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        name, version = one.metadata["Name"], one.metadata["Version"]
        if name and version:
            found.setdefault(normal(name), version)
    return found


def complete(source: str, pins: Mapping[str, str]) -> bool:
    """Whether this very lora_magic and Unsloth are installed, no pin is broken and every need of theirs is met."""
    here = versions()
    if "unsloth" not in here or any(here.get(name, version) != version for name, version in pins.items()):
        return False
    there = [name for name in ("lora-magic", *pins) if name in here]
    return is_from(source) and all(
        met(need, here) for name in there for need in importlib.metadata.requires(name) or ()
    )


def is_from(source: str) -> bool:
    """Whether the installed lora_magic came from this wheel or address, by what pip wrote down."""
    try:
        text = importlib.metadata.distribution("lora_magic").read_text("direct_url.json")
        told = json.loads(text or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    if not source.endswith(".whl"):
        return bool(told.get("url") == archive(source))
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return digest in str(told.get("archive_info"))


def met(need: str, here: Mapping[str, str]) -> bool:
    """Whether an installed version answers a requirement; one of an extra, or for another machine, asks nothing."""
    from pip._vendor.packaging.requirements import Requirement

    wanted = Requirement(need)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return True
    version = here.get(normal(wanted.name))
    return version is not None and wanted.specifier.contains(version, prereleases=True)


def archive(address: str) -> str:
    """What pip takes of a repository."""
    return f"{address}/archive/refs/heads/main.zip"


def requirements(source: str, pins: Mapping[str, str]) -> list[str]:
    """What pip is asked for: lora_magic, whose own needs bring the rest, and Unsloth."""
    own = str(Path(source).resolve()) if source.endswith(".whl") else f"lora_magic @ {archive(source)}"
    return [own, *(f"{name}=={pins[name]}" for name in ("unsloth", "unsloth-zoo"))]


def well_named(wheel: Path, folder: Path) -> Path:
    """A wheel under a name that pip takes: a browser or Colab adds ` (1)` to that of a file uploaded again.

    Args:
        wheel: as uploaded.
        folder: where a copy may go.
    """
    name = re.sub(r" ?\(\d+\)", "", wheel.name)
    return wheel if name == wheel.name else Path(shutil.copyfile(wheel, folder / name))


def constraints(pins: Mapping[str, str], here: Mapping[str, str]) -> str:
    """The pins, and what is kept at the version that is here."""
    kept = {normal(name): here[normal(name)] for name in KEPT if normal(name) in here}
    return "".join(f"{name}=={version}\n" for name, version in {**pins, **kept}.items())


def arguments(wanted: Sequence[str], limits: Path) -> list[str]:
    """Pip's words for one quiet pass that compiles nothing."""
    return [
        "install", "--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
        "--only-binary", ":all:", "--constraint", str(limits), *wanted,
    ]  # fmt: skip


def install(source: str, pins: Mapping[str, str]) -> None:
    """One pass of pip's resolver.

    Raises:
        NotInstalled: with the end of what pip said.
    """
    with tempfile.TemporaryDirectory() as folder:
        limits = Path(folder) / "constraints.txt"
        limits.write_text(constraints(pins, versions()))
        taken = str(well_named(Path(source), Path(folder))) if source.endswith(".whl") else source
        wanted = requirements(taken, pins)
        pip(arguments(wanted, limits))
        if not is_from(source):  # pip leaves another build of the same version where it is
            pip([*arguments(wanted[:1], limits), "--force-reinstall", "--no-deps"])


def pip(words: Sequence[str]) -> None:
    """Run pip.

    Raises:
        NotInstalled: with the end of what pip said.
    """
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-SHOWN_OF_A_FAILURE:]
        raise NotInstalled("\n".join(["pip could not install lora_magic. It said:", *said]))


def in_use(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Packages that this session has imported in another version than is installed now: the held one and the new."""
    here, found = versions(), {}
    for name in sorted(names):
        held = getattr(sys.modules.get(name.replace("-", "_")), "__version__", None)
        if isinstance(held, str) and name in here and held != here[name]:
            found[name] = (held, here[name])
    return found


if __name__ == "__main__":
    main(sys.argv[1])
