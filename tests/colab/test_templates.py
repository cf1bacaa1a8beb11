"""The templates: in step with the one place that holds the address, and run to their end on the embedded model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tests.colab.notebooks import NOTEBOOKS, REPOSITORY, script

ALL = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
TEMPLATES = ("first_run_t4.ipynb", "quickstart.ipynb")
write, run_demo = script("colab/write.py"), script("notebooks/run_demo.py")


def cells(name: str, kind: str = "code") -> list[str]:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def test_make_notebooks_has_nothing_to_write() -> None:
    assert write.main(check=True) == 0


def test_another_address_is_written_into_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "address", lambda: "https://github.com/somebody/elsewhere")
    made = {path.name: text for path, text in write.written()}
    for name in ALL:
        notebook = json.loads(made[name])
        assert "".join(notebook["cells"][0]["source"]).count("/somebody/elsewhere/blob/main/notebooks/" + name) == 1
        install = "".join(notebook["cells"][1]["source"])
        assert '"https://github.com/somebody/elsewhere"' in install
        assert "lora-magic/lora_magic" not in made[name]
    assert f"/somebody/elsewhere/blob/main/notebooks/{TEMPLATES[0]}" in made["README.md"]


def test_a_notebook_without_badge_or_install_cell_is_given_both(tmp_path: Path) -> None:
    file = nbformat.v4
    made = file.new_notebook(cells=[file.new_markdown_cell("# A title\nand a story"), file.new_code_cell("1 + 1")])
    nbformat.write(made, tmp_path / "new.ipynb")
    (tmp_path / "new.ipynb").write_text(write.notebook(tmp_path / "new.ipynb"))
    assert write.notebook(tmp_path / "new.ipynb") == (tmp_path / "new.ipynb").read_text()
    written = nbformat.read(tmp_path / "new.ipynb", as_version=4)
    nbformat.validate(written)
    title, install, rest = written.cells
    assert title.source == f"# A title\n\n{write.badge('new.ipynb')}\n\nand a story"
    assert install.source == write.install_cell()
    assert rest.source == "1 + 1"


@pytest.mark.parametrize("name", (*TEMPLATES, "studio.ipynb"))
def test_a_template_is_a_short_story_that_installs_loads_and_begins(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    assert len(notebook.cells) <= 12
    assert max(len(cell.source.splitlines()) for cell in notebook.cells[2:]) <= 15
    code = cells(name)
    assert code[0].startswith("#@title Install") and code[1] == "%load_ext lora_magic"
    assert not [source for source in code[1:] if "pip" in source or "google.colab" in source]
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.parametrize("name", ALL)
def test_form_fields_are_plain_assignments_in_cells_that_python_reads(name: str) -> None:
    for source in cells(name):
        if "#@" in source:
            assert not source.startswith("%%"), "a form field cannot share a cell with a cell magic"
        for line in source.splitlines():
            assert ("#@param" not in line) or re.fullmatch(r'\w+ = (".*"|[\d.e+-]+)  #@param .+', line), line
        compile(TransformerManager().transform_cell(source), name, "exec")


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_field_of_a_template_is_used(name: str) -> None:
    source = "\n".join(cells(name)[1:])
    fields = re.findall(r"^(\w+) = .*#@param", source, re.MULTILINE)
    assert len(fields) >= 4
    assert [field for field in fields if f"${field}" not in source] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "merged"),
    [("quickstart.ipynb", {}, "out/json-merged"), ("first_run_t4.ipynb", {"model": "demo"}, "merged")],
)
def test_a_template_runs_to_its_end_on_the_embedded_model(
    name: str, fields: dict[str, str], merged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    executed = run_demo.run(NOTEBOOKS / name, tmp_path, fields)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)
    assert code[0].outputs[0].text == "Not on Colab: the lora_magic that is installed here is used.\n"
    assert (tmp_path / merged / "model.safetensors").is_file()
    assert "largest logit difference" in code[-1].outputs[-1].data["text/plain"]
    assert "base" in run_demo.comparison(executed)
    assert "widgets" not in executed.metadata


def test_filling_in_a_field_changes_that_field_alone() -> None:
    plain = run_demo.read(NOTEBOOKS / TEMPLATES[0])
    filled = run_demo.read(NOTEBOOKS / TEMPLATES[0], {"model": "demo", "rank": "4"})
    before = "\n".join(cell.source for cell in plain.cells).splitlines()
    after = "\n".join(cell.source for cell in filled.cells).splitlines()
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert [other.partition("  #")[0] for _, other in changed] == ["model = 'demo'", "rank = 4"]
    with pytest.raises(ValueError, match='no form field "modle"'):
        run_demo.read(NOTEBOOKS / TEMPLATES[0], {"modle": "demo"})
