"""What the install cell would change on a stock Colab runtime, by pip's own resolver; `-s` shows the table.

The runtime is `packages.txt`, as metadata without code; `refresh.py` says how to bring it up to date. Needs the package
index that pip is configured for, and takes metadata alone from it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.colab.notebooks import REPOSITORY, script
from tests.doctor.places import stub

pytestmark = pytest.mark.slow
PACKAGES = Path(__file__).with_name("packages.txt")
NEVER_CHANGED = ("torch", "ipywidgets", "ipython", "numpy", "pandas")
MOST_PACKAGES = 19
TARGET = ["--python-version", "3.13", "--implementation", "cp", "--abi", "cp313", "--abi", "abi3", "--abi", "none"]
PLATFORMS = ["manylinux_2_28_x86_64", "manylinux_2_24_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
install = script("colab/install.py")


@dataclass(frozen=True)
class Resolved:
    """What pip would do.

    Attributes:
        before: versions on the runtime, by normal name.
        brought: what pip would install, as metadata, by normal name.
    """

    before: dict[str, str]
    brought: dict[str, dict[str, Any]]

    @property
    def after(self) -> dict[str, str]:
        """Versions once it is done."""
        return {**self.before, **{name: told["version"] for name, told in self.brought.items()}}

    def table(self) -> str:
        """Every package that is installed or changed, those that must stay, and how many are left alone."""
        rows = [("package", "Colab has", "then", "")]
        rows += [
            (name, self.before.get(name, "–"), told["version"], self._what(name))
            for name, told in sorted(self.brought.items())
        ]
        rows += [
            (name, self.before[name], self.after[name], self._what(name))
            for name in (*NEVER_CHANGED, "transformers", "peft")
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"{len(set(self.before) - set(self.brought))} packages are left alone"])

    def _what(self, name: str) -> str:
        if name not in self.before:
            return "installed"
        return "left alone" if self.after[name] == self.before[name] else "upgraded"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's own wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(REPOSITORY),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@dataclass(frozen=True)
class Runtime:
    """A stock runtime's packages without their code.

    Attributes:
        root: a folder.
        before: versions, by normal name.
        wheel: this project's.
    """

    root: Path
    before: dict[str, str]
    wheel: Path

    def asked(self, *more: str) -> tuple[subprocess.CompletedProcess[str], Path]:
        """The install cell's own pip command, without installing, for `more` too; and where its report is."""
        pins = install.pinned(install.text_beside(str(self.wheel), "constraints.txt"))
        limits, report = self.root / "constraints.txt", self.root / "report.json"
        limits.write_text(install.constraints(pins, self.before))
        words = install.arguments([*install.requirements(str(self.wheel), pins), *more], limits)
        words += ["--dry-run", "--report", str(report), *TARGET]
        words += [word for platform in PLATFORMS for word in ("--platform", platform)]
        command = [sys.executable, "-m", "pip", "--python", str(self.root / "python" / "bin" / "python"), *words]
        return subprocess.run(command, check=False, capture_output=True, text=True), report


@pytest.fixture(scope="module")
def runtime(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """Colab's packages, as `packages.txt` has them."""
    root = tmp_path_factory.mktemp("runtime")
    venv.create(root / "python", with_pip=False)
    site = next((root / "python").glob("lib/python*/site-packages"))
    before = install.pinned(PACKAGES.read_text(encoding="utf-8"))
    for name, version in before.items():
        stub(site, name, version)
    return Runtime(root, before, wheel)


@pytest.fixture(scope="module")
def resolved(runtime: Runtime) -> Resolved:
    """What pip would do there."""
    done, report = runtime.asked()
    assert done.returncode == 0, done.stderr
    brought = {
        install.normal(one["metadata"]["name"]): one["metadata"] for one in json.loads(report.read_text())["install"]
    }
    made = Resolved(runtime.before, brought)
    print(f"\n{made.table()}")
    return made


def test_torch_jupyter_numpy_and_pandas_stay(resolved: Resolved) -> None:
    assert {name: resolved.after[name] for name in NEVER_CHANGED} == {
        name: resolved.before[name] for name in NEVER_CHANGED
    }
    assert not set(resolved.brought) & {install.normal(name) for name in install.KEPT}


def test_what_is_brought_is_the_tested_set_and_nothing_else(resolved: Resolved) -> None:
    pins = install.pinned((REPOSITORY / "colab" / "constraints.txt").read_text())
    versions = {name: told["version"] for name, told in resolved.brought.items() if name != "lora-magic"}
    assert versions == {name: version for name, version in pins.items() if resolved.before.get(name) != version}
    assert len(resolved.brought) <= MOST_PACKAGES


def test_every_declared_range_is_met(resolved: Resolved) -> None:
    """Unsloth's and its other half's, ours, and those of everything else that is brought."""
    assert {"unsloth", "unsloth-zoo", "lora-magic"} <= set(resolved.brought)
    unmet = []
    for name, told in resolved.brought.items():
        for text in told.get("requires_dist", ()):
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate(
                {"extra": "", "sys_platform": "linux", "platform_machine": "x86_64"}
            ):
                version = resolved.after.get(install.normal(need.name))
                if version is None or not need.specifier.contains(version, prereleases=True):
                    unmet.append(f"{name} needs {text}; there is {version}")
    assert unmet == []


def test_what_is_known_to_clash_is_mended(resolved: Resolved) -> None:
    from packaging.version import Version

    assert Version(resolved.before["torchao"]) < Version("0.16") <= Version(resolved.after["torchao"])
    assert resolved.before["datasets"] == "4.0.0" != resolved.after["datasets"]


def test_the_wheel_holds_what_the_install_cell_runs(wheel: Path) -> None:
    for name in ("install.py", "constraints.txt"):
        assert install.text_beside(str(wheel), name) == (REPOSITORY / "colab" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("wish", ["numpy>=2.2", "ipywidgets>=8", "torch!=2.11.0"])
def test_what_would_change_them_is_refused(wish: str, runtime: Runtime) -> None:
    done, _ = runtime.asked(wish)
    assert done.returncode != 0
    assert wish[:5] in done.stderr
