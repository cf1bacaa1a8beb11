"""Notebook 6.5 on Colab's Jupyter, its kernels included, as `lab.py` has today's JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browser.lab import TOKEN, Server, running

PYTHON = Path(__file__).parents[2] / ".venv-colab" / "bin" / "python"


@dataclass(frozen=True)
class Classic(Server):
    """A running Notebook 6.5; it has one theme, a light one."""


@contextmanager
def serve(home: Path) -> Iterator[Classic]:
    """A Notebook that keeps all it writes under `home`; skips the test where it is not installed."""
    if not PYTHON.exists():
        pytest.skip("no Notebook 6.5: make .venv-colab/.ready")
    with running(Classic, home, _command) as classic:
        yield classic


def _command(classic: Classic) -> list[str]:
    options = {
        "ip": "127.0.0.1",
        "port": classic.port,
        "port_retries": 0,
        "notebook_dir": classic.folder,
        "token": TOKEN,
        "allow_root": True,
    }
    given = [f"--NotebookApp.{name}={value}" for name, value in options.items()]
    return [str(PYTHON), "-m", "notebook", "--no-browser", *given]
