"""The studio's notebook on both front ends: from nothing to a merged model by forms alone, saved and read again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.browser.conftest import NOTEBOOKS, Open
from tests.browser.lab import Server
from tests.browser.pages import CELLS, FORM, NotebookPage

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.slow
NAME, COPY = "studio.ipynb", "studio-copy.ipynb"
PANEL = 4
"""The number of the cell that opens the studio."""
WHOLE = """([cell, lines]) => {
    const outputs = [...looks.outputs(cell)];
    outputs.forEach(looks.unfold);
    const text = outputs.map((output) => output.innerText).join("\\n");
    return lines.every((line) => text.includes(line));
}"""
"""Everything is unfolded and these lines can be read; Notebook 6.5 may draw an output anew, and folded, later."""
LINES = [
    "%load_ext lora_magic",
    "%lora_load demo",
    "%lora_data demo-json",
    "%lora_plan demo --data demo-json",
    "%lora_train json --data demo-json --max-steps 3",
    "%lora_compare --rows 2 --max-new-tokens 8",
    "%lora_merge json out/json-merged",
]


class Studio:
    """The panel on a page, as somebody uses it."""

    def __init__(self, page: NotebookPage) -> None:
        self.page = page
        self.panel: Locator = page.page.locator(CELLS).nth(PANEL).locator(FORM).first

    def shows(self, text: str) -> None:
        """Wait until the panel says it where it can be seen."""
        self.panel.get_by_text(text).and_(self.panel.locator(":visible")).first.wait_for()

    def fill(self, label: str, text: str, topic: str = "") -> None:
        """Type into a field of the open step, after unfolding its topic."""
        field = self.panel.get_by_label(label, exact=True).and_(self.panel.locator(":visible"))
        if topic and not field.is_visible():
            self.panel.get_by_role("button", name=topic).click()
        field.fill(text)

    def taken(self, text: str) -> None:
        """Press Enter in a field, and wait until the panel says what comes of it."""
        self.page.page.keyboard.press("Enter")
        self.shows(text)

    def run(self) -> None:
        """Press Run of the open step."""
        self.panel.get_by_role("button", name="Run", exact=True).click()

    def is_done(self, step: str) -> None:
        """Wait for the mark at a step; what the panel says instead is the failure's message."""
        from playwright.sync_api import Error as PlaywrightError

        try:
            self.panel.get_by_role("button", name=f"✓ {step}").wait_for()
        except PlaywrightError:
            pytest.fail(f"{step} is not done:\n{self.panel.inner_text()}")

    def readable(self) -> None:
        """Nothing is faint, cut off or without a label."""
        look = "([panel, cell]) => [looks.faint(panel, 4.5), looks.outside(panel)]"
        faint, outside = self.page.page.evaluate(look, [self.panel.element_handle(), PANEL])
        assert faint == [] and outside == []
        bare = "(all) => all.filter((one) => one.offsetParent && !one.labels?.length).map((one) => one.outerHTML)"
        assert self.panel.locator("input, select").evaluate_all(bare) == []


def by_keyboard(studio: Studio) -> None:
    """The first step without a mouse: a mistake, which stays at its step, and then the model."""
    keys = studio.page.page.keyboard
    studio.panel.get_by_role("button", name="1 Model").focus()
    keys.press("Tab")
    keys.type("./nowhere")
    _walk(studio.page, "Run")
    keys.press("Enter")
    studio.shows("does not exist")
    field = studio.panel.get_by_label("model", exact=True).and_(studio.panel.locator(":visible"))
    field.focus()
    keys.press("Control+a")
    keys.type("demo")
    _walk(studio.page, "Run")
    keys.press("Enter")
    studio.is_done("1 Model")


def _walk(page: NotebookPage, words: str) -> None:
    """Tab on until the element with these words has the focus."""
    for _ in range(30):
        page.page.keyboard.press("Tab")
        if page.page.evaluate("() => document.activeElement.textContent").strip() == words:
            return
    pytest.fail(f"no Tab leads to {words}")


