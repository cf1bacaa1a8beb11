"""The doctor on a stock Colab runtime, by its list of packages, before and after the install cell."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from tests.colab.notebooks import REPOSITORY, script
from tests.doctor.places import Place, healthy, own_requirements
from tests.kernel.stack import PINS as JUPYTER
from tests.kernel.stack import STACK

install = script("colab/install.py")
STOCK = install.pinned(Path(__file__).with_name("packages.txt").read_text(encoding="utf-8"))
PINS = install.pinned((REPOSITORY / "colab" / "constraints.txt").read_text(encoding="utf-8"))

KEPT = install.pinned(JUPYTER.with_name("colab-stack.txt").read_text(encoding="utf-8"))


@pytest.fixture
def colab(tmp_path: Path) -> Place:
    """A stock runtime with a T4."""
    place = healthy(tmp_path / "colab")
    for name in {"unsloth", "unsloth_zoo", *(requirement.name for requirement in own_requirements())}:
        place.lacks(name)
    for name, version in STOCK.items():
        place.has(name, version)
    return place


def test_the_doctor_tells_what_the_install_cell_mends(colab: Place) -> None:
    before = colab.doctor()
    assert before.returncode == 1
    told = {line.split()[1].rstrip(":") for line in before.stdout.splitlines() if line.startswith("fails")}
    assert {"trl", "bitsandbytes", "datasets", "torchao"} <= told <= set(PINS)
    assert before.stdout.splitlines()[-1].startswith("pip install ")
    assert "unsloth: missing" in before.stdout
    for name, version in PINS.items():
        colab.has(name, version)
    after = colab.doctor()
    assert after.returncode == 0, after.stdout
    assert "fails" not in after.stdout and "missing" not in after.stdout


def test_the_tests_on_colab_s_versions_are_on_those_of_the_list() -> None:
    jupyter = install.pinned(JUPYTER.read_text(encoding="utf-8"))
    assert {**jupyter, **KEPT} == {name: STOCK[name] for name in {**jupyter, **KEPT}}


@pytest.mark.skipif(STACK != "colab", reason="on Colab's versions alone: make test-colab")
def test_what_trains_here_is_of_the_versions_that_colab_has_and_is_given() -> None:
    wanted = {**KEPT, **{name: PINS[name] for name in ("trl", "datasets", "bitsandbytes")}}
    assert {name: importlib.metadata.version(name) for name in wanted} == wanted
