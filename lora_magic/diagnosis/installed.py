"""Installed packages by their metadata, read so that nothing broken stops the reading."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def normal(name: str) -> str:
    """A package's name as pip compares it: lower case, with dashes."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def tested() -> Mapping[str, tuple[str, ...]]:
    """Versions that the tests ran on, by normal name, the oldest first."""
    read = json.loads((HERE / "tested.json").read_text(encoding="utf-8"))["tested"]
    return {normal(name): tuple(versions) for name, versions in read.items()}


@cache
def packaging() -> Any:
    """The modules that know versions and requirements, from the package of that name or from pip's copy; or None."""
    for name in ("packaging", "pip._vendor.packaging"):
        try:
            versions = importlib.import_module(f"{name}.version")
            return importlib.import_module(f"{name}.requirements"), versions
        except Exception:  # noqa: BLE001, S112  whatever is wrong with it, the other one may do
            continue
    return None


class Installed:
    """The packages that this process would import, by normal name.

    Attributes:
        versions: of each whose metadata can be read; of several on the path, the first.
        broken: those with metadata that cannot be read, and where.
    """

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.broken: dict[str, Path] = {}
        self._distributions: dict[str, importlib.metadata.Distribution] = {}
        for found in importlib.metadata.distributions():
            name, version, place = _read(found)
            if name in self.versions or name in self.broken:
                continue
            if version:
                self.versions[name], self._distributions[name] = version, found
            else:
                self.broken[name] = place

    def requires(self, name: str) -> list[Any]:
        """The requirements that a package declares for this machine, extras left out; none where it has no metadata."""
        known = packaging()
        read = []
        for text in self.declared(name) if known else ():
            try:
                requirement = known[0].Requirement(text)
                wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            except Exception:  # noqa: BLE001, S112  a line that cannot be read asks for nothing
                continue
            if wanted:
                read.append(requirement)
        return read

    def declared(self, name: str) -> list[str]:
        """A package's requirements as it writes them; none where it has no metadata."""
        found = self._distributions.get(normal(name))
        if found is None:
            return _own() if name == "lora_magic" else []
        return _requires(found)

    def file(self, name: str, path: str) -> Path | None:
        """Where a package's own list of files says that one of them is; None where the list has no such file."""
        found = self._distributions.get(normal(name))
        try:
            listed = [one for one in (found.files or ()) if str(one) == path] if found else []
        except Exception:  # noqa: BLE001  the list is broken, and so says nothing
            return None
        return Path(str(listed[0].locate())) if listed else None


def allows(requirement: Any, version: str) -> bool:
    """Whether a version is one that a requirement takes; what cannot be compared passes."""
    known = packaging()
    try:
        return bool(requirement.specifier.contains(known[1].Version(version), prereleases=True))
    except Exception:  # noqa: BLE001  a version like no other
        return True


def older(version: str, than: str) -> bool:
    """Whether a version is older than another; False where that cannot be told."""
    known = packaging()
    try:
        return bool(known[1].Version(version) < known[1].Version(than))
    except Exception:  # noqa: BLE001  a version like no other
        return False


def module_of(package: str) -> str:
    """The module that a package is imported as."""
    return {"pillow": "PIL", "pyyaml": "yaml", "ipython": "IPython", "protobuf": "google.protobuf"}.get(
        normal(package), normal(package).replace("-", "_")
    )


def origin(module: str) -> Path | None:
    """The file that an import would read, found without importing; None for a folder without code or nothing."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # noqa: BLE001  a module half imported, or a parent that fails
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


def _read(found: importlib.metadata.Distribution) -> tuple[str, str, Path]:
    place = Path(str(getattr(found, "_path", "")))
    name = place.name.rpartition(".")[0].partition("-")[0]
    try:
        metadata = found.metadata
        return normal(metadata["Name"] or name), metadata["Version"] or "", place
    except Exception:  # noqa: BLE001  metadata that cannot be read is what is looked for
        return normal(name), "", place


def _requires(found: importlib.metadata.Distribution) -> list[str]:
    try:
        return found.requires or []
    except Exception:  # noqa: BLE001  as above
        return []


def _own() -> list[str]:
    """What this project declares, where it runs from its source tree and has no metadata."""
    try:
        text = (HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        return list(tomllib.loads(text)["project"]["dependencies"])
    except (OSError, ValueError, KeyError):
        return []
