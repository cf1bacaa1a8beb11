"""Forms in JupyterLab and in Notebook 6.5: filled by mouse and by keyboard, run, stopped, saved, and read untrusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.conftest import Open
from tests.browser.lab import Server
from tests.browser.pages import CELLS, FORM, OUTPUT, NotebookPage

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.slow
LOAD, DATA, TRAIN, COMPARE, MERGE = range(1, 6)
MAGICS = ("load_ext lora_magic", "lora_load", "lora_data", "lora_train", "lora_compare", "lora_merge")
LONG = 200_000


class OpenForm:
    """The form below a cell, as the user sees it."""

    def __init__(self, page: NotebookPage, cell: int) -> None:
        self.page, self.cell = page, page.page.locator(CELLS).nth(cell)
        self.box, self.keys = self.cell.locator(FORM).first, page.page.keyboard
        self.box.wait_for()

    def field(self, label: str) -> Locator:
        return self.box.get_by_label(label, exact=True)

    def button(self, words: str) -> Locator:
        return self.box.get_by_role("button", name=words)

    def says(self, text: str) -> None:
        """Wait until the form says it."""
        self._waited(self.box.get_by_text(text).first)

    def shows(self, text: str) -> None:
        """Wait until an output of the cell shows it."""
        self._waited(self.cell.locator(OUTPUT).get_by_text(text).first, LONG)

    def ended(self, how: str) -> None:
        """Wait until a run has ended so, with the form unlocked."""
        self._waited(self.box.get_by_text(how, exact=True), LONG)
        self._waited(self.button("Run").and_(self.page.page.locator(":enabled")))

    def _waited(self, what: Locator, timeout: float | None = None) -> None:
        """Wait for it; what the cell says instead is the failure's message."""
        from playwright.sync_api import Error as PlaywrightError

        try:
            what.wait_for(timeout=timeout)
        except PlaywrightError as error:
            pytest.fail(f"{error}\n{self.cell.inner_text()}")

    def walk(self, words: str) -> None:
        """Press Tab until the focus is on the field with this label or the button with these words."""
        at = "() => { const { labels, textContent } = document.activeElement; return (labels?.[0] ?? { textContent }) "
        for _ in range(50):
            self.keys.press("Tab")
            if self.page.page.evaluate(f"{at}.textContent }}").strip().startswith(words):
                return
        pytest.fail(f"no Tab leads to {words}")

    def type(self, label: str, text: str) -> None:
        """Go to a field by Tab and put text in place of what stands there."""
        self.field(label).wait_for()
        self.walk(label)
        self.keys.press("Control+a")
        self.keys.type(text)

    def press(self, words: str, key: str = "Enter") -> None:
        """Go to a button by Tab and press it."""
        self.walk(words)
        self.keys.press(key)


def write(server: Server, name: str, sources: list[str]) -> None:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = new_notebook(cells=[new_code_cell(one) for one in sources], metadata=metadata)
    nbformat.write(notebook, server.folder / name)


def opened(open_there: Open, server: Server, name: str, *, dark: bool = False, width: int = 1400) -> NotebookPage:
    """A notebook with every form, each opened by its bare magic."""
    write(server, name, [f"%{magic}" for magic in MAGICS])
    page = open_there(name, dark=dark, width=width)
    page.run_all()
    OpenForm(page, MERGE)
    return page


def test_from_nothing_to_a_merged_model(open_there: Open, server: Server) -> None:
    front = type(server).__name__.lower()
    page = opened(open_there, server, "forms.ipynb")
    load_by_mouse(OpenForm(page, LOAD))
    data_by_keyboard(OpenForm(page, DATA))
    train = OpenForm(page, TRAIN)
    wrong_by_keyboard(train, front)
    stopped_by_the_button(train, front)
    trained_again(train)
    compare_by_keyboard(OpenForm(page, COMPARE))
    merge_by_mouse(OpenForm(page, MERGE))
    assert (server.folder / "out" / "merged" / "config.json").exists()
    page.screenshot(f"forms-{front}-done-light-1400")
    page.resize(400)
    page.screenshot(f"forms-{front}-done-light-400")
    read_untrusted(page, open_there, server, front)


def load_by_mouse(form: OpenForm) -> None:
    form.button("Run").click()
    form.says("Nothing ran")
    form.field("bits").select_option("32")
    form.says("--bits 32")
    form.field("model").fill("demo")
    form.button("Run").click()
    form.ended("done")
    form.shows("parameters")


def data_by_keyboard(form: OpenForm) -> None:
    form.field("data").focus()
    form.keys.type("demo-json")
    form.type("show", "99")
    form.keys.press("Enter")
    form.says("show must be at least 0 and at most 50")
    form.keys.press("Control+a")
    form.keys.type("1")
    form.press("Run")
    form.ended("done")


