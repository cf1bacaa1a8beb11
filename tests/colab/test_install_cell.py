"""The install cell in an environment of its own, with packages made for it and Colab's package stood in for."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import venv
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pip
import pytest

from tests.colab.notebooks import NOTEBOOKS, REPOSITORY, STAND_IN, script

install = script("colab/install.py")
PINS = install.pinned((REPOSITORY / "colab" / "constraints.txt").read_text(encoding="utf-8"))


def wheel(
    folder: Path, name: str, version: str, requires: Iterable[str] = (), files: Mapping[str, str] | None = None
) -> Path:
    """A wheel of pure Python whose module knows its version."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    content = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n",
        **(files or {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        for path, text in content.items()
    }
    record = "".join(f"{path},sha256={digest},{len(content[path].encode())}\n" for path, digest in digests.items())
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return made


@dataclass
class Runtime:
    """A Python with some packages of Colab's, an index on this disk, and a folder for the notebook."""

    root: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.root / "python" / "bin" / "python")

    @property
    def index(self) -> Path:
        """What pip may take."""
        return self.root / "index"

    def pip(self, *words: str) -> None:
        """Pip, by hand."""
        subprocess.run([self.python, "-m", "pip", *words], check=True, capture_output=True, env=self.environment())

    def environment(self) -> dict[str, str]:
        """No index but the folder, and nothing of this process's own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        return {**kept, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": os.devnull}

    def own_wheel(self, version: str = "0.1.0", mark: str = "") -> Path:
        """lora_magic's, as the notebook's reader uploads it."""
        files = {
            f"lora_magic/_colab/{name}": (REPOSITORY / "colab" / name).read_text()
            for name in ("install.py", "constraints.txt")
        }
        needs = ["torch>=2.6", "datasets>=4.7,<5", "trl>=1.12,<1.15", "bitsandbytes", "ftfy", "rensa"]
        return wheel(self.root / "content", "lora_magic", version, needs, {**files, "lora_magic/mark.py": mark})

    def cell(self, before: str = "", on_colab: bool = True, field: str = "") -> subprocess.CompletedProcess[str]:
        """Run the templates' install cell after `before`, as a kernel would."""
        cells = [cell.source for cell in nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4).cells]
        source = cells[1].replace("/content/lora_magic*.whl", field or str(self.root / "content" / "lora_magic*.whl"))
        start = f"import sys\nsys.path.insert(0, {str(STAND_IN)!r})\nimport google.colab\n" if on_colab else ""
        code = f"{start}{before}\nexec({source!r})"
        return subprocess.run(
            [self.python, "-c", code],
            cwd=self.root,
            env=self.environment(),
            check=False,
            capture_output=True,
            text=True,
        )

    def versions(self) -> dict[str, str]:
        """What is installed."""
        done = subprocess.run(
            [self.python, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
        )
        return {install.normal(one["name"]): one["version"] for one in json.loads(done.stdout)}


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    made = Runtime(tmp_path / "runtime")
    venv.create(made.root / "python", with_pip=False)
    (site,) = (made.root / "python").glob("lib/python*/site-packages")
    for part in Path(pip.__file__).parents[1].glob("pip*"):
        (site / part.name).symlink_to(part)
    colab = made.root / "colab"
    old = [wheel(colab, "torch", "2.11.0+cu128"), wheel(colab, "numpy", "2.1.3"), wheel(colab, "datasets", "4.0.0")]
    made.pip("install", *map(str, old))
    needs = {"unsloth": ["unsloth_zoo", "torch", "numpy", "datasets!=4.0.*"], "unsloth-zoo": ["torchao>=0.13"]}
    for name, version in PINS.items():
        wheel(made.index, name, version, needs.get(name, []))
    for name, version in (("torch", "2.13.0"), ("numpy", "2.4.0"), ("datasets", "5.0.0"), ("trl", "1.16.0")):
        wheel(made.index, name, version)
    made.own_wheel()
    return made


def test_elsewhere_it_says_one_line_and_does_nothing(runtime: Runtime) -> None:
    before = runtime.versions()
    done = runtime.cell(on_colab=False)
    assert (done.stdout, done.stderr) == ("Not on Colab: the lora_magic that is installed here is used.\n", "")
    assert runtime.versions() == before


def test_it_brings_the_pinned_set_keeps_torch_and_does_nothing_the_second_time(runtime: Runtime) -> None:
    done = runtime.cell()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, last = done.stdout.splitlines()
    assert first == "Installing lora_magic and what this runtime lacks …"
    now = runtime.versions()
    assert {name: now[name] for name in ("torch", "numpy")} == {"torch": "2.11.0+cu128", "numpy": "2.1.3"}
    brought = {
        name: PINS[name]
        for name in ("unsloth", "unsloth-zoo", "trl", "datasets", "bitsandbytes", "torchao", "ftfy", "rensa")
    }
    assert {name: now.get(name) for name in brought} == brought
    assert last.startswith("lora_magic 0.1.0 is ready: 9 packages in ")
    assert "tyro" not in now, "a pin is no wish: what nothing needs is not installed"


def test_a_second_run_asks_pip_for_nothing(runtime: Runtime) -> None:
    assert runtime.cell().returncode == 0
    for file in runtime.index.iterdir():
        file.unlink()
    again = runtime.cell()
    assert again.returncode == 0, again.stderr
    assert again.stdout == "lora_magic 0.1.0 is ready: nothing had to be installed.\n"


def test_another_wheel_of_the_same_version_replaces_the_one_before(runtime: Runtime) -> None:
    assert runtime.cell().returncode == 0
    runtime.own_wheel(mark="NEW = True\n")
    done = runtime.cell("", field=str(runtime.root / "content" / "*.whl"))
    assert done.returncode == 0, done.stderr
    checked = subprocess.run(
        [runtime.python, "-c", "import lora_magic.mark as m; print(m.NEW)"], capture_output=True, text=True, check=False
    )
    assert checked.stdout == "True\n"


def test_a_wheel_that_was_uploaded_again_is_the_one_that_counts(runtime: Runtime) -> None:
    """Colab calls the second upload of a file `NAME (1).whl`, which pip takes for no wheel."""
    assert runtime.cell().returncode == 0
    first = next((runtime.root / "content").glob("*.whl"))
    aside = first.rename(first.with_suffix(".aside"))
    again = runtime.own_wheel(mark="NEW = True\n").rename(first.with_name(f"{first.stem} (1).whl"))
    aside.rename(first)
    os.utime(again, (first.stat().st_atime, first.stat().st_mtime + 60))
    done = runtime.cell()
    assert done.returncode == 0, done.stderr
    script = "import lora_magic.mark as m; print(m.NEW)"
    checked = subprocess.run([runtime.python, "-c", script], capture_output=True, text=True, check=False)
    assert checked.stdout == "True\n"
    for file in runtime.index.iterdir():
        file.unlink()
    assert "nothing had to be installed" in runtime.cell().stdout


@pytest.mark.parametrize("imported", ["datasets", "torch", ""])
def test_a_restart_is_asked_for_only_where_a_package_in_use_has_changed(imported: str, runtime: Runtime) -> None:
    done = runtime.cell(f"import {imported}" if imported else "")
    if imported == "datasets":
        assert done.returncode != 0
        said = done.stderr.splitlines()[-1]
        assert "datasets 4.0.0 (installed: 4.8.5)" in said and "Runtime > Restart session" in said
        assert "torch" not in said
        after = runtime.cell("import datasets")
        assert after.returncode == 0, after.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_another_wheel_under_a_running_lora_magic_asks_for_a_restart(runtime: Runtime) -> None:
    assert runtime.cell().returncode == 0
    assert runtime.cell("import lora_magic").returncode == 0
    runtime.own_wheel(mark="NEW = True\n")
    done = runtime.cell("import lora_magic")
    assert "lora-magic 0.1.0 (installed: another build)" in done.stderr.splitlines()[-1]


def test_what_pip_refuses_is_told_in_its_own_last_lines(runtime: Runtime) -> None:
    next(runtime.index.glob("unsloth_zoo-*")).unlink()
    done = runtime.cell()
    assert done.returncode != 0
    assert "pip could not install lora_magic. It said:" in done.stderr
    assert "unsloth-zoo" in done.stderr.replace("_", "-").partition("It said:")[2]
    assert "unsloth" not in runtime.versions()


@pytest.mark.parametrize("field", ["/nowhere/*.whl", "/usr/lib"])
def test_no_wheel_and_no_address_is_one_line(runtime: Runtime, field: str) -> None:
    done = runtime.cell("import urllib.request\nurllib.request.urlopen = lambda *_, **__: 1 / 0", field=field)
    assert done.stderr.splitlines()[-1].startswith(f"RuntimeError: No wheel at {field}, and nothing at https://")


@pytest.mark.parametrize("made", [install.RestartNeeded("Restart."), install.NotInstalled("pip said\nno")])
def test_errors_are_shown_without_a_traceback(made: Exception) -> None:
    lines = made._render_traceback_()
    assert len(lines) <= 2 and str(made).splitlines()[-1] in lines[-1]
