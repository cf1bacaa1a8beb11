"""Text from data, prompts, models and names that would like to be more than text."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lora_magic.display.safe import plain
from tests.browser.conftest import Open
from tests.browser.lab import Lab
from tests.browser.pages import MATH, NotebookPage

pytestmark = pytest.mark.slow

PIECES = (
    "<script>window.__pwned=1</script>",
    '<img src=x onerror="window.__pwned=1">',
    '<a href="javascript:window.__pwned=1">press me</a>',
    "</pre></code></div><svg onload=window.__pwned=1>",
    "$\\LaTeX$ and \\(x^2\\) and $$y$$",
    "**bold** [link](javascript:window.__pwned=1) `code`",
    "\x1b[31mred\x1b[0m \x1b]8;;javascript:window.__pwned=1\x07link\x1b]8;;\x07",
    "\u202eleft-to-right?\u202c \u2066isolated\u2069",
)
ALL = " ".join(PIECES)
SETUP = f"""\
import lora_magic
pieces = {PIECES!r}
hostile = " ".join(pieces)
numbered = [(number, piece) for number in range(3) for piece in pieces]
rows = [{{"question": f"{{number}} {{piece}}", "answer": f"{{piece}} {{number}}"}} for number, piece in numbered]
%load_ext lora_magic
"""
BY_HAND = """\
from pathlib import Path
from IPython.display import display
from lora_magic.display.live import picture
from lora_magic.events import Evaluated, Finished, Recovered, Started, Stepped
from lora_magic.results import Agreement, Comparison, ComparisonRow, LoadResult, MergeResult, Status, TrainResult

answers = {"base": f"the same words {hostile}", hostile: f"other words {hostile}"}
compared = [ComparisonRow(hostile, hostile, answers, (hostile,)), ComparisonRow(hostile, None, {hostile: hostile * 9})]
pairs = ((hostile, hostile),)
display(Comparison(hostile, (hostile,), tuple(compared * 5), hostile, pairs, {hostile: 1.0}))
base = LoadResult(hostile, hostile, hostile, hostile, 4, hostile, pairs, 9, 9, 9, hostile, ((hostile, 1.0),))
display(base, Status(base, hostile, ((hostile, hostile, hostile),), pairs))
agreed = Agreement(0.5, 0.1, 0.1)
display(MergeResult(Path(hostile), hostile, hostile, hostile, 9, 1, agreed, agreed, None, None, 1, 9, 1.0, (hostile,)))
step = Stepped(1, 2.0, 1e-4, 0.5, 900.0, 1.2, 0.1, 0.5)
listen = picture()
for event in (Started(hostile, hostile, pairs, 2, 1.0, 8, 2, 10, 40), Evaluated(0, 2.1, 0.0), step,
              Recovered(1, hostile), Finished(1, 0.2, "interrupted", hostile)):
    listen(event)
TrainResult(hostile, hostile, ((1, 2.0),), ((0, 2.1),), Path(hostile), Path(hostile), 0.2, 10, 40, "interrupted", 2,
            pairs, (step,), (), {}, (hostile,))
"""
# What our views must not let through, shown by IPython directly.
TRAP = "from IPython.display import HTML\nHTML('<img src=x onerror=\"window.__pwned=1\"> $x^2$')"


def cells(model: Path) -> list[str]:
    """What the hostile notebook runs; its last cell fails with hostile text in its message."""
    return [
        SETUP,
        f"lora_magic.load({str(model)!r})",
        "%lora_data rows --max-length 256",
        "%lora_train hostile --data rows --max-steps 4 --eval-split 0.2 --max-length 256",
        "%lora_compare --max-new-tokens 4",
        "\n".join(["%%lora_compare --max-new-tokens 4", *PIECES]),
        BY_HAND,
        "%lora_runs",
        "lora_magic.train('again', data=rows, target=hostile)",
    ]


@pytest.fixture
def hostile_model(tiny_folder: Path, tmp_path: Path) -> Path:
    """A model in a folder whose name is hostile too."""
    place = tmp_path / "tiny <img src=x onerror='window.__pwned=1'> $\\LaTeX$"
    place.symlink_to(tiny_folder, target_is_directory=True)
    return place


def write(lab: Lab, name: str, sources: list[str]) -> None:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    written = new_notebook(cells=[new_code_cell(source) for source in sources], metadata=metadata)
    nbformat.write(written, lab.folder / name)


def assert_is_text(page: NotebookPage) -> None:
    """Nothing ran, nothing was typeset, and each piece stands there as it was written."""
    assert page.page.evaluate("() => typeof window.__pwned") == "undefined"
    assert page.formulas() == 0
    shown = page.outputs_text()
    for piece in PIECES:
        assert shown.count(plain(piece)) >= 20, piece


def assert_readable(page: NotebookPage, count: int) -> None:
    for output in (output for cell in range(count) for output in page.html(cell)):
        output.unfold()
        assert output.invisible() == []
        assert output.outside() == []
        assert output.faint() == []


def test_hostile_text_is_shown_as_text(open_notebook: Open, lab: Lab, hostile_model: Path) -> None:
    """Live after running the cells, and in an untrusted copy, a reader sees the text and nothing happens."""
    sources = cells(hostile_model)
    write(lab, "hostile.ipynb", sources)
    live = open_notebook("hostile.ipynb")
    assert live.outputs_text() == ""
    live.run_all()
    assert "No layer is called" in live.outputs_text()
    live.screenshot("hostile-live-light-1400")
    assert_is_text(live)
    assert_readable(live, len(sources))
    saved = live.save()
    assert lab.is_trusted("hostile.ipynb")
    assert "widgets" not in saved.metadata

    saved.metadata["copied"] = True
    nbformat.write(saved, lab.folder / "copy.ipynb")
    assert not lab.is_trusted("copy.ipynb")
    copy = open_notebook("copy.ipynb", dark=True, width=700)
    copy.screenshot("hostile-untrusted-dark-700")
    assert_is_text(copy)
    assert_readable(copy, len(sources))
    assert copy.outputs_text() == live.outputs_text()


def test_the_traps_would_catch_what_slips_through(open_notebook: Open, lab: Lab) -> None:
    """HTML that is shown as it is does run, and is typeset: the test above looks for the right signs."""
    write(lab, "trap.ipynb", [TRAP])
    page = open_notebook("trap.ipynb")
    page.run_all()
    page.page.wait_for_function("() => window.__pwned === 1")
    page.page.locator(f".jp-OutputArea-output :is({MATH})").first.wait_for()
    assert page.formulas() > 0
