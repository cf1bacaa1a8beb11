"""`make demo`: runs quickstart.ipynb in a real kernel and leaves it executed, as a notebook and as HTML, in out/."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

HERE = Path(__file__).parent
OUT = HERE.parent / "out" / "demo"


def run(source: Path, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook with `folder` as its working directory; the first failing cell raises."""
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
    )
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                print(f"{cell.source.splitlines()[0]}", flush=True)
            client.execute_cell(cell, number)
    return notebook


def comparison(notebook: nbformat.NotebookNode) -> str:
    """The text of the first comparison in an executed notebook."""
    cell = next(c for c in notebook.cells if c.cell_type == "code" and c.source.startswith("%lora_compare"))
    shown = [output["data"]["text/plain"] for output in cell.outputs if output.output_type == "execute_result"]
    return str(shown[-1])


def main() -> int:
    """Run, print the before/after table, say where the copies are."""
    began = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    notebook = run(HERE / "quickstart.ipynb", OUT)
    nbformat.write(notebook, OUT / "quickstart.ipynb")
    page, _ = HTMLExporter().from_notebook_node(notebook)
    (OUT / "quickstart.html").write_text(page, encoding="utf-8")
    print(comparison(notebook))
    print(f"\n{OUT / 'quickstart.ipynb'}\n{OUT / 'quickstart.html'}\nran in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
