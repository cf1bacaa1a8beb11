"""The studio in a real kernel, driven by the messages that a page sends, and the cell that it leaves."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.kernels import Kernel
from tests.kernel.test_forms_in_kernel import Page
from tests.models import rows

ROWS = f"rows = {rows(60)!r}"
MADE = ("lora_runs/mine/adapter/adapter_model.safetensors", "out/mine-merged/model.safetensors")


class StudioPage(Page):
    """A page whose steps are used in order: the form that was made last is the open one."""

    def widget(self, description: str) -> str:
        return [key for key, state in self.states.items() if state.get("description") == description][-1]

    def done(self, step: str) -> bool:
        return any(state.get("description") == f"✓ {step}" for state in self.states.values())

    def cell(self) -> str:
        """The lines that the panel collected."""
        blocks = [str(state.get("value", "")) for state in self.states.values() if "user-select:all" in str(state)]
        found = next(block for block in blocks if "%load_ext" in block)
        inner = re.search(r'user-select:all[^>]*">(.*?)</div>', found, re.DOTALL)
        assert inner is not None
        return html.unescape(inner[1])


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("notebook")) as running:
        running.run("%load_ext lora_magic\nimport sys\n" + ROWS)
        yield running


def test_it_opens_at_its_first_step_and_imports_no_torch(kernel: Kernel) -> None:
    page = StudioPage(kernel)
    assert page.open("%lora_studio").status == "ok"
    assert page.said("choose a base") and page.state("Run") and page.shown("0 of 6 steps done")
    heavy = "print([name for name in ('torch', 'transformers', 'datasets', 'matplotlib') if name in sys.modules])"
    assert kernel.run(heavy).stream == "[]\n"


def test_the_cell_it_leaves_repeats_the_session_in_a_fresh_kernel(
    kernel: Kernel, tiny_folder: Path, tmp_path: Path
) -> None:
    page = StudioPage(kernel)
    page.open("%lora_studio")
    page.put("model", str(tiny_folder), lambda: page.said(html.escape(f"%lora_load '{tiny_folder}'")))
    page.press(lambda: page.done("1 Model"))
    page.put("data", "rows", lambda: page.said("%lora_data rows"))
    page.press(lambda: page.done("2 Data"))
    page.press(lambda: page.done("3 Plan"))
    page.put("name", "mine", lambda: page.said("%lora_train mine --data rows"))
    page.put("max-steps", "3", lambda: page.said("--max-steps 3"))
    page.stray.clear()
    page.press(lambda: page.done("4 Train"))
    page.put("max-new-tokens", "6", lambda: page.said("%lora_compare --max-new-tokens 6"))
    page.press(lambda: page.done("5 Compare"))
    page.press(lambda: page.done("6 Merge") and page.shown("6 of 6 steps done"))
    assert page.stray == [] and page.shown("largest logit difference") and page.shown("data:image/png")
    cell = page.cell()
    assert cell.splitlines()[0] == "%load_ext lora_magic" and "# rows is a variable of the notebook" in cell
    with Kernel(tmp_path) as fresh:
        assert fresh.run(ROWS).status == "ok"
        repeated = fresh.run(cell)
    assert repeated.status == "ok", repeated.everything
    for name in MADE:
        assert (tmp_path / name).read_bytes() == (kernel.folder / name).read_bytes(), name


def test_what_another_cell_did_is_seen_at_once(kernel: Kernel) -> None:
    page = StudioPage(kernel)
    page.open("%lora_studio")
    assert page.done("4 Train")
    for message in kernel.run("%unload_ext lora_magic\n%load_ext lora_magic\n%lora_status").messages:
        page._take(message)
    assert page.done("4 Train"), "a panel of an extension that is gone stays as it was"
    page = StudioPage(kernel)
    page.open("%lora_studio")
    assert page.said("choose a base") and not page.done("1 Model")
    for message in kernel.run("%lora_load demo").messages:
        page._take(message)
    assert page.done("1 Model")
