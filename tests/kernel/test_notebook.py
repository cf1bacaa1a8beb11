"""A notebook run by nbclient, as its file holds it afterwards: outputs, an error that ends Run All, no widget state."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.kernel.stack import VERSIONS, assert_in_force
from tests.models import rows

FAILS = "%lora_merge nobody elsewhere"
WIDGET = "application/vnd.jupyter.widget-view+json"
# Larger than the constants that bitsandbytes keeps from its import on, of at most 256 numbers.
TENSORS = """
import gc, torch
gc.collect()
print("tensors:", sum(kept.numel() > 256 for kept in gc.get_objects() if issubclass(type(kept), torch.Tensor)))
"""


@dataclass(frozen=True)
class Executed:
    """A notebook as saved and read again, and the error that ended its run."""

    notebook: nbformat.NotebookNode
    failed: CellExecutionError | None

    def cell(self, beginning: str) -> Any:
        """The one cell that begins so."""
        (found,) = (cell for cell in self.notebook.cells if cell.source.startswith(beginning))
        return found


def execute(folder: Path, sources: list[str]) -> Executed:
    """Run all cells in a kernel that starts in `folder`, save whatever came of it, and read that."""
    file: Any = nbformat
    cells = [file.v4.new_code_cell(source) for source in sources]
    notebook, failed = file.v4.new_notebook(cells=cells), None
    place = {"metadata": {"path": str(folder)}}
    try:
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    except CellExecutionError as error:
        failed = error
    file.write(notebook, folder / "saved.ipynb")
    saved = file.read(folder / "saved.ipynb", as_version=4)
    file.validate(saved)
    return Executed(saved, failed)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Executed:
    start = [VERSIONS, f"import lora_magic\nrows = {rows()!r}", "%load_ext lora_magic"]
    used = [f'%lora_load "{tiny_folder}"', "%lora_train short --data rows --max-steps 3"]
    used += ["%lora_compare --rows 2 --max-new-tokens 4", "%lora_merge short merged"]
    again = ["%reload_ext lora_magic", f'lora_magic.load("{tiny_folder}")', "lora_magic.train(data=rows, max_steps=1)"]
    return execute(
        tmp_path_factory.mktemp("notebook"),
        [*start, *used, *again, "%unload_ext lora_magic", TENSORS, "%load_ext lora_magic", FAILS, "print('after')"],
    )


def test_the_notebook_s_kernel_is_of_the_stack_under_test(executed: Executed) -> None:
    assert_in_force(json.loads(executed.notebook.cells[0].outputs[0].text))


def test_the_file_holds_each_magic_s_outputs_in_their_last_state(executed: Executed) -> None:
    for beginning in ("%lora_load", "%lora_train", "%lora_compare", "%lora_merge short"):
        outputs = executed.cell(beginning).outputs
        assert outputs[-1].output_type == "execute_result"
        assert {output.name for output in outputs if output.output_type == "stream"} <= {"stdout"}
        assert all({"text/plain", "text/html"} <= set(output.data) for output in outputs if "data" in output)
    run = executed.cell("%lora_train").outputs[-2].data["text/html"]
    assert "3 steps" in BeautifulSoup(run, "html.parser").get_text(" ")
    assert "data:image/png;base64," in run
    compared = executed.cell("%lora_compare").outputs[-1].data["text/html"]
    assert {"base", "short"} <= set(BeautifulSoup(compared, "html.parser").get_text("\n").split("\n"))


def test_a_failing_magic_saves_its_error_and_ends_the_run(executed: Executed) -> None:
    output = executed.cell(FAILS).outputs[-1]
    assert (output.output_type, output.ename, len(output.traceback)) == ("error", "LoraError", 2)
    assert '"nobody"' in output.evalue
    assert executed.failed is not None
    assert executed.failed.ename == "LoraError"
    after = executed.cell("print(")
    assert (after.execution_count, after.outputs) == (None, [])


def test_no_widget_is_saved(executed: Executed) -> None:
    assert "widgets" not in executed.notebook.metadata
    assert not [o for cell in executed.notebook.cells for o in cell.outputs if WIDGET in o.get("data", {})]


def test_a_widget_would_have_been_saved(tmp_path: Path) -> None:
    """The test above looks in the right places."""
    shown = execute(tmp_path, ["import ipywidgets\nipywidgets.IntSlider()"])
    assert "widgets" in shown.notebook.metadata
    assert WIDGET in shown.notebook.cells[0].outputs[-1].data


def test_reloading_and_unloading_keep_no_model(executed: Executed) -> None:
    assert [output.text for output in executed.cell(TENSORS).outputs] == ["tensors: 0\n"]
