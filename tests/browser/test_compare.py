"""The comparison's story as somebody else opens it: executed, untrusted, wide and narrow, light and dark."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest

from tests.browser.conftest import NOTEBOOKS, Open
from tests.browser.lab import Lab, Server
from tests.browser.pages import CELLS, HTML, OUTPUT
from tests.browser.test_quickstart import assert_readable, rendered
from tests.colab.notebooks import script

pytestmark = pytest.mark.slow
NAME = "compare.ipynb"
BROWSED = """
from lora_magic.evaluation.measures import Scored, measure
from lora_magic.results import Comparison, ComparisonRow
right = "It is the fox that lives in the old red barn at the edge of the village."
names = ("base", "base+system", "support")
parts = [right[:12], right[:30], right[:50], right]
answers = [{name: parts[number * place % 4] for place, name in enumerate(names, 1)} for number in range(32)]
rows = tuple(ComparisonRow(f"Who lives in barn {number}?", right, one) for number, one in enumerate(answers))
scored = [Scored(row.prompt, row.reference, row.outputs) for row in rows]
numbers = measure(scored, names, baseline="base", wanted=["exact-match", "rouge-l", "length"])
compared = Comparison("demo", names, rows, "32 rows", measures=numbers)
compared.browse()
"""
SHARE = "(panes) => panes.map((pane) => pane.offsetWidth / pane.parentElement.clientWidth)"


@pytest.fixture(scope="module")
def saved(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook, executed and in the served folder; in a thread, whose event loop is nobody else's."""
    run_demo, folder = script("notebooks/run_demo.py"), tmp_path_factory.mktemp("compare")
    with ThreadPoolExecutor(1) as thread:
        made: nbformat.NotebookNode = thread.submit(run_demo.run, NOTEBOOKS / NAME, folder).result()
    nbformat.write(made, lab.folder / NAME)
    return made


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_saved_story_is_whole_and_readable(
    dark: bool, width: int, saved: nbformat.NotebookNode, open_notebook: Open, lab: Lab
) -> None:
    page = open_notebook(NAME, dark=dark, width=1400)
    page.resize(width)
    page.screenshot(f"compare-{'dark' if dark else 'light'}-{width}")
    for output, html in rendered(page, saved):
        assert output.shapes() == output.written(html)
        assert_readable(output)
        output.unfold()
        assert_readable(output)
    if width == 400:
        shares = page.page.locator(f"{HTML} div[style*='flex:']").evaluate_all(SHARE)
        assert shares and min(shares) > 0.9, "where no two answers fit beside each other each has the whole line"
    text = page.page.locator(CELLS).all_text_contents()
    by_id = {cell.id: said for cell, said in zip(saved.cells, text, strict=True)}
    assert "turn 2 · kept" in by_id["compare-chat"] and "2 rows of kept.jsonl" in by_id["compare-kept"]
    assert "Field subject: base+system 0%, json 100%" in by_id["compare-where"]
    assert "0 of 12 votes" in by_id["compare-blind"] and "cannot tell" in by_id["compare-general"]
    assert not lab.is_trusted(NAME)


@pytest.mark.parametrize(
    ("server", "dark"), [("lab", True), ("classic", False)], ids=["lab-dark", "classic-light"], indirect=["server"]
)
def test_rows_are_sorted_and_filtered_from_the_keyboard(dark: bool, open_there: Open, server: Server) -> None:
    name, look = "browse.ipynb", "dark" if dark else "light"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BROWSED.strip())])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, server.folder / name)
    page = open_there(name, dark=dark, width=1400)
    page.run_all()
    cell = page.page.locator(CELLS).first
    rows = cell.get_by_label("Rows", exact=True)
    rows.focus()
    for key in ("Space", "ArrowDown", "ArrowDown", "Enter"):
        page.page.keyboard.press(key)
    cell.get_by_text("rows: support worse than base by Exact match", exact=False).first.wait_for()
    cell.get_by_label("Measure", exact=True).select_option("ROUGE-L")
    cell.get_by_label("Order", exact=True).select_option("largest change")
    cell.get_by_text("by ROUGE-L, the largest change first", exact=False).first.wait_for()
    cell.get_by_label("Containing", exact=True).focus()
    page.page.keyboard.type("barn 2")
    page.page.keyboard.press("Tab")
    said = cell.get_by_text("with “barn 2”, the largest change first", exact=False)
    said.first.wait_for()
    for width in (1400, 400):
        page.resize(width)
        page.screenshot(f"browse-{look}-{width}")
        wider = "(outputs) => outputs.filter((one) => one.scrollWidth > one.clientWidth + 1).length"
        assert cell.locator(OUTPUT).evaluate_all(wider) == 0
        [output] = page.html(0)[-1:]
        assert_readable(output)
    saved = page.save()
    outputs = [one["data"] for one in saved.cells[0].outputs if "data" in one]
    whole = next(one["text/html"] for one in outputs if "prompt 1 of 32" in one.get("text/html", ""))
    assert all(f"prompt {number} of 32" in whole for number in range(1, 33)), "the saved notebook has every row"
    page.resize(1400)
    cell.get_by_role("button", name="All rows").press("Enter")
    said.first.wait_for(state="detached")
    assert cell.get_by_label("Containing", exact=True).input_value() == ""
