"""The views of a diagnosis, and the magic in a shell."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import lora_magic
from lora_magic.diagnosis import clashes, machine
from lora_magic.diagnosis.installed import Installed
from lora_magic.display import bundle
from lora_magic.display.doctor import doctor_text
from lora_magic.display.safe import unsafe
from lora_magic.results import Check, Diagnosis
from tests.display.conftest import HOSTILE
from tests.doctor.places import stub
from tests.magics.conftest import shell as shell

FAILING = (
    Check("datasets", "4.0.0", "fails", "lora_magic takes <5,>=4.7", install=("datasets==4.8.5",)),
    Check("torchao", "0.10.0", "fails", "peft refuses it", install=("torchao>=0.16.0",)),
)
NOTE = Check("GPU", "", "note", "trains on the CPU", "Runtime > Change runtime type")
FINE = Check("Python", "3.13.15", "fine", "/usr/bin/python3")


def words(fragment: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", fragment)).split())


def views(made: Diagnosis) -> tuple[str, str]:
    return words(bundle(made)["text/html"]), " ".join(doctor_text(made, 100).split())


def test_both_views_tell_problems_first_each_with_what_mends_it() -> None:
    for view in views(Diagnosis((FINE, NOTE, *FAILING))):
        assert view.startswith("2 things would make a run fail.")
        places = [view.index(told) for told in ("datasets 4.0.0", "torchao 0.10.0", "GPU", "Python")]
        assert places == sorted(places)
        assert "→ pip install datasets==4.8.5" in view and "→ Runtime > Change runtime type" in view
        assert 'pip install datasets==4.8.5 "torchao>=0.16.0"' in view


def test_one_command_is_not_told_twice() -> None:
    for view in views(Diagnosis((FAILING[0],))):
        assert view.startswith("One thing would make a run fail.")
        assert view.count("pip install") == 1


def test_where_all_is_fine_it_says_so() -> None:
    made = Diagnosis((FINE, NOTE))
    assert made.ok and made.command == ""
    for view in views(made):
        assert view.startswith("A run has all it needs here.") and "pip" not in view
    assert "1 thing is fine" in words(bundle(made)["text/html"])


def test_text_from_elsewhere_stays_text() -> None:
    made = Diagnosis(tuple(Check(HOSTILE, HOSTILE, state, HOSTILE, HOSTILE) for state in ("fails", "note", "fine")))
    shown = bundle(made)["text/html"]
    assert unsafe(shown) == []
    assert "<script>" not in shown and "&lt;script&gt;" in shown
    assert "\x1b" not in doctor_text(made) and "\u202e" not in doctor_text(made)


@pytest.mark.parametrize("width", [40, 72, 160])
def test_lines_fit_the_terminal_and_commands_stay_whole(width: int) -> None:
    command = f"pip install {' '.join(f'package-{number}==1.{number}' for number in range(30))}"
    made = Diagnosis(
        (Check("x", "1", "fails", "word " * 60, command), *(Check(f"p{n}", "1", "fine") for n in range(60)))
    )
    lines = doctor_text(made, width).splitlines()
    assert f"       → {command}" in lines
    assert all(len(line) <= width for line in lines if command not in line)


def test_the_magic_and_the_function_give_the_same(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    done = shell.run_cell("found = %lora_doctor\nfound")
    done.raise_error()
    assert isinstance(done.result, Diagnosis) and done.result.ok
    assert {check.what: check.found for check in done.result.checks if check.install == ()}.keys() >= {
        "torch",
        "disk",
        "GPU",
    }
    twin = lora_magic.doctor()
    assert [check.what for check in twin.checks] == [check.what for check in done.result.checks]
    shell.run_cell("%lora_doctor --help").raise_error()
    assert "python -m lora_magic doctor" in capsys.readouterr().out.replace("\n", " ")


def test_a_package_imported_before_it_was_replaced_asks_for_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    stub(tmp_path, "PyYAML", "99.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(clashes, "HELD", ("pyyaml",))
    (found,) = [check for check in clashes.checks(Installed(), ()) if check.mends == clashes.RESTART]
    assert (found.what, found.found, found.state) == ("pyyaml", yaml.__version__, "fails")
    assert "99.0 is installed" in found.told


@pytest.mark.parametrize(("available", "state"), [(0.5, "fails"), (2, "note"), (9, "fine")])
def test_memory_is_held_against_what_imports_and_models_take(
    available: float, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: (int(available * 2**30), 16 * 2**30))
    assert {check.what: check.state for check in machine.checks()}["RAM"] == state


def test_on_colab_the_secrets_are_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Closed:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"the doctor reached for google.colab.{name}")

    monkeypatch.setitem(sys.modules, "google.colab", Closed())
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in machine.TOKENS:
        monkeypatch.delenv(name, raising=False)
    found = machine.token()
    assert found.state == "fine" and "Colab's secret HF_TOKEN" in found.told
