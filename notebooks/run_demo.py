"""Runs a notebook of this folder in a real kernel and leaves it executed, as a notebook and as HTML, in `out/`.

    python notebooks/run_demo.py [NOTEBOOK] [--set FIELD=VALUE ...]

`make demo` runs quickstart.ipynb. `--set` fills in a form field, a line `FIELD = …  #@param`, as its reader would: on
a machine without a GPU `python notebooks/run_demo.py first_run_t4.ipynb --set model=demo` runs that notebook too.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

HERE = Path(__file__).parent
OUT = HERE.parent / "out"


def read(source: Path, fields: Mapping[str, str] | None = None) -> nbformat.NotebookNode:
    """A notebook with some of its form fields filled in.

    Args:
        fields: values by field, as typed; text where the field holds text.

    Raises:
        ValueError: the notebook has no such field.
    """
    notebook = nbformat.read(source, as_version=4)
    for field, value in (fields or {}).items():
        line = re.compile(rf"^{re.escape(field)} = (.*?)(?=  #@param)", re.MULTILINE)
        cell = next((c for c in notebook.cells if c.cell_type == "code" and line.search(c.source)), None)
        if cell is None:
            raise ValueError(f'{source.name} has no form field "{field}"')
        found = line.search(cell.source)
        filled = f"{field} = {repr(value) if found[1].startswith(chr(34)) else value}"
        cell.source = cell.source[: found.start()] + filled + cell.source[found.end() :]
    return notebook


def run(source: Path, folder: Path, fields: Mapping[str, str] | None = None) -> nbformat.NotebookNode:
    """Execute a notebook with `folder` as its working directory; the first failing cell raises."""
    notebook = read(source, fields)
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
                print(_told(cell.source), flush=True)
            client.execute_cell(cell, number)
    return notebook


def _told(source: str) -> str:
    """The line of a cell that says most: its magic, else its first."""
    lines = source.splitlines()
    return next((line for line in lines if line.startswith("%")), lines[0])


def comparison(notebook: nbformat.NotebookNode) -> str:
    """The text of the first comparison in an executed notebook."""
    cell = next(
        c for c in notebook.cells if c.cell_type == "code" and _told(c.source).lstrip("%").startswith("lora_compare")
    )
    shown = [output["data"]["text/plain"] for output in cell.outputs if output.output_type == "execute_result"]
    return str(shown[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the before/after table, say where the copies are."""
    parser = argparse.ArgumentParser(description="Run a notebook of this folder, as its reader would.")
    parser.add_argument("notebook", nargs="?", default="quickstart.ipynb")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="fields")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    source = HERE / given.notebook
    folder = OUT / ("demo" if source.stem == "quickstart" else source.stem)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notebook = run(source, folder, dict(field.partition("=")[::2] for field in given.fields))
    nbformat.write(notebook, folder / source.name)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    (folder / f"{source.stem}.html").write_text(page, encoding="utf-8")
    print(comparison(notebook))
    print(f"\n{folder / source.name}\n{folder / source.stem}.html\nran in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
