"""The comparison's story as somebody else opens it: executed, untrusted, wide and narrow, light and dark."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest

from tests.browser.conftest import NOTEBOOKS, Open
from tests.browser.lab import Lab
from tests.browser.pages import CELLS, HTML
from tests.browser.test_quickstart import assert_readable, rendered
from tests.colab.notebooks import script

pytestmark = pytest.mark.slow
NAME = "compare.ipynb"
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
    assert "0 of 12 votes" in by_id["compare-blind"] and "cannot tell" in by_id["compare-general"]
    assert not lab.is_trusted(NAME)
