"""One JupyterLab and one Chromium for all tests here; both are gone before the tests of other folders run.

They must be: while Playwright runs, its event loop counts as this thread's, and nbclient wants one of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.browser.lab import Lab, serve
from tests.browser.pages import SCREENSHOTS, NotebookPage, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
Open = Callable[..., NotebookPage]


@pytest.fixture(scope="package")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The quickstart, executed as `make demo` does it; in a thread, whose event loop is nobody else's."""
    spec = importlib.util.spec_from_file_location("run_demo", NOTEBOOKS / "run_demo.py")
    assert spec and spec.loader
    run_demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run_demo)
    folder = tmp_path_factory.mktemp("quickstart")
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run_demo.run, NOTEBOOKS / "quickstart.ipynb", folder).result()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, where there is a browser to show it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with serve(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def open_notebook(browser: Browser, lab: Lab) -> Iterator[Open]:
    """Opens a notebook of the served folder in a page of its own, which closes with the test."""
    with contextlib.ExitStack() as pages:

        def opened(name: str, *, dark: bool = False, width: int = 1400) -> NotebookPage:
            lab.theme(dark)
            context = pages.enter_context(browser.new_context(viewport={"width": width, "height": 1000}))
            return NotebookPage(context.new_page(), lab, name)

        yield opened
