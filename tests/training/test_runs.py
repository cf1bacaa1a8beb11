"""Runs read back from disk: whole ones as they were told, damaged ones as far as they go."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_magic.backends.saved import RUNS
from lora_magic.config import TrainConfig
from lora_magic.errors import LoraError
from lora_magic.events import Evaluated, Event, Finished, Recovered, Started, Stepped
from lora_magic.training import read_runs as reading
from lora_magic.training.read_runs import read_run, read_runs
from lora_magic.training.record import Record, new_run_dir
from lora_magic.training.runs import find_run, read_settings, run_names
from tests.models import rows

LOSSES = st.floats(allow_nan=False, allow_infinity=False, width=32)


def stepped(step: int, loss: float) -> Stepped:
    return Stepped(step, loss, 2e-4, 0.9, 1935.0, 3.4, 0.5 + step, step / 20)


def a_run(made: int = 60, planned: int = 60, reason: str | None = "completed", floor: float = 0.6) -> list[Event]:
    events: list[Event] = [Started("x", "demo", (("rank", "8"),), planned, 3.0, 412, 60, 163_840, 3_902_208)]
    events.append(Evaluated(0, 2.6, 0.5))
    for step in range(1, made + 1):
        events.append(stepped(step, floor + 2 * math.exp(-step / 12)))
        if step % 20 == 0:
            events.append(Evaluated(step, floor + 0.1 + 2 * math.exp(-step / 15), 0.6 + step))
    if reason is not None:
        events.append(Finished(made, made + 1.0, reason, f"why it {reason}"))
    return events


def recorded(name: str, events: Sequence[Event] | None = None, adapter: bool = True, **changes: Any) -> Path:
    """A run's folder as a run writes it; `changes` are settings."""
    folder = new_run_dir(name, 0)
    config = TrainConfig(data="tickets.jsonl")
    record = Record(folder, {"model": "demo", "bits": 4, **config.as_dict(), "alpha": 16.0, "name": name, **changes})
    for event in a_run() if events is None else events:
        record(event)
    if adapter:
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_config.json").write_text("{}")
        (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def long_ago(folder: Path) -> None:
    then = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (then, then))


def began_at(folder: Path, when: str) -> None:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), "time": when})
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def test_a_whole_run_reads_back() -> None:
    events = a_run()
    run = read_run(recorded("support", events))
    assert run.losses == tuple((e.step, e.loss) for e in events if isinstance(e, Stepped))
    assert run.eval_losses == tuple((e.step, e.loss) for e in events if isinstance(e, Evaluated))
    assert (run.name, run.model, run.data, run.step, run.planned_steps) == ("support", "demo", "tickets.jsonl", 60, 60)
    assert (run.reason, run.seconds, run.notes) == ("completed", 61.0, ())
    assert run.config["rank"] == 8
    assert run.adapter_path == Path("lora_runs/support/adapter").absolute()
    assert run.best is not None and run.best[0] == 60


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LOSSES, max_size=30), st.lists(LOSSES, max_size=5))
def test_every_loss_reads_back_to_the_last_bit(losses: list[float], held_out: list[float]) -> None:
    events: list[Event] = [stepped(step, loss) for step, loss in enumerate(losses, 1)]
    run = read_run(recorded("any", [*events, *(Evaluated(step, loss, 1.0) for step, loss in enumerate(held_out))]))
    assert run.losses == tuple(enumerate(losses, 1))
    assert run.eval_losses == tuple(enumerate(held_out))


@pytest.mark.parametrize("reason", ["completed", "interrupted", "early stop", "failed"])
def test_how_a_run_ended(reason: str) -> None:
    run = read_run(recorded("x", a_run(57, 140, reason)))
    assert (run.reason, run.message, run.step, run.planned_steps) == (reason, f"why it {reason}", 57, 140)


def test_a_run_without_an_end_is_unfinished_and_may_be_running_while_its_record_is_fresh() -> None:
    folder = recorded("x", a_run(30, 60, None), adapter=False)
    assert read_run(folder).reason == "unfinished"
    assert "may still be running" in " ".join(read_run(folder).notes)
    long_ago(folder)
    assert read_run(folder).notes == ()
    assert read_run(folder).adapter_path is None


def test_a_finished_run_whose_adapter_is_gone_says_so() -> None:
    assert read_run(recorded("x", adapter=False)).notes == ("Its adapter is not there.",)


