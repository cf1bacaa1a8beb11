"""When a magic opens its form, and when it prints its help or works."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from lora_magic.errors import LoraError
from lora_magic.forms import form
from lora_magic.forms.layout import LAYOUTS
from lora_magic.magics.compare import LoraCompare
from lora_magic.magics.completion import Offers, complete
from lora_magic.magics.load import LoraLoad
from lora_magic.magics.opening import MagicJob
from lora_magic.magics.train import LoraTrain
from lora_magic.magics.use import LoraUse

NOTHING = Offers(list, list, list)


@pytest.fixture
def opened(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """A notebook's shell, and the forms that were opened in it with what stands in them."""
    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    monkeypatch.setattr(form, "opened", lambda job, given, preview: found.append((job.name, given)))
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_bare_it_prints_its_help_in_a_terminal(
    name: str, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.run_line_magic(name, "") is None
    said = capsys.readouterr().out
    assert f"usage: %{name}" in said and "--form" in said


@pytest.mark.parametrize("name", LAYOUTS)
def test_bare_it_opens_its_form_in_a_notebook(
    name: str, shell: InteractiveShell, opened: list[tuple[str, dict[str, Any]]]
) -> None:
    assert shell.run_line_magic(name, "") is None
    assert opened == [(name, {})]


def test_a_form_begins_with_the_line_s_values(
    shell: InteractiveShell, opened: list[tuple[str, dict[str, Any]]]
) -> None:
    shell.user_ns.update(rows=[{"question": "a", "answer": "b"}], size=16)
    shell.run_line_magic("lora_train", "mine --data $rows --rank $size --preset memory --form")
    given = {"name": "mine", "data": "$rows", "rank": 16, "preset": "memory"}
    assert opened == [("lora_train", given)]
    with pytest.raises(LoraError, match="preset cannot be"):
        shell.run_line_magic("lora_train", "--form --preset quick")


def test_a_form_asked_for_in_a_terminal_is_refused(shell: InteractiveShell) -> None:
    with pytest.raises(LoraError, match="--form needs a notebook"):
        shell.run_line_magic("lora_load", "demo --form")


def test_a_cell_magic_without_a_body_does_its_work(
    shell: InteractiveShell, opened: list[tuple[str, dict[str, Any]]]
) -> None:
    with pytest.raises(LoraError, match="needs --data"):
        shell.run_cell_magic("lora_train", "", "\n")
    assert opened == []


def test_a_form_with_nothing_chosen_runs_its_magic_and_opens_no_other_form(
    shell: InteractiveShell, opened: list[tuple[str, dict[str, Any]]]
) -> None:
    with pytest.raises(LoraError, match="No model is loaded"):
        MagicJob(LoraCompare(), NOTHING).run("%lora_compare")
    assert opened == []


def test_rows_in_a_variable_are_told_from_those_in_a_file(shell: InteractiveShell) -> None:
    shell.user_ns["sums"] = [{"question": "a", "answer": "b"}]
    job = MagicJob(LoraTrain(), NOTHING)
    assert job.needs("%lora_train --data sums --eval-data $other --rank 4") == ["sums", "other"]
    assert job.needs("%lora_train sums --data demo-json") == []


def test_only_a_magic_with_a_form_offers_one() -> None:
    both = {"lora_load": LoraLoad(), "lora_use": LoraUse()}
    with_form, without = (complete(f"%{name} --f", both, NOTHING) for name in both)
    assert with_form == ("--f", ["--form"]) and without == ("--f", [])