def trained(studio: Studio) -> None:
    """A run that is stopped, which keeps its adapter and its step open, and one to its end."""
    studio.fill("name", "json", "Name and start")
    studio.taken("%lora_train json")
    studio.fill("max-steps", "100000", "Batch and length")
    studio.run()
    studio.page.page.locator(CELLS).nth(PANEL).get_by_text("step 2").first.wait_for()
    studio.page.stop()
    studio.shows("json: stopped at step")
    studio.fill("max-steps", "3")
    studio.run()
    studio.shows("json: 3 steps")


def test_from_nothing_to_a_merged_model_by_forms_alone(open_there: Open, server: Server) -> None:
    look = type(server).__name__.lower()
    shutil.copy(NOTEBOOKS / NAME, server.folder / NAME)
    page = open_there(NAME)
    page.run_all()
    studio = Studio(page)
    studio.shows("choose a base")
    page.screenshot(f"studio-{look}-open-light-1400")
    by_keyboard(studio)
    studio.fill("data", "demo-json")
    studio.run()
    studio.is_done("2 Data")
    studio.shows("%lora_plan demo --data demo-json")
    studio.shows("steps in about")
    page.screenshot(f"studio-{look}-plan-light-1400")
    studio.run()
    studio.is_done("3 Plan")
    studio.shows("%lora_train --data demo-json")
    page.screenshot(f"studio-{look}-train-light-1400")
    trained(studio)
    studio.fill("rows", "2")
    studio.taken("--rows 2")
    studio.fill("max-new-tokens", "8", "Answers")
    studio.run()
    studio.is_done("5 Compare")
    studio.shows("%lora_merge json out/json-merged")
    studio.run()
    studio.is_done("6 Merge")
    assert (server.folder / "out" / "json-merged" / "model.safetensors").is_file()
    said = studio.panel.inner_text()
    assert [line for line in LINES if line not in said] == []
    assert "# stopped by hand at step" in said
    studio.panel.get_by_text("%load_ext lora_magic").click()
    selected = page.page.evaluate("() => getSelection().toString()").strip().splitlines()
    assert selected[0] == LINES[0] and selected[-1] == LINES[-1] and len(selected) == len(LINES) + 2
    for width in (1400, 400):
        page.resize(width)
        page.screenshot(f"studio-{look}-merged-light-{width}")
        studio.readable()
    page.resize(1400)
    saved = page.save()
    assert "widgets" not in saved.metadata
    read_again(open_there, server, saved)


def read_again(open_there: Open, server: Server, saved: nbformat.NotebookNode) -> None:
    """The saved notebook, as somebody else opens it where no kernel has its widgets."""
    saved.metadata["copied"] = True
    nbformat.write(saved, server.folder / COPY)
    assert not server.is_trusted(COPY)
    for theme in server.themes:
        copy = open_there(COPY, dark=theme == "dark", width=700)
        outputs = copy.html(PANEL)
        for output in outputs:
            assert output.outside() == [] and output.faint() == []
            output.unfold()
        copy.page.wait_for_function(WHOLE, arg=[PANEL, LINES])
        copy.screenshot(f"studio-{type(server).__name__.lower()}-untrusted-{theme}-700")
        text = copy.page.locator(CELLS).nth(PANEL).text_content() or ""
        assert all(part in text for part in ("6 of 6 steps done", "largest logit difference", "held out"))
        assert copy.page.locator(CELLS).nth(PANEL).locator("img").count() >= 2


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_each_step_is_whole_and_readable(dark: bool, open_notebook: Open, lab: Server) -> None:
    shutil.copy(NOTEBOOKS / NAME, lab.folder / NAME)
    page = open_notebook(NAME, dark=dark)
    page.run_all()
    studio = Studio(page)
    for width in (1400, 400):
        page.resize(width)
        for step in ("2 Data", "3 Plan", "5 Compare", "6 Merge", "4 Train"):
            studio.panel.get_by_role("button", name=step).click()
            studio.shows(f"%lora_{step[2:].lower()}")
            studio.readable()
        page.screenshot(f"studio-steps-{'dark' if dark else 'light'}-{width}")
