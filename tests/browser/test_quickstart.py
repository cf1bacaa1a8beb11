"""The saved quickstart as somebody else opens it: untrusted, in JupyterLab, on a light or a dark page."""

from __future__ import annotations

import nbformat
import pytest

from tests.browser.conftest import Open
from tests.browser.lab import Lab
from tests.browser.pages import HTML, Html, NotebookPage

pytestmark = pytest.mark.slow
NAME = "quickstart.ipynb"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


@pytest.fixture(scope="package")
def saved(lab: Lab, quickstart: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The executed quickstart in the served folder, which nobody has trusted."""
    nbformat.write(quickstart, lab.folder / NAME)
    assert not lab.is_trusted(NAME)
    return quickstart


def html_of(notebook: nbformat.NotebookNode, cell: int) -> list[str]:
    outputs = notebook.cells[cell].get("outputs", [])
    return [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]


def cell_of(notebook: nbformat.NotebookNode, beginning: str) -> int:
    """The first cell with a line that begins so."""
    return next(
        at
        for at, cell in enumerate(notebook.cells)
        if any(line.startswith(beginning) for line in cell.source.split("\n"))
    )


def rendered(page: NotebookPage, notebook: nbformat.NotebookNode) -> list[tuple[Html, str]]:
    """Each HTML output on the page with what the file holds for it."""
    pairs: list[tuple[Html, str]] = []
    for cell in range(len(notebook.cells)):
        pairs += zip(page.html(cell), html_of(notebook, cell), strict=True)
    return pairs


@pytest.mark.parametrize("width", [1400, 700])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_saved_quickstart_untrusted(
    dark: bool, width: int, saved: nbformat.NotebookNode, open_notebook: Open, lab: Lab
) -> None:
    """A reader who has run nothing sees the plot, the tables and the comparison, whole and readable."""
    page = open_notebook(NAME, dark=dark, width=width)
    assert page.page.locator("body").get_attribute("data-jp-theme-light") == ("false" if dark else "true")
    page.screenshot(f"quickstart-{'dark' if dark else 'light'}-{width}")
    shown = rendered(page, saved)
    assert len(shown) >= 8
    for output, html in shown:
        assert output.shapes() == output.written(html)
    assert_parts_are_there(page, saved)
    for output, _ in shown:
        assert_readable(output)
        output.unfold()
        assert_readable(output)
    assert not lab.is_trusted(NAME)
    assert all(address.startswith((lab.url, "data:", "blob:", "ws:")) for address in page.asked if address != BADGE)


def assert_readable(output: Html) -> None:
    assert output.invisible() == []
    assert output.outside() == []
    assert output.faint() == []


def assert_parts_are_there(page: NotebookPage, notebook: nbformat.NotebookNode) -> None:
    """The plot, the last steps, base and adapter side by side with what differs marked, and the merge's table."""
    cells = page.page.locator(".jp-Notebook .jp-Cell")
    train = cells.nth(cell_of(notebook, "%lora_train")).locator(HTML)
    plot = train.locator("img")
    assert plot.count() == 1
    assert plot.is_visible()
    assert plot.evaluate("(image) => image.naturalWidth * image.naturalHeight") > 0
    assert plot.bounding_box()["height"] > 80
    assert train.locator("table", has_text="gradient norm").locator("tbody tr").count() >= 4
    own = cells.nth(cell_of(notebook, "%%lora_compare")).locator(HTML)
    for name in ("base", "json"):
        assert own.get_by_text(name, exact=True).first.is_visible()
    compared = page.page.locator(f"{HTML} mark")
    assert compared.first.is_visible()
    merge = cells.nth(cell_of(notebook, "%lora_merge")).locator(HTML)
    assert merge.locator("table", has_text="largest logit difference").is_visible()
    assert merge.locator("table tbody tr").count() == 4


def test_the_saved_quickstart_holds_no_widget_state(quickstart: nbformat.NotebookNode) -> None:
    """GitHub shows the notebook; it fails on one that holds the state of widgets."""
    assert "widgets" not in quickstart.metadata
