"""The Hub's token: asked for when a model needs it, from Colab's secrets or the environment; never shown or written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.colab.hub import Hub, hub
from tests.colab.notebooks import REPOSITORY, STAND_IN

SECRET = "hf_ThisIsTheSecretOfATest"
GATED, PRIVATE = (401, "GatedRepo"), (401, "RepoNotFound")
# As on Colab: its package is imported, and the shell is of its class.
SCRIPT = """
import builtins, sys
import google.colab
class Shell:
    def __repr__(self): return "<google.colab._shell.Shell object>"
builtins.get_ipython = lambda: Shell()
from contextlib import nullcontext
class Quiet:
    def phase(self, name): return nullcontext()
    def update(self, share, what=""): pass
from lora_magic.backends.fetch import resolve
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError
for _ in range(2):
    try:
        print("there:", resolve(LoadConfig("owner/model"), Quiet(), tokenizer_alone=True))
    except LoraError as error:
        print("\\n".join(error._render_traceback_()))
"""


@pytest.fixture
def model() -> Iterator[Hub]:
    with hub() as made:
        made.token = SECRET
        yield made


def asked(model: Hub, folder: Path, **environment: str) -> tuple[str, list[str]]:
    """What two loads say, and which secrets were read."""
    readings = folder / "readings"
    readings.touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", SCRIPT], cwd=folder, check=False, text=True,
        capture_output=True, env={
            **kept, "HF_ENDPOINT": model.address, "HF_HOME": str(folder / "cache"), "STAND_IN_READINGS": str(readings),
            "PYTHONPATH": os.pathsep.join([str(STAND_IN), str(REPOSITORY)]), "HF_HUB_DISABLE_XET": "1", **environment,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    written = [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert written == []
    return done.stdout, readings.read_text().split()


@pytest.mark.parametrize("place", ["STAND_IN_SECRET", "HF_TOKEN"])
def test_a_public_model_asks_for_no_token(place: str, model: Hub, tmp_path: Path) -> None:
    said, readings = asked(model, tmp_path, **{place: SECRET})
    assert said == "there: owner/model\n" * 2
    assert readings == []
    assert set(model.seen) == {""}


@pytest.mark.parametrize("refusal", [GATED, PRIVATE], ids=["gated", "private"])
def test_a_model_that_needs_it_is_read_with_the_secret_asked_for_once(
    refusal: tuple[int, str], model: Hub, tmp_path: Path
) -> None:
    model.refusal = refusal
    said, readings = asked(model, tmp_path, STAND_IN_SECRET=SECRET)
    assert said == "there: owner/model\n" * 2
    assert readings == ["HF_TOKEN"]
    assert SECRET in model.seen


def test_the_environment_is_taken_before_the_secrets(model: Hub, tmp_path: Path) -> None:
    model.refusal = GATED
    said, readings = asked(model, tmp_path, HF_TOKEN=SECRET, STAND_IN_SECRET="hf_another")
    assert said == "there: owner/model\n" * 2
    assert readings == []


@pytest.mark.parametrize(
    ("refusal", "problem"), [(GATED, "owner/model is gated."), (PRIVATE, "owner/model is not on the Hub, or private.")]
)
@pytest.mark.parametrize("secret", ["", "hf_WithoutTheRight"])
def test_where_it_does_not_help_the_error_says_where_to_put_it(
    secret: str, refusal: tuple[int, str], problem: str, model: Hub, tmp_path: Path
) -> None:
    model.refusal = refusal
    said, _ = asked(model, tmp_path, **({"STAND_IN_SECRET": secret} if secret else {}))
    first, remedy = said.splitlines()[:2]
    assert first == f"LoraError: {problem}"
    assert "set HF_TOKEN, in the environment or among Colab's secrets" in remedy
    assert "hf_" not in said
