"""A form in a real kernel, driven by the messages that a page sends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.kernels import PATIENCE, Kernel, Seen
from tests.models import rows

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def has_subshells(kernel: Kernel) -> bool:
    """Whether the kernel hears of widgets on more threads than one."""
    return "kernel subshells" in kernel.info().get("supported_features", ())


class Page:
    """What a front end knows of a kernel's widgets, and what it sends."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.states: dict[str, dict[str, Any]] = {}
        self.displays: dict[str, dict[str, Any]] = {}
        self.stray: list[dict[str, Any]] = []
        self.subshell = kernel.subshell() if has_subshells(kernel) else None

    def open(self, line: str) -> Seen:
        """Run the cell that opens a form."""
        seen = self.kernel.run(line)
        for message in seen.messages:
            self._take(message)
        return seen

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open":
            self.states[content["comm_id"]] = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["data"].get("method") == "update":
            self.states.setdefault(content["comm_id"], {}).update(content["data"]["state"])
        elif kind in ("display_data", "update_display_data"):
            self.displays[content.get("transient", {}).get("display_id", "")] = content["data"]
        if kind in ("display_data", "stream", "error", "execute_result"):
            self.stray.append(message)

    def widget(self, description: str) -> str:
        """The widget with this label."""
        return next(key for key, state in self.states.items() if state.get("description") == description)

    def state(self, description: str) -> dict[str, Any]:
        return self.states[self.widget(description)]

    def send(self, widget: str, data: dict[str, Any]) -> None:
        """Send what the page would, to the subshell of all its widgets where the kernel has such."""
        client = self.kernel.client
        message = client.session.msg("comm_msg", {"comm_id": widget, "data": data})
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        client.shell_channel.send(message)

    def listen(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < end, self.displays
            self._take(self.kernel.client.get_iopub_msg(timeout=PATIENCE))

    def put(self, description: str, value: Any, until: Callable[[], bool] = lambda: True) -> None:
        """Type into a field."""
        widget = self.widget(description)
        self.states[widget]["value"] = value
        self.send(widget, {"method": "update", "state": {"value": value}, "buffer_paths": []})
        self.listen(until)

    def press(self, until: Callable[[], bool] = lambda: True, button: str = "Run") -> None:
        """Press a button."""
        self.send(self.widget(button), {"method": "custom", "content": {"event": "click"}})
        self.listen(until)

    def said(self, text: str) -> bool:
        """Whether some widget shows a text."""
        return any(text in str(state.get("value", "")) for state in self.states.values())

    def shown(self, text: str) -> bool:
        """Whether an output that the cell made shows it."""
        return any(text in display.get("text/html", "") for display in self.displays.values())


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("notebook")) as running:
        running.run("%load_ext lora_magic\nimport lora_magic, sys")
        yield running


def test_a_form_opens_at_once_and_imports_no_torch(kernel: Kernel) -> None:
    timed = kernel.run("%lora_train")
    assert timed.status == "ok" and any(WIDGET_VIEW in shown for shown in timed.displays.values())
    assert kernel.run("print('torch' in sys.modules)").stream == "False\n"


def test_a_run_from_the_form_lands_in_its_cell(kernel: Kernel, tiny_folder: Path) -> None:
    kernel.run(f"rows = {rows(60)!r}")
    assert kernel.run(f'%lora_load "{tiny_folder}"').status == "ok"
    page = Page(kernel)
    assert page.open("%lora_train").status == "ok"
    made = set(page.displays)
    assert len(made) == 3 and page.said("needed")
    page.press(lambda: page.said("Nothing ran"))
    page.put("data", "rows", lambda: page.said("--data rows"))
    page.put("max-steps", "0", lambda: page.said("max-steps must be at least 1"))
    page.press(lambda: page.said("Nothing ran: max-steps must be at least 1"))
    page.put("max-steps", "2", lambda: page.said("--data rows --max-steps 2"))
    assert not page.said("must be at least 1 and at most 10")
    page.stray.clear()
    page.press(lambda: page.said(">done<"))
    assert set(page.displays) == made and page.stray == []
    assert page.shown("%lora_train --data rows --max-steps 2") and page.shown("data:image/png")
    assert page.shown("Next: %lora_compare") and not page.shown("running")
    assert kernel.run("print(list(lora_magic.api.session().adapters))").stream == "['default']\n"


