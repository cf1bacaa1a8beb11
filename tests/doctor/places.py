"""Environments made for the doctor: metadata of packages, a driver's tool, and a Python that sees nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import packaging
from packaging.requirements import Requirement

from lora_magic.diagnosis.installed import normal, tested

REPOSITORY = Path(__file__).parents[2]
HEADER = "| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: {cuda} |"


def own_requirements() -> list[Requirement]:
    """What this project declares."""
    read = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    return [Requirement(text) for text in read["project"]["dependencies"]]


def version_for(requirement: Requirement) -> str:
    """A version that a requirement takes: a tested one, or its lower bound."""
    known = tested().get(normal(requirement.name))
    return known[-1] if known else next(one.version for one in requirement.specifier if one.operator == ">=")


def stub(
    site: Path, name: str, version: str, requires: Iterable[str] = (), files: Mapping[str, str] | None = None
) -> None:
    """A package by its metadata; `files` are written, and told in its list, as (path, content)."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {one}" for one in requires),
    ]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")
    for path, content in (files or {}).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(content)
    (folder / "RECORD").write_text("".join(f"{path},,\n" for path in files or ()))


@dataclass
class Place:
    """A folder of packages, a folder to stand in, and a PATH.

    Attributes:
        root: holds all of it.
        environment: further variables.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def site(self) -> Path:
        """Where the packages are."""
        return self.root / "site"

    @property
    def here(self) -> Path:
        """Where the doctor stands."""
        return self.root / "here"

    def has(self, name: str, version: str, requires: Iterable[str] = (), **files: str) -> None:
        """Put a package in, in place of one of its name; `files` by path with `__init__` for `/__init__.py`."""
        self.lacks(name)
        stub(self.site, name, version, requires, {f"{module}/__init__.py": code for module, code in files.items()})

    def lacks(self, name: str) -> None:
        """Take a package out."""
        for folder in self.site.glob("*.dist-info"):
            if normal(folder.name.partition("-")[0]) == normal(name):
                shutil.rmtree(folder)

    def card(self, line: str = "Tesla T4, 550.54.15, 15360, 15095, 7.5", cuda: str = "12.4", code: int = 0) -> None:
        """A driver's tool that answers so."""
        tool = self.root / "bin" / "nvidia-smi"
        tool.parent.mkdir(exist_ok=True)
        header = HEADER.format(cuda=cuda)
        query = f'case "$*" in *--query-gpu*) echo "{line}";; *) echo "{header}";; esac'
        tool.write_text(f"#!/bin/sh\n{query}\nexit {code}\n")
        tool.chmod(0o755)

    def doctor(self, *arguments: str, packages: bool = True) -> subprocess.CompletedProcess[str]:
        """`python -m lora_magic doctor` in a Python without any site-packages of its own."""
        path = [str(self.site)] * packages + [str(REPOSITORY)]
        environment = {
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(path), "HOME": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120", "PYTHONUTF8": "1", **self.environment,
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-S", "-m", "lora_magic", *(arguments or ("doctor",))],
            cwd=self.here, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip


def healthy(root: Path) -> Place:
    """A place with all that this project declares, and a card that is a T4."""
    place = Place(root)
    place.here.mkdir(parents=True)
    place.site.mkdir()
    (place.site / "packaging").symlink_to(Path(packaging.__file__).parent)
    for requirement in own_requirements():
        place.has(requirement.name, version_for(requirement))
    place.has("torch", "2.11.0+cu128")
    place.has("unsloth", tested()["unsloth"][0])
    place.has("unsloth_zoo", tested()["unsloth-zoo"][0])
    for name in (
        "numpy",
        "pyarrow",
        "safetensors",
        "tokenizers",
        "pillow",
        "pyyaml",
        "psutil",
        "huggingface_hub",
        "datasets",
    ):
        module = {"pillow": "PIL", "pyyaml": "yaml"}.get(name, name)
        (place.site / module).mkdir(exist_ok=True)
        (place.site / module / "__init__.py").touch()
    place.card()
    return place
