"""A form in JupyterLab: filled by keyboard alone, run, saved, and read again by somebody who trusts nothing."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.conftest import Open
from tests.browser.lab import Lab
from tests.browser.pages import NotebookPage
from tests.models import rows

pytestmark = pytest.mark.slow
NAME = "form.ipynb"
FORM = ".jp-OutputArea-output .widget-vbox"


def write(lab: Lab, name: str, sources: list[str]) -> None:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(one) for one in sources], metadata=metadata), lab.folder / name)


def opened(open_notebook: Open, lab: Lab, model: Path, *, dark: bool, width: int) -> NotebookPage:
    """The train form of a loaded base, with rows of the notebook's own."""
    write(
        lab,
        NAME,
        [
            f"%load_ext lora_magic\nrows = {rows(60)!r}",
            f"import lora_magic\nlora_magic.load({str(model)!r})",
            "%lora_train",
        ],
    )
    page = open_notebook(NAME, dark=dark, width=width)
    page.run_all()
    page.page.locator(FORM).get_by_label("data", exact=True).wait_for()
    return page


def shown(page: NotebookPage, text: str) -> None:
    page.page.locator(FORM).get_by_text(text).first.wait_for()


def test_the_form_by_keyboard_alone(open_notebook: Open, lab: Lab, tiny_folder: Path) -> None:
    page = opened(open_notebook, lab, tiny_folder, dark=False, width=1400)
    form, keys = page.page.locator(FORM).first, page.page.keyboard
    page.screenshot("form-train-light-1400")
    form.get_by_label("data", exact=True).focus()
    keys.type("rows")
    shown(page, "--data rows")
    shown(page, "rows to train on")
    keys.press("Tab")
    keys.press("Control+a")
    keys.type("0")
    shown(page, "rank must be at least 1")
    page.screenshot("form-train-wrong-light-1400")
    keys.press("Control+a")
    keys.type("4")
    keys.press("Tab")
    keys.press("Control+a")
    keys.type("1")
    shown(page, "--rank 4 --epochs 1")
    unfold(page, "Batch and length")
    page.screenshot("form-train-unfolded-light-1400")
    press(page, "Run")
    page.page.locator(FORM).get_by_text("done", exact=True).wait_for()
    text = page.outputs_text()
    assert "%lora_train --data rows --rank 4 --epochs 1" in text and "Next: %lora_compare" in text
    assert page.page.locator(".jp-OutputArea-output img").count() == 1
    page.screenshot("form-train-done-light-1400")

    saved = page.save()
    assert "widgets" not in saved.metadata
    saved.metadata["copied"] = True
    nbformat.write(saved, lab.folder / "form-copy.ipynb")
    assert not lab.is_trusted("form-copy.ipynb")
    copy = open_notebook("form-copy.ipynb", dark=True, width=700)
    copy.screenshot("form-train-untrusted-dark-700")
    text = copy.outputs_text()
    assert "%lora_train --data rows --rank 4 --epochs 1" in text and "done" in text and "Next: %lora_compare" in text
    assert copy.page.locator(".jp-OutputArea-output img").is_visible()
    for output in copy.html(2):
        assert output.outside() == [] and output.faint() == []


def unfold(page: NotebookPage, topic: str) -> None:
    """Tab to a topic's button and press it."""
    walk(page, topic)
    page.page.keyboard.press("Space")


def press(page: NotebookPage, button: str) -> None:
    walk(page, button)
    page.page.keyboard.press("Enter")


def walk(page: NotebookPage, words: str) -> None:
    """Tab on until the element with these words has the focus."""
    for _ in range(40):
        page.page.keyboard.press("Tab")
        if page.page.evaluate("() => document.activeElement.textContent").strip().startswith(words):
            return
    pytest.fail(f"no Tab leads to {words}")


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_form_is_whole_and_readable(
    dark: bool, width: int, open_notebook: Open, lab: Lab, tiny_folder: Path
) -> None:
    page = opened(open_notebook, lab, tiny_folder, dark=dark, width=width)
    form = page.page.locator(FORM).first
    form.get_by_label("data", exact=True).fill("rows")
    form.get_by_label("rank", exact=True).fill("none")
    shown(page, "rank must be a whole number")
    for topic in ("Optimiser", "Name and start"):
        form.get_by_role("button", name=topic).click()
    page.screenshot(f"form-train-all-{'dark' if dark else 'light'}-{width}")
    faint, outside = page.page.evaluate(
        "() => { const form = document.querySelector('.jp-OutputArea-output .widget-vbox');"
        " return [looks.faint(form, 4.5), looks.outside(form)]; }"
    )
    assert faint == [] and outside == []
    unnamed = form.evaluate(
        "(form) => [...form.querySelectorAll('input, select')].filter((one) => one.offsetParent && !one.labels?.length)"
        ".map((one) => one.outerHTML)"
    )
    assert unnamed == [], json.dumps(unnamed)
