"""Chat and blind votes on both front ends: typed and clicked, reloaded, and read where nothing runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.browser.conftest import Open
from tests.browser.lab import Server
from tests.browser.pages import CELLS, OUTPUT, PATIENCE, NotebookPage
from tests.models import rows

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.slow

PROMPTS = [f"What is {number} and {number}?" for number in range(10)]
VOTE = "%%lora_compare --adapters base,mine --blind --scores style --max-new-tokens 12 --votes kept\n" + "\n".join(
    PROMPTS
)
ROWS = rows(40)
FRONT_ENDS = pytest.mark.parametrize(
    ("server", "dark"), [("lab", True), ("classic", False)], ids=["lab-dark", "classic-light"], indirect=["server"]
)


def write(server: Server, name: str, *cells: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, server.folder / name)


def prepared(folder: Path) -> str:
    """A cell that makes a base with an adapter."""
    return (
        f'%load_ext lora_magic\nrows = {ROWS!r}\n%lora_load "{folder}" --bits 32\n'
        "%lora_train mine --data rows --max-steps 8 --lr 2e-2"
    )


def cell(page: NotebookPage, number: int) -> Locator:
    return page.page.locator(CELLS).nth(number)


def votes(server: Server) -> list[str]:
    path = server.folder / "kept" / "votes.jsonl"
    return (
        [json.loads(line).get("verdict", "taken back") for line in path.read_text().splitlines()]
        if path.exists()
        else []
    )


def no_scrolling_sideways(page: NotebookPage, number: int) -> None:
    """Nothing in a cell's outputs reaches past the page."""
    wider = (
        cell(page, number)
        .locator(OUTPUT)
        .evaluate_all(
            "(outputs) => outputs.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.innerText)"
        )
    )
    assert wider == []


@FRONT_ENDS
def test_ten_votes_and_a_reload(dark: bool, tiny_folder: Path, open_there: Open, server: Server) -> None:
    name = f"votes-{'dark' if dark else 'light'}.ipynb"
    for old in (server.folder / "kept").glob("*"):
        old.unlink()
    write(server, name, prepared(tiny_folder), VOTE)
    page = open_there(name, dark=dark, width=1400)
    page.run_all()
    form = cell(page, 1)
    state = form.get_by_text("row 1 of 10", exact=False)
    state.wait_for(timeout=PATIENCE)
    look = "dark" if dark else "light"
    page.screenshot(f"votes-{look}-1400-open")
    page.resize(400)
    page.screenshot(f"votes-{look}-400-open")
    no_scrolling_sideways(page, 1)
    page.resize(1400)
    form.get_by_role("button", name="A is better").click()
    form.get_by_text("row 2 of 10").wait_for()
    form.get_by_role("button", name="Tie").click()
    form.get_by_text("row 3 of 10").wait_for()
    keys = form.get_by_placeholder("or type here")
    keys.click()
    page.page.keyboard.type("bxu")
    form.get_by_text("row 4 of 10 · 3 of 10 votes").wait_for()
    assert len(page.page.locator(CELLS).all()) == 2, "letters are not the notebook's shortcuts"
    assert votes(server)[:3] == ["a", "tie", "b"]
    page.page.keyboard.type("abt")
    form.get_by_text("row 7 of 10 · 6 of 10 votes").wait_for()
    form.get_by_text("6 of 10 votes").first.wait_for()
    assert "base preferred" not in form.inner_text() and "mine preferred" not in form.inner_text()
    page.save()
    page.page.reload()
    page._wait_for_outputs()
    assert "6 of 10 votes" in cell(page, 1).inner_text(), "the saved notebook shows them"
    form = cell(page, 1)
    form.get_by_text("row 7 of 10").wait_for()
    form.get_by_role("button", name="B is better").click()
    form.get_by_text("row 8 of 10 · 7 of 10 votes").wait_for()
    page.run_all()
    form.get_by_text("row 8 of 10 · 7 of 10 votes").wait_for()
    form.get_by_placeholder("or type here").click()
    page.page.keyboard.type("abx")
    form.get_by_text("preferred").first.wait_for()
    assert form.get_by_placeholder("or type here").count() == 0, "the reveal takes the form's place"
    assert "10 of 10 votes" in form.inner_text()
    page.screenshot(f"votes-{look}-1400-revealed")
    page.resize(400)
    page.screenshot(f"votes-{look}-400-revealed")
    no_scrolling_sideways(page, 1)
    saved = page.save()
    assert "widgets" not in saved.metadata
    shown = json.dumps(saved.cells[1].outputs)
    assert "widget-view" not in shown and "preferred" in shown


@FRONT_ENDS
def test_a_chat(dark: bool, tiny_folder: Path, open_there: Open, server: Server) -> None:
    name = f"chat-{'dark' if dark else 'light'}.ipynb"
    (server.folder / "kept.jsonl").unlink(missing_ok=True)
    write(server, name, prepared(tiny_folder), "%lora_chat --max-new-tokens 24 --temperature 0.7", "")
    page = open_there(name, dark=dark, width=1400)
    page.run_all()
    form = cell(page, 1)
    box = form.get_by_placeholder("Type, then press Enter")
    box.click()
    page.page.keyboard.type("What is two and two?")
    page.page.keyboard.press("Enter")
    form.get_by_text("turn 1").wait_for()
    form.get_by_role("button", name="Keep the last turn").and_(page.page.locator(":enabled")).wait_for()
    assert "What is two and two?" in form.inner_text()
    box.click()
    page.page.keyboard.type("dd, and what is three and three?")
    form.get_by_role("button", name="Send").click()
    form.get_by_text("turn 2").wait_for()
    form.get_by_role("button", name="Keep the last turn").and_(page.page.locator(":enabled")).click()
    form.get_by_text("Kept: %lora_compare --prompts kept.jsonl").wait_for()
    assert len(page.page.locator(CELLS).all()) == 3, "letters are not the notebook's shortcuts"
    kept = json.loads((server.folder / "kept.jsonl").read_text())["messages"]
    assert [one["role"] for one in kept] == ["user", "assistant", "user"]
    look = "dark" if dark else "light"
    page.screenshot(f"chat-{look}-1400")
    page.resize(400)
    page.screenshot(f"chat-{look}-400")
    no_scrolling_sideways(page, 1)
    saved = page.save()
    shown = json.dumps(saved.cells[1].outputs)
    assert "What is two and two?" in shown and "turn 2" in shown and "widgets" not in saved.metadata
