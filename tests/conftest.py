"""Shared by all tests: nothing leaves the machine, and a small model of random weights is made once."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from pathlib import Path

import pytest

from tests.models import write_model


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
