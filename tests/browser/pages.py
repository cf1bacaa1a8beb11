"""A notebook in Chromium, in JupyterLab or in Notebook 6.5, as its reader meets it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import nbformat
import pytest

from tests.browser.classic import Classic
from tests.browser.lab import TOKEN, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"
# Chromium is cut off from every host but this one, and its sandbox does not run as root.
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
RESOLVE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
PATIENCE = 60_000
LOOKS = Path(__file__).with_name("looks.js")
SCREENSHOTS = Path(__file__).parents[2] / "out" / "screenshots"
# Each names its elements in both front ends.
CELLS = ":is(.jp-Notebook .jp-Cell, #notebook-container > .cell)"
OUTPUT = ":is(.jp-OutputArea-output, .output_subarea)"
HTML = ':is(.jp-OutputArea-output[data-mime-type="text/html"], .output_subarea.output_html)'
RENDERED = f":is({HTML} .jp-RenderedHTML, {HTML}.jp-RenderedHTML, .output_subarea.output_html)"
FORM = f"{OUTPUT} .widget-vbox"
MATH = "mjx-container, .MathJax, .MathJax_Display, .MathJax_Preview"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium with a new profile; skips the test where there is none to drive."""
    if not shutil.which(CHROMIUM):
        pytest.skip(f"no browser: {CHROMIUM} is missing (Debian's package chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="no driver: pip install playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, RESOLVE], timeout=PATIENCE)
        yield browser
        browser.close()


class NotebookPage:
    """A notebook that is open in a page of its own, in JupyterLab.

    Attributes:
        asked: every address that the page asked for.
    """

    stop_button = '[data-command="notebook:interrupt-kernel"]'
    scrolled = ".jp-WindowedPanel-outer"
    panel = ".jp-NotebookPanel"

    def __init__(self, page: Page, server: Server, name: str) -> None:
        self.page, self.server, self.name = page, server, name
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.set_default_timeout(PATIENCE)
        page.add_init_script(path=LOOKS)
        page.goto(self.address())
        self._wait_for_outputs()

    def address(self) -> str:
        """Where the page is."""
        return f"{self.server.url}doc/workspaces/{uuid4().hex}/tree/{self.name}?token={TOKEN}"

    def _wait_for_outputs(self) -> None:
        """Until every cell, HTML output and picture of the file is there and the splash screen is gone."""
        cells = json.loads((self.server.folder / self.name).read_text(encoding="utf-8"))["cells"]
        html = sum("text/html" in output.get("data", {}) for cell in cells for output in cell.get("outputs", ()))
        self.page.wait_for_function(
            "([cells, html, cell, output]) => looks.loaded() && document.querySelectorAll(cell).length === cells"
            " && document.querySelectorAll(`${cell} ${output}`).length >= html && looks.settled()",
            arg=[len(cells), html, CELLS, RENDERED],
        )

    def run_all(self) -> None:
        """Run every cell, as the Run menu does, until the last or the first that fails."""
        self.page.wait_for_function("() => looks.idle()")
        self._act("run")
        self.page.wait_for_function("() => looks.idle() && looks.settled()")

    def stop(self) -> None:
        """Press the front end's stop button, which interrupts the kernel."""
        self.page.locator(self.stop_button).first.click()

    def save(self) -> nbformat.NotebookNode:
        """Save, and read the file that was written."""
        self._act("save")
        return nbformat.read(self.server.folder / self.name, as_version=4)

    def _act(self, name: str) -> None:
        """What a menu's command does, to its end."""
        self.page.evaluate("(name) => looks.act(name)", name)
        self.page.wait_for_function("() => looks.done()")

    def html(self, cell: int) -> list[Html]:
        """The rendered HTML outputs of a cell, counted from 0 over all cells."""
        count = self.page.evaluate("(cell) => looks.outputs(cell).length", cell)
        return [Html(self.page, cell, number) for number in range(count)]

    def outputs_text(self) -> str:
        """All that outputs hold as text, folded or not."""
        return "\n".join(self.page.locator(f"{CELLS} {OUTPUT}").all_text_contents())

    def formulas(self) -> int:
        """How many pieces of outputs were typeset as mathematics."""
        return self.page.locator(f"{OUTPUT} :is({MATH})").count()

    def resize(self, width: int, height: int = 1000) -> None:
        """Give the window another size, and let the page lay itself out."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def screenshot(self, name: str) -> Path:
        """The whole notebook as a picture, however long it is."""
        width = self.page.viewport_size["width"] if self.page.viewport_size else 1400
        hidden = "(panel) => Math.ceil(panel.scrollHeight - panel.clientHeight)"
        panel = self.page.locator(self.scrolled)
        self.resize(width, 1000)
        self.resize(width, 1000 + int(panel.evaluate(hidden)))
        place = SCREENSHOTS / f"{name}.png"
        self.page.locator(self.panel).screenshot(path=place, animations="disabled")
        self.resize(width, 1000)
        return place


class ClassicPage(NotebookPage):
    """A notebook that is open in a page of its own, in Notebook 6.5."""

    stop_button = '[data-jupyter-action="jupyter-notebook:interrupt-kernel"]'
    scrolled = "#site"
    panel = "#site"

    def address(self) -> str:
        """Where the page is."""
        return f"{self.server.url}notebooks/{self.name}?token={TOKEN}"


def page_of(page: Page, server: Server, name: str) -> NotebookPage:
    """A server's notebook, opened in a page."""
    return (ClassicPage if isinstance(server, Classic) else NotebookPage)(page, server, name)


class Html:
    """One rendered HTML output."""

    def __init__(self, page: Page, cell: int, number: int) -> None:
        self.page, self.cell, self.number = page, cell, number

    def _look(self, what: str, argument: Any = None) -> Any:
        script = f"([cell, number, argument]) => looks.{what}(looks.outputs(cell)[number], argument)"
        return self.page.evaluate(script, [self.cell, self.number, argument])

    def shapes(self) -> list[Any]:
        """Elements, attributes, styles and text as they are on the page."""
        return list(self._look("shapes"))

    def written(self, html: str) -> list[Any]:
        """The same of `html` as a browser reads it with nothing taken away."""
        return list(self.page.evaluate("(html) => looks.written(html)", html))

    def unfold(self) -> None:
        """Open every folded part."""
        self._look("unfold")

    def invisible(self) -> list[str]:
        """Text that takes no room though nothing folds it."""
        return list(self._look("invisible"))

    def outside(self) -> list[str]:
        """Text that reaches past the output's edges and cannot be scrolled to."""
        return list(self._look("outside"))

    def faint(self, least: float = 4.5) -> list[Any]:
        """Text whose contrast is below WCAG's for text of this size, each with its ratio."""
        return list(self._look("faint", least))
