"""`%lora_runs` in a fresh shell, without a model."""

import json
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import lora_magic
from lora_magic.errors import LoraError
from lora_magic.magics import all_magics
from lora_magic.magics.completion import Offers, complete
from lora_magic.results import Runs
from tests.training.test_runs import a_run, began_at, recorded

MAGICS = {magic.name: magic for magic in all_magics()}


def listed(shell: InteractiveShell, line: str) -> Any:
    done = shell.run_cell(line)
    done.raise_error()
    assert isinstance(done.result, Runs)
    return done.result


def refused(shell: InteractiveShell, line: str) -> LoraError:
    error = shell.run_cell(line).error_in_exec
    assert isinstance(error, LoraError), error
    assert len(error._render_traceback_()) == 2
    return error


def some_runs() -> None:
    for hour, name in enumerate(("support", "support", "two words", "last")):
        began_at(recorded(name, rank=8 * (hour + 1)), f"2026-11-22T0{hour}:00:00+00:00")


def test_all_runs_are_listed_newest_first(shell: InteractiveShell) -> None:
    some_runs()
    found = listed(shell, "%lora_runs")
    assert [run.name for run in found.runs] == ["last", "two words", "support-2", "support"]
    shown = found._repr_mimebundle_()
    assert {"text/plain", "text/html", "image/png"} <= set(shown)
    assert "rank 16" in shown["text/plain"]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("%lora_runs support,support-2", ["support", "support-2"]),
        ("%lora_runs support-2,support,support-2", ["support-2", "support"]),
        ('%lora_runs "two words, last"', ["two words", "last"]),
        ("%lora_runs lora_runs/last", ["last"]),
        ("%lora_runs $wanted", ["last"]),
    ],
)
def test_named_runs_are_listed_in_the_order_given(shell: InteractiveShell, line: str, names: list[str]) -> None:
    some_runs()
    shell.user_ns["wanted"] = "last"
    assert [run.name for run in listed(shell, line).runs] == names


def test_the_function_takes_names_as_text_or_list() -> None:
    some_runs()
    assert [run.name for run in lora_magic.runs(["two words", "support"]).runs] == ["two words", "support"]
    assert [run.name for run in lora_magic.runs("last").runs] == ["last"]
    assert len(lora_magic.runs().runs) == 4
    run = lora_magic.runs(names="support").runs[0]
    assert run.losses[0][0] == 1 and run.eval_losses[0] == (0, 2.6) and run.config["rank"] == 8


def test_an_unknown_name_is_one_line_with_the_nearest(shell: InteractiveShell) -> None:
    some_runs()
    error = refused(shell, "%lora_runs support,lasst")
    assert '"lasst"' in error.problem and error.remedy == 'Did you mean "last"?'
    assert "Recorded: last, support" in refused(shell, "%lora_runs nothing-like-it").remedy
    assert "Leave it out" in refused(shell, "%lora_runs ,").remedy
    assert 'Did you mean "--help"' in refused(shell, "%lora_runs --hepl").remedy


def test_no_runs_at_all_is_no_error(shell: InteractiveShell) -> None:
    found = listed(shell, "%lora_runs")
    assert found.runs == ()
    assert "There are no runs in" in str(found) and "%lora_train" in str(found)
    assert not Path("lora_runs").exists()


def test_a_run_that_is_being_written_is_listed_each_time_as_far_as_it_is(shell: InteractiveShell) -> None:
    events = a_run(40, 60, None)
    folder = recorded("now", events[:10], adapter=False)
    whole = (folder / "metrics.jsonl").read_text()
    line = json.dumps({"event": "stepped", "step": 9, "loss": 1.5, "seconds": 9.5})
    for written, steps in ((line[:20], 8), (line, 9), (line + "\n", 9)):
        (folder / "metrics.jsonl").write_text(whole + written)
        run = listed(shell, "%lora_runs").runs[0]
        assert (run.step, run.reason) == (steps, "unfinished")


def test_help_says_what_it_takes(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("%lora_runs --help").raise_error()
    printed = capsys.readouterr().out
    assert "%lora_runs" in printed and "NAMES" in printed and "commas" in printed


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%lora_runs s", ["support", "support-2"]),
        ("%lora_runs support,s", ["support,support-2"]),
        ("%lora_runs t", []),
        ('%lora_runs "t', ['"two words']),
        ('%lora_runs "support,t', ['"support,two words']),
        ("%lora_runs ", ["support", "support-2", '"two words"']),
        ("%lora_runs support ", []),
    ],
)
def test_names_of_runs_complete(line: str, expected: list[str]) -> None:
    offers = Offers(list, list, lambda: ["support", "support-2", "two words"])
    found = complete(line, MAGICS, offers)
    assert found is not None and found[1] == expected


def test_a_shell_offers_the_runs_in_the_folder(shell: Any) -> None:
    from IPython.core.completer import provisionalcompleter

    some_runs()
    line = "%lora_runs la"
    with provisionalcompleter():
        assert [c.text for c in shell.Completer.completions(line, len(line))][-1].endswith("last")
