"""A magic's form: the line it stands for, what it marks, what it runs and what it leaves behind."""

from __future__ import annotations

import dataclasses
import functools
import html
import re
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_magic.config import defaults
from lora_magic.display.safe import unsafe
from lora_magic.errors import Interrupted, LoraError
from lora_magic.forms.choices import settled
from lora_magic.forms.form import Form
from lora_magic.forms.layout import LAYOUTS
from lora_magic.forms.place import WIDGET_VIEW
from lora_magic.forms.stage import Stage
from lora_magic.magics import all_magics
from lora_magic.magics.completion import Offers
from lora_magic.magics.magic import Magic
from lora_magic.magics.opening import MagicJob
from tests.display.conftest import HOSTILE
from tests.magics.test_lines import values

MAGICS = {magic.name: magic for magic in all_magics() if magic.has_form}
OFFERS = Offers(lambda: ["support", "two words"], lambda: ["rows"], lambda: ["support-1"])


class Job(MagicJob):
    """A magic whose runs are written down."""

    def __init__(self, name: str, result: Any = None) -> None:
        super().__init__(MAGICS[name], OFFERS)
        self.ran: list[str] = []
        self.result = result

    def run(self, line: str) -> Any:
        self.ran.append(line)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result() if callable(self.result) else self.result


class Opened:
    """A form on a page that keeps what is shown."""

    def __init__(self, name: str, result: Any = None, **given: Any) -> None:
        self.job = Job(name, result)
        self.plain: list[dict[str, Any]] = []
        self.guest: list[dict[str, Any]] = []
        self.shown: list[dict[str, Any]] = []
        self.form = Form(self.job, Stage(self.plain.append, self.guest.append), self.shown.append)
        self.form.open(given)

    def put(self, name: str, value: Any) -> None:
        """What a user would choose or type."""
        field = self.form.fields[name]
        switch = field._switch
        if switch is not None:
            switch.value = value is not None
            value = value or ""
        field.control.value = value

    @property
    def line(self) -> str:
        return self.form.choices.line

    @property
    def page(self) -> str:
        return str(self.plain[-1]["text/html"])

    def marked(self) -> list[str]:
        return [name for name, field in self.form.fields.items() if field.message]


@pytest.fixture(autouse=True)
def _no_defaults() -> Iterator[None]:
    yield
    defaults.clear()


def typed(value: Any) -> Any:
    """A value as it is put into its widget: numbers are typed."""
    return value if isinstance(value, bool | str) else repr(value)


@functools.cache
def opened_once(name: str) -> Opened:
    """Opening takes longer than filling."""
    return Opened(name)


def chosen_by(magic: Magic) -> st.SearchStrategy[dict[str, Any]]:
    hints = typing.get_type_hints(magic.config_class)
    fields = dataclasses.fields(magic.config_class)
    made = {f.name: values(f, hints[f.name]).filter(lambda v: v != "" and not _is_variable(v)) for f in fields}
    needed = {f.name: made.pop(f.name) for f in fields if f.default is dataclasses.MISSING or f.name == "data"}
    return st.fixed_dictionaries(needed, optional=made).filter(bool)


