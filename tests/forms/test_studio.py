"""The studio: which step is open, how each stands, what a run adds, and what stays in the saved notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from lora_magic.config import TrainConfig
from lora_magic.display.safe import unsafe
from lora_magic.drawer.adapter import Adapter
from lora_magic.errors import Interrupted, LoraError
from lora_magic.forms.form import Form
from lora_magic.forms.place import WIDGET_VIEW
from lora_magic.forms.stage import Stage
from lora_magic.forms.steps import STEPS
from lora_magic.forms.studio import Studio
from lora_magic.forms.trail import Trail
from lora_magic.magics import all_magics
from lora_magic.magics.completion import Offers
from lora_magic.magics.lines import line
from lora_magic.magics.opening import MagicJob
from lora_magic.results import LoadResult, TrainResult
from tests.display.conftest import HOSTILE
from tests.magics.conftest import shell as shell

MAGICS = {magic.name: magic for magic in all_magics()}
LOAD, DATA, PLAN, TRAIN, COMPARE, MERGE = NAMES = [step.magic for step in STEPS]
VALID: dict[str, dict[str, Any]] = {LOAD: {"model": "demo"}, DATA: {"data": "demo-json"}}


def loaded(model: str = "demo") -> LoadResult:
    return LoadResult(model, "Llama", "transformers", "CPU (2 cores)", 4, "float32", (), 10, 20, 512, "own", ())


def trained(name: str, reason: str = "completed", made: int = 3) -> TrainResult:
    return TrainResult(
        name, "demo", ((made, 1.0),), ((0, 2.5), (made, 1.5)), Path("a"), Path("b"), 1.0, 1, 2, reason, planned_steps=9
    )


def adapter(name: str, path: str | None, settings: TrainConfig | None = None) -> Adapter:
    return Adapter(name, name, Path(path).absolute() if path else None, "lora", None, "rows", (), settings=settings)


class Held:
    """A session as far as the studio looks at it."""

    def __init__(self) -> None:
        self.base_loaded: LoadResult | None = None
        self.adapters: dict[str, Adapter] = {}
        self.active = "base"

    def status(self) -> Any:
        return SimpleNamespace(base=self.base_loaded)

    @property
    def base(self) -> Any:
        assert self.base_loaded is not None
        hardware = SimpleNamespace(kind="cpu")
        facts = SimpleNamespace(
            model=self.base_loaded.model, bits=8, max_length=2048, revision=None, trust_remote_code=False,
            backend="transformers", hardware=hardware,
        )  # fmt: skip
        return SimpleNamespace(facts=facts)

    def load(self, model: str = "demo") -> LoadResult:
        self.base_loaded, self.adapters, self.active = loaded(model), {}, "base"
        return self.base_loaded

    def train(self, name: str = "json", **how: Any) -> TrainResult:
        self.adapters = {**self.adapters, name: adapter(name, f"lora_runs/{name}/adapter")}
        self.active = name
        return trained(name, **how)


class Job(MagicJob):
    """A magic whose runs end as the test says."""

    def __init__(self, name: str, ends: dict[str, Any]) -> None:
        super().__init__(MAGICS[name], Offers(list, lambda: ["rows"], list))
        self.ends = ends

    def run(self, line: str) -> Any:
        end = self.ends.get(self.name)
        made = end() if callable(end) else end
        if isinstance(made, BaseException):
            raise made
        return made


class Opened:
    """A studio on a page that keeps what is shown."""

    def __init__(self, held: Held | None = None, trail: Trail | None = None) -> None:
        self.held = held or Held()
        self.ends: dict[str, Any] = {LOAD: self.held.load, TRAIN: self.held.train}
        self.panel: list[dict[str, Any]] = []
        self.record: list[dict[str, Any]] = []
        self.plain: list[dict[str, Any]] = []
        self.trail = trail or Trail(lambda name, values: line(MAGICS[name], values))
        session: Any = lambda: self.held  # noqa: E731
        jobs = {name: Job(name, self.ends) for name in NAMES}
        stage = Stage(self.plain.append, lambda _: None, keeps=True)
        self.studio = Studio(jobs, self.trail, session, {}, self.panel.append, self.record.append, stage)
        self.studio.open()

    @property
    def form(self) -> Form:
        return self.studio.forms[self.studio.current]

    def put(self, **values: Any) -> None:
        for name, value in values.items():
            self.form.fields[name].control.value = value

    def run(self, magic: str = "", **values: Any) -> None:
        """Open a step where it is not, fill its form and press Run."""
        if magic and self.studio.current != magic:
            self.studio.buttons[magic].value = True
        self.put(**values)
        self.form.run.click()

    def stands(self, magic: str) -> str:
        return f"{self.studio.buttons[magic].description} {self.studio.notes[magic].value}"

    def unfolded(self) -> list[str]:
        return [name for name, body in self.studio._bodies.items() if body.layout.display != "none"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def test_it_begins_with_the_model_and_says_what_is_missing() -> None:
    opened = Opened()
    assert opened.unfolded() == [LOAD] and list(opened.studio.forms) == [LOAD]
    assert WIDGET_VIEW in opened.panel[-1]
    assert "choose a base" in opened.stands(LOAD) and "needs a model" in opened.stands(TRAIN)
    assert "needs an adapter" in opened.stands(MERGE) and not any("✓" in opened.stands(name) for name in NAMES)
    assert "0 of 6 steps done" in opened.record[-1]["text/html"] and opened.studio.cell.value == ""


def test_a_step_that_ran_is_done_and_the_next_one_opens() -> None:
    opened = Opened()
    opened.run(model="demo")
    assert opened.stands(LOAD).startswith("✓ 1 Model") and "demo at 4 bits on CPU" in opened.stands(LOAD)
    assert opened.unfolded() == [DATA]
    opened.run(TRAIN, data="demo-json")
    assert opened.unfolded() == [COMPARE] and "json: 3 steps, held-out loss 2.500 to 1.500" in opened.stands(TRAIN)
    opened.run()
    opened.run()
    assert opened.unfolded() == [] and opened.studio.current == ""
    assert opened.trail.cell.splitlines() == [
        "%load_ext lora_magic", "%lora_load demo", "%lora_train --data demo-json", "%lora_compare",
        "%lora_merge json out/json-merged",
    ]  # fmt: skip
    assert "%lora_train --data demo-json\n" in opened.studio.cell.value
    assert "--overwrite" in opened.studio.cell.value


def test_a_step_that_fails_says_why_at_its_place_and_stays_open() -> None:
    opened = Opened()
    opened.ends[LOAD] = LoraError("There is no such folder.", "Give another one.")
    opened.run(model="./nowhere")
    assert "failed: There is no such folder. Give another one." in opened.stands(LOAD)
    assert opened.unfolded() == [LOAD] and opened.trail.cell == ""
    opened.ends[LOAD] = Interrupted("Loading was interrupted.", "No model is loaded now.")
    opened.run()
    assert "Loading was interrupted. No model is loaded now." in opened.stands(LOAD)
    opened.ends[LOAD] = opened.held.load
    opened.run(model="demo")
    assert "failed" not in opened.stands(LOAD) and opened.unfolded() == [DATA]
    page = opened.plain[-1]["text/html"]
    assert "%lora_load ./nowhere · failed" in page and "There is no such folder." in page


def test_one_step_at_a_time_is_open() -> None:
    opened = Opened()
    opened.studio.buttons[MERGE].value = True
    assert opened.unfolded() == [MERGE] and not opened.studio.buttons[LOAD].value
    opened.studio.buttons[MERGE].value = False
    assert opened.unfolded() == [] and opened.studio.current == ""


def test_while_a_step_runs_no_other_can_be_opened() -> None:
    opened = Opened()
    seen: list[bool] = []

    def work() -> LoadResult:
        seen.extend(button.disabled for button in opened.studio.buttons.values())
        seen.append("running" in opened.stands(LOAD))
        return opened.held.load()

    opened.ends[LOAD] = work
    opened.run(model="demo")
    assert seen and all(seen) and not any(button.disabled for button in opened.studio.buttons.values())


def test_a_stopped_run_keeps_its_step_and_the_cell_says_so() -> None:
    opened = Opened()
    opened.run(model="demo")
    opened.ends[TRAIN] = lambda: opened.held.train(reason="interrupted", made=2)
    opened.run(TRAIN, data="demo-json")
    assert "json: stopped at step 2 of 9" in opened.stands(TRAIN) and opened.unfolded() == [TRAIN]
    assert "# stopped by hand at step 2; from here it runs to its end\n%lora_train" in opened.trail.cell


def test_what_was_chosen_goes_on_to_the_next_steps_and_leaves_alone_what_was_touched() -> None:
    opened = Opened()
    opened.run(model="demo")
    opened.run(data="demo-json", map="prompt=question,completion=answer")
    assert opened.studio.current == PLAN
    assert opened.form.choices.given["data"] == "demo-json" and opened.form.choices.given["model"] == "demo"
    opened.run(rank="16")
    assert opened.form.choices.line == (
        "%lora_train --data demo-json --map prompt=question,completion=answer --rank 16"
    )
    opened.put(rank="4")
    opened.run(DATA, data="demo-tone", map="")
    opened.studio.buttons[TRAIN].value = True
    assert opened.form.choices.line == "%lora_train --data demo-tone --rank 4"


def test_a_merge_is_offered_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "out" / "json-merged").mkdir(parents=True)
    opened = Opened()
    opened.held.load()
    opened.held.train()
    opened.studio.buttons[MERGE].value = True
    assert opened.form.choices.line == "%lora_merge json out/json-merged-2"


def test_what_happened_in_other_cells_is_done_and_stands_in_the_cell_before_what_uses_it() -> None:
    held = Held()
    opened = Opened(held)
    held.load("somewhere")
    held.adapters = {
        "mine": adapter("mine", "lora_runs/mine-2/adapter", TrainConfig(data="demo-json")),
        "theirs": adapter("theirs", "elsewhere"),
        "unwritten": adapter("unwritten", None),
    }
    Path("lora_runs/mine-2").mkdir(parents=True)
    Path("lora_runs/mine-2/config.yaml").write_text("rank: 8\n")
    opened.studio.refresh()
    assert "✓" in opened.stands(LOAD) and "mine, theirs, unwritten on the base" in opened.stands(TRAIN)
    assert opened.trail.cell == ""
    opened.run(COMPARE)
    opened.run(COMPARE, rows="2")
    assert opened.trail.cell.splitlines() == [
        "%load_ext lora_magic",
        "# loaded before, outside of the studio", "%lora_load somewhere --bits 8",
        "# trained before, outside of the studio", "%lora_train mine --from mine-2",
        "# came on the base outside of the studio", f"%lora_adapters --import {Path.cwd()}/elsewhere --as theirs",
        "%lora_compare", "%lora_compare --rows 2",
    ]  # fmt: skip


def test_another_base_makes_what_was_seen_with_the_old_one_undone() -> None:
    opened = Opened()
    opened.run(model="demo")
    opened.run(data="demo-json")
    opened.run(TRAIN, data="demo-json")
    opened.run()
    assert "✓" in opened.stands(DATA) and "✓" in opened.stands(COMPARE)
    opened.held.load("another")
    opened.studio.refresh()
    assert [name for name in NAMES if "✓" in opened.stands(name)] == [LOAD]
    assert "another at 4 bits" in opened.stands(LOAD)


def test_a_variable_is_named_where_its_rows_are_needed(shell: InteractiveShell) -> None:
    shell.user_ns["rows"] = [{"question": "a", "answer": "b"}]
    opened = Opened()
    opened.run(model="demo")
    opened.run(data="rows")
    assert "# rows is a variable of the notebook\n%lora_data rows" in opened.trail.cell


def test_a_second_panel_goes_on_where_the_first_one_was() -> None:
    first = Opened()
    first.run(model="demo")
    second = Opened(first.held, first.trail)
    assert second.studio.current == DATA and "%lora_load demo" in second.studio.cell.value


def test_hostile_names_stay_text() -> None:
    opened = Opened()
    opened.ends[LOAD] = lambda: opened.held.load(HOSTILE)
    opened.run(model=HOSTILE)
    for page in (opened.record[-1], opened.plain[-1]):
        assert unsafe(page["text/html"]) == []
    for shown in (opened.studio.cell.value, opened.stands(LOAD)):
        assert "<script" not in shown and "<img" not in shown and "<svg" not in shown


ENDS = st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=8)


@settings(max_examples=25, deadline=None)
@given(ENDS)
def test_the_cell_holds_the_lines_that_went_through_in_order(runs: list[tuple[str, bool]]) -> None:
    """Whatever is run, in any order and however often: nothing is left out, replaced or added."""
    opened = Opened()
    opened.held.load()
    opened.held.train()
    opened.trail.outside = lambda _: []  # type: ignore[method-assign]
    wanted: list[str] = []
    for number, (magic, works) in enumerate(runs):
        opened.ends[magic] = SimpleNamespace() if works else LoraError("no", "Try again.")
        values: Mapping[str, Any] = {
            LOAD: {"model": f"m{number}"}, DATA: {"data": f"d{number}"}, PLAN: {"model": f"m{number}"},
            TRAIN: {"data": f"d{number}"}, COMPARE: {"rows": str(number + 1)},
            MERGE: {"name": "json", "out": f"o{number}"},
        }[magic]  # fmt: skip
        opened.run(magic, **values)
        ran = opened.studio.forms[magic].choices.line
        wanted += [ran] if works else []
        assert opened.studio.current == (dict(zip(NAMES, [*NAMES[1:], ""], strict=True))[magic] if works else magic)
        assert opened.stands(magic).count("failed") == (0 if works else 1)
    assert opened.trail.lines == wanted


def test_in_a_terminal_it_prints_the_steps_with_their_lines(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.run_line_magic("lora_studio", "") is None
    said = capsys.readouterr().out
    assert "usage: %lora_studio" in said and "needs a model" in said
    for number, step in enumerate(STEPS, 1):
        assert f"{number} {step.title}" in said and f"%{step.magic} " in said