def test_steps_made_again_take_the_place_of_the_earlier_ones() -> None:
    events = [*a_run(30, 60, None), a_run()[0], *(stepped(step, 9.0 + step) for step in range(21, 41))]
    run = read_run(recorded("x", events))
    assert [step for step, _ in run.losses] == list(range(1, 41))
    assert run.losses[20] == (21, 30.0)
    assert run.reason == "unfinished"


def test_all_runs_come_newest_first_and_named_ones_in_the_order_asked_for() -> None:
    for name, hour in (("b", 3), ("a", 1), ("c", 2)):
        began_at(recorded(name), f"2026-11-22T0{hour}:00:00.000+00:00")
    assert [run.name for run in read_runs().runs] == ["b", "c", "a"]
    assert [run.name for run in read_runs(["a", "b", "a"]).runs] == ["a", "b"]


def test_without_a_recorded_time_the_settings_file_tells_when_a_run_began() -> None:
    folder = recorded("old", [])
    os.utime(folder / "config.yaml", (1_700_000_000, 1_700_000_000))
    began = read_run(folder).began
    assert began is not None and began.timestamp() == 1_700_000_000


def test_without_a_folder_there_are_no_runs() -> None:
    assert read_runs().runs == ()
    assert run_names() == []
    RUNS.write_text("a file in its place")
    assert read_runs().runs == ()


DAMAGES = {
    "half a line": (lambda f: append(f, '{"event": "stepped", "st'), 60, "The last line of metrics.jsonl is not whole"),
    "garbage": (lambda f: append(f, b"\xff\xfe\x00[1]\nnull\n3\n{}\n"), 60, "4 of 70 lines"),
    "no loss": (lambda f: append(f, '{"event": "stepped", "step": 61, "loss": null}\n'), 60, "1 of 67 lines"),
    "deep": (lambda f: append(f, "[" * 90_000 + "\n"), 60, "1 of 67 lines"),
    "no line end": (lambda f: append(f, b"x" * 3_000_000), 60, "could not be read"),
    "strange numbers": (lambda f: append(f, '{"event":"stepped","step":1e9,"loss":1}\n' + BIG), 60, "2 of 68 lines"),
    "empty metrics": (lambda f: (f / "metrics.jsonl").write_text(""), 0, "metrics.jsonl is empty"),
    "no metrics": (lambda f: (f / "metrics.jsonl").unlink(), 0, "metrics.jsonl is missing"),
    "a folder": (lambda f: replaced_by_folder(f / "metrics.jsonl"), 0, "metrics.jsonl is missing"),
    "a pipe": (lambda f: replaced_by_pipe(f / "metrics.jsonl"), 0, "metrics.jsonl is missing"),
    "no settings": (lambda f: (f / "config.yaml").unlink(), 60, "settings of the run damaged are missing"),
    "empty settings": (lambda f: (f / "config.yaml").write_text(""), 60, "it is empty"),
    "a list": (lambda f: (f / "config.yaml").write_text("[1, 2]"), 60, "it holds no settings"),
    "broken settings": (lambda f: (f / "config.yaml").write_text("rank: 8\nlr: [1,\n"), 60, "in line 3"),
    "not text": (lambda f: (f / "config.yaml").write_bytes(b"\xff\xfe\x00"), 60, "not UTF-8"),
    "deep settings": (lambda f: (f / "config.yaml").write_text("[" * 90_000), 60, "nested too deeply"),
    "large settings": (lambda f: (f / "config.yaml").write_text("a: b\n" * 90_000), 60, "larger than 256 KiB"),
    "odd values": (lambda f: (f / "config.yaml").write_text('a: !!timestamp "soon"'), 60, "cannot be read"),
    "references": (lambda f: (f / "config.yaml").write_text("a: &a [x]\nb: [*a, *a]\n"), 60, "refers to parts"),
    "objects": (lambda f: (f / "config.yaml").write_text("a: !!python/name:os.system"), 60, "cannot be read"),
}
BIG = '{"event": "stepped", "step": 62, "loss": 1' + "0" * 400 + "}\n"


