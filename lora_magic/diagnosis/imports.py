"""Whether compiled packages import, tried in a process of its own that has no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from lora_magic.diagnosis.installed import Installed, module_of, normal
from lora_magic.results.doctor import FAILS, Check

LIGHT = ("numpy", "pyarrow", "safetensors", "tokenizers", "pillow", "pyyaml", "psutil", "huggingface_hub", "datasets")
"""Packages that a run imports and that need no torch, each before those that import it."""
PATIENCE = 120
# Told the path and the modules; prints a line for each that fails: its name and the error.
SCRIPT = """
import contextlib, importlib, io, json, sys
path, modules = json.loads(sys.argv[1])
sys.path[:] = path
sys.modules["torch"] = None
for module in modules:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(module)
    except BaseException as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        sys.__stdout__.write(json.dumps([module, said[:300]]) + chr(10))
        sys.__stdout__.flush()
sys.__stdout__.write(json.dumps(["", ""]) + chr(10))
"""


def checks(installed: Installed) -> Iterator[Check]:
    """Those that are installed and do not import, with the error."""
    packages = {module_of(package): package for package in LIGHT if normal(package) in installed.versions}
    failed, ended = _tried(list(packages))
    for module, said in failed.items():
        package = packages[module]
        version = installed.versions[normal(package)]
        remedy = f"pip install --force-reinstall --no-deps {package}=={version}"
        yield Check(package, version, FAILS, f"does not import: {said}", remedy)
    if not ended:
        yield Check("imports", "", FAILS, "a package ends Python while it is imported", "restart the kernel")


def _tried(modules: list[str]) -> tuple[dict[str, str], bool]:
    """The error of each that fails, and whether the process came to its end."""
    given = json.dumps([[str(one) for one in sys.path], modules])
    try:
        done = subprocess.run(  # noqa: S603  this very Python
            [sys.executable, "-S", "-W", "ignore", "-c", SCRIPT, given],
            capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False,
        )  # fmt: skip
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}, False
    return {module: said for module, said in lines if module}, ["", ""] in lines