def _is_variable(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\$[A-Za-z_]\w*", value) is not None


@pytest.mark.parametrize("name", MAGICS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_form_to_line_to_config(name: str, data: st.DataObject) -> None:
    """Valid choices come back from the line; for others a field or the form is marked, and nothing runs."""
    magic, opened = MAGICS[name], opened_once(name)
    chosen = data.draw(chosen_by(magic))
    *before, last = data.draw(st.permutations(list(chosen)))
    opened.form.fill({field: chosen[field] for field in before})
    choices = magic.config_class.__dataclass_fields__[last].metadata["choices"]
    opened.put(last, chosen[last] if choices else typed(chosen[last]))
    opened.job.ran.clear()
    opened.form.run.click()
    try:
        expected = settled(magic.config_class, chosen)
    except LoraError as error:
        assert opened.job.ran == [] and "Nothing ran" in opened.form.message.value
        assert opened.form.choices.wrong and str(error)
        assert opened.marked() or "" in opened.form.choices.wrong
        return
    assert opened.job.ran == [opened.line] and opened.marked() == []
    assert settled(magic.config_class, opened.job.parse(opened.line)) == expected


@pytest.mark.parametrize("name", MAGICS)
def test_every_field_of_the_line_stands_in_the_form_once(name: str) -> None:
    magic = MAGICS[name]
    placed = [field for names in LAYOUTS[name].placed(magic.config_class).values() for field in names]
    assert sorted(placed) == sorted(magic.config_class.__dataclass_fields__)
    assert len(LAYOUTS[name].first) == 3 and set(LAYOUTS[name].first) <= set(placed)
    assert "More" not in LAYOUTS[name].placed(magic.config_class)
    opened = Opened(name)
    for field, made in opened.form.fields.items():
        help_text = magic.config_class.__dataclass_fields__[field].metadata["help"].replace("%%", "%")
        assert help_text in html.unescape(made.widget.children[-1].value)
        assert (made._switch or made.control).description


def test_a_magic_called_bare_has_nothing_but_what_is_needed_marked() -> None:
    opened = Opened("lora_merge")
    assert opened.marked() == ["name", "out"]
    assert all("needed" in opened.form.fields[name].message for name in opened.marked())
    assert opened.line == "%lora_merge" and WIDGET_VIEW in opened.shown[-1]
    opened.put("name", "support")
    assert opened.marked() == ["out"]
    opened.form.run.click()
    assert opened.job.ran == [] and "needs OUT" in opened.form.fields["out"].message
    opened.put("out", "out/a b")
    assert opened.marked() == [] and opened.line == "%lora_merge support 'out/a b'"
    opened.form.run.click()
    assert opened.job.ran == ["%lora_merge support 'out/a b'"] and "done" in opened.page


def test_a_bad_value_is_marked_where_it_stands_in_the_config_s_words() -> None:
    opened = Opened("lora_train", data="demo-json")
    opened.put("lr", "fast")
    assert opened.marked() == ["lr"] and "lr must be a number, got" in opened.form.fields["lr"].message
    assert opened.line == "%lora_train --data demo-json --lr fast"
    opened.put("lr", "2e-3")
    opened.put("rank", "0")
    assert opened.marked() == ["rank"] and "at least 1 and at most 4096, got 0" in opened.form.fields["rank"].message
    opened.form.run.click()
    assert opened.job.ran == [] and "Nothing ran: rank must be" in opened.form.message.value
    opened.put("rank", "16")
    assert opened.line == "%lora_train --data demo-json --rank 16 --lr 0.002" and opened.marked() == []


@pytest.mark.parametrize(
    ("order", "blamed"), [(("batch", "micro_batch"), "micro_batch"), (("micro_batch", "batch"), "batch")]
)
def test_a_contradiction_is_marked_at_the_field_that_was_changed_last(order: tuple[str, ...], blamed: str) -> None:
    opened = Opened("lora_train", data="demo-json")
    for name in order:
        opened.put(name, {"batch": "10", "micro_batch": "4"}[name])
    assert opened.marked() == [blamed] and "cannot be cut" in opened.form.fields[blamed].message
    opened.form.run.click()
    assert (
        opened.form.topics["Batch and length"].value and "1 wrong" in opened.form.topics["Batch and length"].description
    )


def test_a_preset_shows_in_the_fields_that_nobody_touched() -> None:
    opened = Opened("lora_train", data="demo-json")
    opened.put("lr", "0.5")
    opened.put("preset", "quality")
    rank = opened.form.fields["rank"].control
    assert (rank.value, opened.form.fields["method"].value, opened.form.fields["lr"].value) == ("32", "rslora", "0.5")
    assert opened.line == "%lora_train --data demo-json --lr 0.5 --preset quality"
    opened.put("rank", "8")
    assert "--rank 8" in opened.line
    opened.put("preset", "standard")
    assert opened.line == "%lora_train --data demo-json --lr 0.5" and rank.value == "8"
    opened.put("rank", "32")
    assert "--rank 32" in opened.line


def test_the_user_s_own_defaults_stand_in_the_form_and_not_on_the_line() -> None:
    defaults.put("TrainConfig", "rank", 64)
    opened = Opened("lora_train", data="demo-json")
    assert opened.form.fields["rank"].value == "64" and "--rank" not in opened.line
    opened.put("rank", "8")
    assert opened.line == "%lora_train --data demo-json --rank 8"
    defaults.put("CompareConfig", "blind", True)
    assert Opened("lora_compare").form.fields["blind"].control.disabled


def test_an_option_that_may_stand_alone_has_a_box_to_tick() -> None:
    opened = Opened("lora_compare")
    opened.put("general", "")
    assert opened.line == "%lora_compare --general ''"
    opened.form.fields["general"].control.value = "asked.jsonl"
    assert opened.line == "%lora_compare --general asked.jsonl"
    opened.put("general", None)
    assert opened.line == "%lora_compare"


def test_a_variable_and_what_else_was_found_are_offered() -> None:
    opened = Opened("lora_train")
    control = opened.form.fields["data"].control
    assert "rows" in control.options and "demo-json" in control.options
    assert "rows" in opened.form.fields["data"].widget.children[-1].value
    assert "two words" in opened.form.fields["continue_from"].control.options
    assert "support-1" in opened.form.fields["from_run"].control.options
    opened.put("data", "$rows")
    assert opened.form.choices.wrong["data"].problem.startswith("$rows on the line: there is no such variable")


def test_a_locked_form_takes_nothing_and_runs_once() -> None:
    opened = Opened("lora_load", model="demo")
    seen: list[Any] = []

    def look() -> None:
        opened.form.run.click()
        seen.extend([field.control.disabled for field in opened.form.fields.values()])
        seen.append("interrupt the kernel" in opened.form.message.value and opened.form.run.disabled)

    opened.job.result = look
    opened.form.run.click()
    assert opened.job.ran == ["%lora_load demo"] and all(seen)
    assert not any(field.control.disabled for field in opened.form.fields.values()) and not opened.form.run.disabled


@pytest.mark.parametrize(
    ("end", "state", "said"),
    [
        (LoraError("It burns.", "Put it out."), "failed", "Put it out."),
        (ZeroDivisionError("by nothing"), "failed", "ZeroDivisionError: by nothing"),
        (
            Interrupted("Loading demo was interrupted.", "No model is loaded now."),
            "interrupted",
            "No model is loaded now.",
        ),
        (KeyboardInterrupt(), "interrupted", ""),
    ],
)
def test_how_a_run_ends_is_said_below_the_form(end: BaseException, state: str, said: str) -> None:
    opened = Opened("lora_load", end, model="demo")
    opened.form.run.click()
    assert f">{state}<" in opened.page and said in opened.page and not opened.form.run.disabled
    opened.job.result = None
    opened.form.run.click()
    assert f"before: %lora_load demo · {state}" in opened.page and ">done<" in opened.page


def test_displays_and_prints_of_a_run_come_together_and_can_change_later() -> None:
    from lora_magic.display.surface import CellOutput

    late = []

    def work() -> str:
        print(f"some words {HOSTILE}")
        first = CellOutput()
        first({"text/html": "<b>one</b>", "text/plain": "one"})
        second = CellOutput()
        second({WIDGET_VIEW: {"model_id": "x"}, "text/plain": "guest"})
        first({"text/html": "<b>two</b>", "text/plain": "two"})
        late.extend([first, second])
        return f"result {HOSTILE}"

    opened = Opened("lora_load", work, model=HOSTILE)
    opened.form.run.click()
    assert "<b>two</b>" in opened.page and "<b>one</b>" not in opened.page and "some words" in opened.page
    assert WIDGET_VIEW in opened.guest[-1] and "guest" not in opened.page
    assert opened.plain[-1]["text/plain"].index("two") < opened.plain[-1]["text/plain"].index("result")
    late[0]({"text/html": "<b>three</b>", "text/plain": "three"})
    late[1]({"text/html": "", "text/plain": ""})
    assert "<b>three</b>" in opened.page and WIDGET_VIEW not in opened.guest[-1]
    for shown in opened.plain:
        assert unsafe(shown["text/html"]) == []
    opened.job.result = None
    opened.form.run.click()
    late[0]({"text/html": "<b>four</b>", "text/plain": "four"})
    assert "<b>four</b>" not in opened.page


def test_hostile_text_in_a_field_stays_text() -> None:
    opened = Opened("lora_load", model=HOSTILE, bits=4)
    opened.put("max_length", HOSTILE)
    for shown in (opened.form.shown_line.value, opened.form.fields["max_length"].message):
        assert "<script" not in shown and "<img" not in shown and "<svg" not in shown


@pytest.mark.parametrize("name", MAGICS)
def test_every_list_says_what_stands_in_it(name: str) -> None:
    form = Opened(name).form
    lists = [field.control for field in form.fields.values() if hasattr(field.control, "options")]
    chosen = [one for one in lists if hasattr(one, "label")]
    assert [one.description for one in chosen if not one.label] == []
    for one in chosen:
        one.index = len(one.options) - 1
    form.fill({})
    assert [one.description for one in chosen if not one.label] == []