def test_stop_reaches_a_run_from_the_form_and_the_next_one_goes(kernel: Kernel, tiny_folder: Path) -> None:
    page = Page(kernel)
    page.open("%lora_train --form --data rows --max-steps 100000 --eval-every 50")
    page.press(lambda: page.said("Running. To stop it") and page.shown("step 3"))
    assert page.state("data")["disabled"]
    kernel.interrupt()
    page.listen(lambda: page.said(">stopped<"))
    assert page.shown("adapter as of that step is kept") and not page.state("data")["disabled"]
    page.put("max-steps", "2", lambda: page.said("--max-steps 2"))
    page.press(lambda: page.said("--max-steps 2") and page.shown("eval-every 50 · stopped"))
    page.listen(lambda: page.said(">done<"))
    assert kernel.run("print(1 + 1)").stream == "2\n"


def test_what_fails_is_said_below_the_form(kernel: Kernel) -> None:
    page = Page(kernel)
    page.open("%lora_load")
    page.put("model", "./nowhere", lambda: page.said("./nowhere"))
    page.press(lambda: page.said(">failed<"))
    assert page.shown("does not exist")
    page = Page(kernel)
    page.open("%lora_merge --form default out/a")
    page.press(lambda: page.said(">done<"))
    assert page.shown("largest logit difference")


HELD_UP = """
import threading
passing, box, button = threading.Event(), ipywidgets.Text(description="held up"), ipywidgets.Button(description="go on")
box.observe(lambda change: change["new"] == "wait" and passing.wait(60), "value")
button.on_click(lambda _: passing.set())
ipywidgets.VBox([box, button])
"""


def test_what_is_typed_just_before_a_press_counts(kernel: Kernel) -> None:
    """Also where the kernel hears of the press first: the thread that hears of the text is held up until then."""
    kernel.run("import ipywidgets")
    page = Page(kernel)
    page.open(HELD_UP)
    page.put("held up", "a moment")
    page.open("%lora_load")
    page.put("model", "./one", partial(page.said, "%lora_load ./one"))
    if page.subshell is not None:
        page.put("held up", "wait")
    page.put("model", "./two")
    page.press()
    page.press(button="go on")
    page.listen(lambda: page.said(">failed<") and page.shown("does not exist"))
    assert page.shown("%lora_load ./two") and not page.shown("%lora_load ./one")


def test_compare_works_bare_once_there_is_an_adapter(kernel: Kernel) -> None:
    seen = kernel.run("%lora_compare")
    assert seen.status == "ok" and not any(WIDGET_VIEW in shown for shown in seen.displays.values())
    page = Page(kernel)
    page.open("%lora_compare --form --rows 2 --max-new-tokens 4 --blind")
    page.press(lambda: page.said(">done<"))
    votes = [shown for shown in page.displays.values() if WIDGET_VIEW in shown]
    assert len(votes) == 2 and page.shown("0 of ")
    before = dict(page.displays)
    page.press(lambda: sum(WIDGET_VIEW in d for d in page.displays.values()) == 1, "Reveal now")
    changed = [data for name, data in page.displays.items() if data != before[name] and data.get("text/html")]
    assert len(changed) == 1 and "%lora_compare --rows 2" in changed[0]["text/html"]


def test_stop_reaches_every_answer_of_a_chat(kernel: Kernel) -> None:
    page = Page(kernel)
    page.open("%lora_chat --max-new-tokens 480")
    box = next(key for key, state in page.states.items() if "press Enter" in str(state.get("placeholder")))
    for number in range(1, 4):
        page.send(box, {"method": "update", "state": {"value": f"Question {number}?"}, "buffer_paths": []})
        page.press(partial(page.shown, f"Question {number}?"), "Send")
        kernel.interrupt()
        page.listen(lambda: not page.state("Send")["disabled"])
    assert kernel.run("print(1 + 1)").stream == "2\n"
    assert page.shown("turn 1 · stopped") and page.shown("turn 2 · stopped") and page.shown("turn 3 · stopped")