def append(folder: Path, more: str | bytes) -> None:
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(more.encode() if isinstance(more, str) else more)


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_listed_with_what_can_be_read_and_a_note(damage: str) -> None:
    hurt, losses, note = DAMAGES[damage]
    folder = recorded("damaged")
    recorded("whole")
    hurt(folder)
    listed = {run.name: run for run in read_runs().runs}
    assert len(listed["damaged"].losses) == losses
    assert note in " ".join(listed["damaged"].notes)
    assert all("\n" not in said for said in listed["damaged"].notes)
    assert listed["whole"].notes == ()
    assert "damaged" in str(read_runs())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.fixed_dictionaries(
                {"event": st.sampled_from(["started", "stepped", "evaluated", "finished", "other"])},
                optional={
                    key: st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.booleans()))
                    for key in ("step", "loss", "seconds", "reason", "time", "model", "planned_steps", "message")
                },
            ).map(lambda event: json.dumps(event).encode()),
        ),
        max_size=12,
    ),
    st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))),
)
def test_no_content_of_the_files_raises(lines: list[bytes], config: bytes) -> None:
    folder = recorded("fuzzed", [])
    (folder / "metrics.jsonl").write_bytes(b"\n".join(lines))
    (folder / "config.yaml").write_bytes(config)
    listed = read_runs()
    assert any(run.name == folder.name for run in listed.runs)
    assert str(read_runs([folder.name])) and str(listed)


def test_nan_losses_are_kept_and_no_lowest() -> None:
    run = read_run(recorded("x", [stepped(1, 2.0), Evaluated(1, math.nan, 1.0), stepped(2, math.nan)]))
    assert math.isnan(run.losses[-1][1])
    assert run.best is None
    assert run.step == 2


def test_unknown_events_are_no_damage() -> None:
    folder = recorded("x", [*a_run(), Recovered(60, "memory ran out once")])
    append(folder, '{"event": "of a later version"}\n')
    assert read_run(folder).notes == ()


def test_a_very_large_record_is_read_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = recorded("large", a_run(2000, 2000))
    monkeypatch.setattr(reading, "HEAD_BYTES", 20_000)
    monkeypatch.setattr(reading, "TAIL_BYTES", 10_000)
    run = read_run(folder)
    steps = [step for step, _ in run.losses]
    assert steps[:50] == list(range(1, 51)) and steps[-20:] == list(range(1981, 2001))
    assert len(steps) < 200
    assert run.reason == "completed"
    assert len(run.notes) == 1 and "very large" in run.notes[0]


def test_what_is_no_run_is_left_out_and_said() -> None:
    recorded("x")
    (RUNS / "backup").mkdir()
    (RUNS / "notes.txt").write_text("mine")
    (RUNS / ".ipynb_checkpoints").mkdir()
    found = read_runs()
    assert [run.name for run in found.runs] == ["x"]
    assert found.notes == ("Not a run: backup, notes.txt",)
    assert run_names() == ["x"]


def test_runs_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    folder = recorded("two words")
    assert find_run("two words") == folder
    assert find_run("lora_runs/two words/") == folder
    assert find_run(str(folder)) == folder
    moved = folder.rename(tmp_path / "moved")
    assert find_run("moved") == moved
    assert read_settings(moved)["rank"] == 8


@pytest.mark.parametrize("name", ["", ".", "..", "~nobody-at-all/x", "x" * 5000, "a\0b", "lora_runs", "/", "*"])
def test_names_that_are_no_run_are_refused(name: str) -> None:
    recorded("support")
    with pytest.raises(LoraError) as caught:
        find_run(name)
    assert caught.value.remedy == "Recorded: support."


def test_an_unknown_name_is_answered_with_the_nearest_or_with_how_to_make_one() -> None:
    with pytest.raises(LoraError) as caught:
        find_run("suport")
    assert "%lora_train" in caught.value.remedy
    recorded("support")
    with pytest.raises(LoraError) as caught:
        read_runs(["suport"])
    assert caught.value.remedy == 'Did you mean "support"?'
    assert "suport" in caught.value.problem


def test_reading_runs_imports_no_torch() -> None:
    recorded("support")
    code = (
        "import sys, lora_magic\n"
        "result = lora_magic.runs()\n"
        "assert 'support' in str(result) and 'text/html' in result._repr_mimebundle_()\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_real_run_reads_back_as_its_result(tiny_folder: Path) -> None:
    from tests.session.test_session import loaded

    result = loaded(tiny_folder).train(TrainConfig(name="real", data=rows(), max_steps=3), [], {}, lambda line: None)
    run = read_runs(["real"]).runs[0]
    assert (run.losses, run.eval_losses) == (result.losses, result.eval_losses)
    assert (run.path, run.adapter_path, run.config) == (result.run_dir, result.adapter_path, dict(result.config))
    assert (run.reason, run.seconds, run.planned_steps) == ("completed", result.seconds, 3)
    assert run.notes == ()
