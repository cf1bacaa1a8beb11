"""One JupyterLab, one Notebook 6.5 and one Chromium for all tests here, gone before the tests of other folders run.

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

from tests.browser import classic as notebook_65
from tests.browser.classic import Classic
from tests.browser.lab import Lab, Server, serve
from tests.browser.pages import SCREENSHOTS, NotebookPage, chromium, page_of

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


@pytest.fixture(scope="package")
def classic(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classic]:
    """Notebook 6.5, where there is a browser to show it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with notebook_65.serve(tmp_path_factory.mktemp("classic")) as running:
        yield running


@pytest.fixture(params=["lab", "classic"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each front end in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def open_notebook(browser: Browser, lab: Lab) -> Iterator[Open]:
    """Opens a notebook in JupyterLab, in a page of its own, which closes with the test."""
    with opener(browser, lab) as opened:
        yield opened


@pytest.fixture
def open_there(browser: Browser, server: Server) -> Iterator[Open]:
    """Opens a notebook on the front end `server`, in a page of its own, which closes with the test."""
    with opener(browser, server) as opened:
        yield opened


@contextlib.contextmanager
def opener(browser: Browser, server: Server) -> Iterator[Open]:
    """Opens a server's notebooks; their pages close and their kernels end at the block's end."""
    with contextlib.ExitStack() as pages:
        pages.callback(server.end_kernels)

        def opened(name: str, *, dark: bool = False, width: int = 1400) -> NotebookPage:
            server.theme(dark)
            context = pages.enter_context(browser.new_context(viewport={"width": width, "height": 1000}))
            return page_of(context.new_page(), server, name)

        yield opened
