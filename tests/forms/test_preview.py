"""What stands beside a form while it is filled: the first row, the card, and no more work than typing allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from lora_magic.config import LoadConfig, PlanConfig, TrainConfig
from lora_magic.dataset import hub
from lora_magic.display.progress import Progress
from lora_magic.display.safe import unsafe
from lora_magic.forms.choices import choose, settled
from lora_magic.forms.little import MOST_BYTES, MOST_ROWS, little
from lora_magic.forms.preview import Preview
from lora_magic.planning.here import Here, described
from lora_magic.session import Session
from tests.forms.test_form import Job, Opened
from tests.models import rows

Puts = Callable[[Here | None], None]
T4 = described("Tesla T4", 15.0, 14.5, (7, 5), has_context=False)


@pytest.fixture(scope="module")
def session(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    made = Session()
    with chdir(tmp_path_factory.mktemp("work")):
        made.load(LoadConfig(str(tiny_folder)), Progress("", surface=lambda _: None))
        yield made
    made.free()


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> Puts:
    """Puts a card into this machine, or takes it out."""

    def put(here: Here | None) -> None:
        for place in ("lora_magic.training.plan.card_here", "lora_magic.forms.preview.card_here"):
            monkeypatch.setattr(place, lambda: here)

    put(None)
    return put


def preview(session: Session, **variables: Any) -> Preview:
    return Preview(session, lambda: variables)


def test_the_first_row_and_on_a_card_what_it_has_to_hold(session: Session, puts: Puts) -> None:
    shows = preview(session, sums=rows(60))
    config = TrainConfig(data="sums")
    without = shows(config)
    assert "48 rows to train on, 12 held out" in without and "What is" in without and "GiB" not in without
    puts(T4)
    shown = shows(config)
    assert "fits T4 · peak" in shown and "18 steps in about" in shown and unsafe(shown) == []
    assert "12 steps" in shows(config.replace(batch=4, epochs=1))
    assert "6 steps" in shows(config.replace(epochs=1))


def test_what_cannot_be_planned_or_read_is_said(session: Session, puts: Puts) -> None:
    puts(T4)
    shows = preview(session, sums=rows(60))
    assert "no_proj" in shows(TrainConfig(data="sums", target="no_proj"))
    wrong = shows(TrainConfig(data="sums", map="prompt=nowhere,completion=answer"))
    assert "nowhere" in wrong and unsafe(wrong) == []
    assert "does-not-exist.jsonl" in shows(TrainConfig(data="does-not-exist.jsonl"))
    assert "fits T4" in shows(TrainConfig(data="sums"))


def test_a_card_that_is_too_small_shows_it(session: Session, puts: Puts) -> None:
    puts(described("Tiny", 0.5, 0.0, (7, 5), has_context=False))
    assert "does not fit Tiny" in preview(session, sums=rows(60))(TrainConfig(data="sums"))


def test_a_plan_s_form_has_its_card_for_a_model_on_this_disk(session: Session, puts: Puts, tiny_folder: Path) -> None:
    shows = preview(Session(), sums=rows(60))
    assert "fits T4" in shows(PlanConfig(model="demo", data="no such rows"))
    assert "fits A100" in shows(PlanConfig(model="demo", gpu="a100"))
    assert shows(PlanConfig(model="somebody/something")) == ""
    loaded = preview(session, sums=rows(60))
    assert "18 steps" in loaded(PlanConfig(model=str(tiny_folder), data="sums"))


def test_many_rows_are_not_read_to_the_last(session: Session, puts: Puts) -> None:
    class Rows(list[Any]):
        """Says when somebody goes through all of them."""

        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("all rows are read")

    many = Rows(rows(50_000))
    assert len(little("many", {"many": many}).data) == MOST_ROWS
    puts(T4)
    shown = preview(session, many=many)(TrainConfig(data="many"))
    assert "Of the first 2,000 of 50,000 rows" in shown and "steps in about" in shown


def test_large_files_and_the_hub_wait_for_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: object) -> None:
        raise AssertionError("something is downloaded")

    monkeypatch.setattr(hub, "load", load)
    large, small = tmp_path / "large.jsonl", tmp_path / "small.jsonl"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    small.write_text('{"prompt": "a", "completion": "b"}\n')
    assert little(str(large), {}).data is None and "8.0 MiB" in little(str(large), {}).said
    assert little(str(tmp_path), {}).data is None and little(str(tmp_path / "*.jsonl"), {}).data is None
    assert little(str(small), {}).data == str(small)
    assert "from the Hub" in little("somebody/rows", {}).said and little("somebody/rows", {}).data is None
    assert little("demo-json", {}).data == "demo-json" and little("nothing", {}).data == "nothing"


def test_a_recorded_run_s_settings_stand_in_the_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "lora_runs" / "first"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: first\nrank: 32\nlr: 0.002\nbatch: 16\nepochs: 1.0\ndata: sums\n")
    opened = Opened("lora_train")
    opened.put("from_run", "first")
    shown = {name: opened.form.fields[name].value for name in ("rank", "lr", "batch", "epochs", "name")}
    assert shown == {"rank": "32", "lr": "0.002", "batch": "16", "epochs": "1", "name": "first"}
    assert opened.line == "%lora_train --from first" and opened.marked() == []
    opened.put("rank", "8")
    assert opened.line == "%lora_train --rank 8 --from first"
    assert settled(TrainConfig, opened.job.parse(opened.line))["lr"] == 0.002
    opened.put("rank", "32")
    assert opened.line == "%lora_train --from first"
    opened.put("from_run", "frist")
    assert (
        opened.marked() == ["from_run"] and "Did you mean &quot;first&quot;" in opened.form.fields["from_run"].message
    )
    assert choose(Job("lora_train"), {"from_run": None, "data": "sums"}, ["data"]).settled["rank"] == 8
