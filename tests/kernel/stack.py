"""Which Jupyter the tests are meant to run on, and whether they do: today's, or Colab's (`make test-colab`)."""

import os
from collections.abc import Mapping
from pathlib import Path

STACK = os.environ.get("LORA_MAGIC_STACK", "current")
PINS = Path(__file__).with_name("colab.txt")
DISTRIBUTIONS = {"IPython": "ipython", "ipykernel": "ipykernel", "ipywidgets": "ipywidgets", "traitlets": "traitlets"}
# Prints, as JSON, the versions of the modules that the process has imported or would import.
VERSIONS = f"""
import importlib, json
print(json.dumps({{name: importlib.import_module(name).__version__ for name in {sorted(DISTRIBUTIONS)}}}))
"""


def colab() -> dict[str, str]:
    """Colab's version of each of the four modules."""
    lines = [line for line in PINS.read_text(encoding="utf-8").splitlines() if "==" in line]
    pins = dict(line.split("==") for line in lines)
    return {module: pins[name] for module, name in DISTRIBUTIONS.items()}


def assert_in_force(versions: Mapping[str, str]) -> None:
    """That a process with these versions is on the stack under test."""
    assert STACK in ("current", "colab"), f"LORA_MAGIC_STACK is {STACK}"
    assert set(versions) == set(DISTRIBUTIONS)
    if STACK == "colab":
        assert dict(versions) == colab()
    else:
        assert tuple(map(int, versions["IPython"].split(".")[:2])) >= (8, 6), versions
