"""In a real kernel: one output a run, kept in the saved notebook, and no widget state."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CELL = """
from lora_magic.display.live import picture
from lora_magic.display.progress import Progress
from lora_magic.display.shown import mark_shown
from lora_magic.events import *
from lora_magic.results import TrainResult
from pathlib import Path
with Progress("loading demo") as progress:
    for name in ("download", "imports", "weights"):
        with progress.phase(name):
            for part in range(50):
                progress.update(part / 50)
listen = picture()
listen(Started("support", "demo", (("rank", "8"),), 400, 1.0, 80, 20, 1000, 4000))
for step in range(1, 301):
    listen(Stepped(step, 2.0 - step / 300, 1e-4, 0.5, 900.0, 1.2, step / 100, step / 400))
    if step % 100 == 0:
        listen(Evaluated(step, 2.1 - step / 300, step / 100))
listen(Finished(300, 3.0, "interrupted", "the adapter is kept; --resume goes on"))
result = TrainResult("support", "demo", ((1, 2.0), (300, 1.0)), ((0, 2.2), (300, 1.1)), Path("runs/support"),
                     Path("runs"), 3.0, 1000, 4000, "interrupted", 400)
mark_shown(result)
result
"""


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(CELL), nbformat.v4.new_code_cell("result")]
    made = nbformat.v4.new_notebook(cells=cells)
    root = Path(__file__).parents[2]
    NotebookClient(made, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(root)}}).execute()
    return made


def test_a_run_leaves_one_output_with_the_frozen_picture(notebook: nbformat.NotebookNode) -> None:
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs] == ["display_data", "display_data", "execute_result"]
    loading, run, result = (output.data["text/html"] for output in outputs)
    assert "loading demo · download" in loading
    assert "interrupted · 300 of 400 steps" in run
    assert "data:image/png;base64," in run
    assert "the adapter is kept; --resume goes on" in run
    assert "<img" not in result
    assert "2.200 → 1.100" in result


def test_the_same_result_is_whole_in_the_next_cell(notebook: nbformat.NotebookNode) -> None:
    (output,) = notebook.cells[1].outputs
    assert {"text/html", "text/plain", "image/png"} <= set(output.data)
    assert "<img" in output.data["text/html"]


def test_no_widget_state_is_saved(notebook: nbformat.NotebookNode) -> None:
    assert "widgets" not in notebook.metadata
