"""notebooks/compare.ipynb runs to its end, and its saved outputs tell the story."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient

SOURCE = Path(__file__).parents[2] / "notebooks" / "compare.ipynb"


def read() -> nbformat.NotebookNode:
    file: Any = nbformat
    return file.read(SOURCE, as_version=4)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[nbformat.NotebookNode, Path]:
    """The notebook as it is but for fewer steps, executed; in a thread, whose event loop is nobody else's."""
    folder, notebook = tmp_path_factory.mktemp("compare"), read()
    for cell in notebook.cells:
        cell.source = cell.source.replace("--epochs 3", "--max-steps 30")
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(client.execute).result(), folder


def shown(notebook: nbformat.NotebookNode, cell: str) -> str:
    """All text of a cell's last HTML output."""
    found = next(one for one in notebook.cells if one.id == cell)
    html = [output.data["text/html"] for output in found.outputs if "text/html" in output.get("data", {})]
    return " ".join(BeautifulSoup(html[-1], "html.parser").get_text(" ").split())


def test_the_template_holds_no_outputs() -> None:
    notebook = read()
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def test_the_notebook_tells_what_changed(executed: tuple[nbformat.NotebookNode, Path]) -> None:
    notebook, folder = executed
    two = shown(notebook, "compare-two")
    assert "60 held-out rows of demo-json" in two and "Valid JSON" in two and "show all: 52 more rows" in two
    four = shown(notebook, "compare-four")
    assert "base · base+system · base+3-shot · json" in four
    assert "base+system with the system text" in four and "base+3-shot after training rows" in four
    better = shown(notebook, "compare-where")
    assert "of 60 rows: json better than base+system by Field subject, with “what kind”" in better
    assert "numbers of all 60 rows" in better
    talked = shown(notebook, "compare-chat")
    assert "chat with base, json" in talked
    assert "2 rows of kept.jsonl" in shown(notebook, "compare-kept")
    kept = [json.loads(line)["messages"] for line in (folder / "kept.jsonl").read_text().splitlines()]
    assert [[one["role"] for one in row] for row in kept] == [["user", "assistant"], ["user", "assistant", "user"]]
    assert "0 of 12 votes" in shown(notebook, "compare-blind")
    assert "48 general prompts: base right on" in shown(notebook, "compare-general")
    said = next(one for one in notebook.cells if one.id == "compare-values").outputs[0].text
    assert "Valid JSON: 0.00 -> " in said and "rows" in said
    assert json.loads((folder / "compared.json").read_text())["adapters"][-1] == "json"
    assert len(json.loads((folder / "llm-comparator.json").read_text())["examples"]) == 60


def test_the_saved_file_is_small_and_without_widgets(executed: tuple[nbformat.NotebookNode, Path]) -> None:
    notebook, _ = executed
    file: Any = nbformat
    assert len(file.writes(notebook)) < 1_500_000
    assert "widgets" not in notebook.metadata