def wrong_by_keyboard(form: OpenForm, front: str) -> None:
    """A bad value is marked at its field, and nothing runs however soon Run is pressed."""
    form.field("data").focus()
    form.keys.type("demo-json")
    form.keys.press("Enter")
    form.says("rows to train on")
    form.type("rank", "0")
    form.press("Batch and length", "Space")
    form.says("rank must be at least 1")
    form.type("max-steps", "many")
    form.press("Run")
    form.says("Nothing ran: ")
    form.says("max-steps must be a whole number")
    form.page.screenshot(f"forms-{front}-wrong-light-1400")
    form.field("rank").fill("4")
    form.keys.press("Enter")
    form.says("--rank 4")
    form.field("max-steps").fill("100000")


def stopped_by_the_button(form: OpenForm, front: str) -> None:
    """While it runs the form is locked; the front end's stop button ends the run, whose adapter stays."""
    form.button("Run").click()
    form.says("To stop it, interrupt the kernel")
    form.shows("step 3")
    assert form.field("data").is_disabled() and form.button("Running").is_disabled()
    form.page.screenshot(f"forms-{front}-running-light-1400")
    form.page.stop()
    form.ended("stopped")
    form.shows("adapter as of that step is kept")
    assert form.field("data").is_enabled()


def trained_again(form: OpenForm) -> None:
    form.field("max-steps").fill("4")
    form.button("Run").click()
    form.shows("--max-steps 100000 · stopped")
    form.ended("done")
    form.shows("Next: %lora_compare")


def compare_by_keyboard(form: OpenForm) -> None:
    form.field("prompts").focus()
    form.type("rows", "2")
    form.press("Answers", "Space")
    form.type("max-new-tokens", "8")
    form.press("Run")
    form.ended("done")


def merge_by_mouse(form: OpenForm) -> None:
    form.field("name").fill("default")
    form.keys.press("Enter")
    form.says("%lora_merge default")
    form.field("out").fill("out/merged")
    form.button("Run").click()
    form.ended("done")
    form.shows("largest logit difference")


def read_untrusted(page: NotebookPage, open_there: Open, server: Server, front: str) -> None:
    """Somebody else's copy, in which nothing runs, tells what ran and what came of it."""
    saved = page.save()
    assert "widgets" not in saved.metadata
    saved.metadata["copied"] = True
    nbformat.write(saved, server.folder / "copy.ipynb")
    assert not server.is_trusted("copy.ipynb")
    for theme in server.themes:
        copy = open_there("copy.ipynb", dark=theme == "dark", width=700)
        copy.screenshot(f"forms-{front}-untrusted-{theme}-700")
        text = copy.outputs_text()
        for ran in (
            "%lora_load demo --bits 32",
            "%lora_data demo-json --show 1",
            "--rank 4 --max-steps 4",
            "%lora_compare --rows 2 --max-new-tokens 8",
            "default out/merged",
        ):
            assert ran in text
        assert "Next: %lora_compare" in text and "largest logit difference" in text and "needs its kernel" in text
        assert copy.page.locator(CELLS).nth(TRAIN).locator(f"{OUTPUT} img").is_visible()
        for cell in range(LOAD, MERGE + 1):
            for output in copy.html(cell):
                assert output.outside() == [] and output.faint() == []


def test_every_form_is_whole_and_readable(open_there: Open, server: Server) -> None:
    for theme in server.themes:
        page = opened(open_there, server, f"looks-{theme}.ipynb", dark=theme == "dark")
        for cell in range(LOAD, MERGE + 1):
            box = OpenForm(page, cell).box
            for number, topic in enumerate(box.locator(".widget-toggle-button").all(), start=1):
                topic.click()
                box.locator(".widget-gridbox:visible").nth(number).wait_for()
        train = OpenForm(page, TRAIN)
        train.field("rank").fill("none")
        train.keys.press("Enter")
        train.says("rank must be a whole number")
        for width in (1400, 400):
            page.resize(width)
            page.screenshot(f"forms-{type(server).__name__.lower()}-all-{theme}-{width}")
            for cell in range(LOAD, MERGE + 1):
                assert_readable(OpenForm(page, cell).box)


def assert_readable(form: Locator) -> None:
    """Nothing is faint, cut off, empty or without a label."""
    assert form.evaluate("(form) => looks.faint(form, 4.5)") == []
    assert form.evaluate("(form) => looks.outside(form)") == []
    boxes = "(form) => [form, ...form.querySelectorAll('.widget-box, .widget-gridbox')]"
    assert (
        form.evaluate(f"{boxes}.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.innerText)")
        == []
    )
    notes = form.locator(".widget-vbox .widget-html-content").all_text_contents()
    assert len(notes) > 3 and all(note.strip() for note in notes)
    bare = "(all) => all.filter((one) => one.offsetParent && !one.labels?.length).map((one) => one.outerHTML)"
    assert form.locator("input, select").evaluate_all(bare) == []
