"""Shared by all tests: nothing leaves the machine, and a small model of random weights is made once."""

import atexit
import gc
import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Kernels are those of the environment under test, with nobody's profile or history.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
os.environ["IPYTHONDIR"] = tempfile.mkdtemp(prefix="ipython-")

from contextlib import suppress
from pathlib import Path

import pytest

with suppress(ImportError):  # it must come before anybody's distutils, which it replaces; peft's BOFT imports it late
    import setuptools  # noqa: F401

from tests.models import write_model

# Registered before any shell, so called after the last one has closed its history.
atexit.register(shutil.rmtree, os.environ["IPYTHONDIR"], ignore_errors=True)


def pytest_unconfigure() -> None:
    """Each shell collects garbage when Python exits; with torch imported, a hundred of them took minutes."""
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two narrow layers with random weights, its own tokenizer and a chat template."""
    folder = tmp_path_factory.mktemp("models") / "tiny llama"
    write_model(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in a folder of its own: runs are written where one stands."""
    monkeypatch.chdir(tmp_path)
