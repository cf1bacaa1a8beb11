"""`make notebooks`: writes what stands in more than one place from the one place that holds it.

The repository's address is `Repository` in pyproject.toml: every notebook's badge and install cell, and the README's
badge, are made from it. The versions that Colab is given are those in `lora_magic/diagnosis/tested.json`:
`constraints.txt` is made from them. `--check` writes nothing and fails where something is out of step.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
BADGE_LINE = re.compile(r"\[!\[Open in Colab\]\(.*\)\]\(.*/notebooks/(?P<name>[\w-]+\.ipynb)\)")
INSTALL_TITLE = "#@title Install"
INSTALL = """\
#@title Install { display-mode: "form" }
#@markdown On Colab this brings what the runtime lacks, in about a minute; elsewhere it does nothing. \
Until lora_magic is published, upload its wheel (the folder at the left) or give its path on Drive.
wheel = "/content/lora_magic*.whl"  #@param {type:"string"}
import glob, os, sys, urllib.request, zipfile

if "google.colab" in sys.modules:
    wheels = [path for path in glob.glob(wheel) if path.endswith(".whl")]
    source = max(wheels, key=os.path.getmtime, default="ADDRESS")
    try:
        script = (
            zipfile.ZipFile(source).read("lora_magic/_colab/install.py")
            if source.endswith(".whl")
            else urllib.request.urlopen("RAW/colab/install.py", timeout=60).read()
        )
    except Exception as error:
        raise RuntimeError(f"No wheel at {wheel}, and nothing at {source} ({error}).") from None
    installer = {"__name__": "installer"}
    exec(script, installer)
    installer["main"](source)
else:
    print("Not on Colab: the lora_magic that is installed here is used.")"""


def address() -> str:
    """Where the repository is, or will be."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"]).rstrip("/")


def badge(name: str) -> str:
    """Markdown that opens a notebook of the repository in Colab."""
    where = address().removeprefix("https://github.com/")
    return f"[![Open in Colab]({BADGE})](https://colab.research.google.com/github/{where}/blob/main/notebooks/{name})"


def install_cell() -> str:
    """The source of every notebook's first code cell."""
    raw = address().replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main"
    return INSTALL.replace("ADDRESS", address()).replace("RAW", raw)


def notebook(path: Path) -> str:
    """A notebook with its badge below the title, its install cell first of all code, and no outputs."""
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    cells = read["cells"]
    if not cells or cells[0]["cell_type"] != "markdown":
        raise ValueError(f"{path.name} does not begin with a title")
    cells[0]["source"] = _lines(_with_badge(_text(cells[0]), path.name))
    first = next((cell for cell in cells if cell["cell_type"] == "code"), None)
    if first is None or not _text(first).startswith(INSTALL_TITLE):
        first = {"cell_type": "code", "id": "install", "metadata": {}}
        cells.insert(1, first)
    first["source"] = _lines(install_cell())
    first["metadata"] = {"cellView": "form"}
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(read, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _with_badge(text: str, name: str) -> str:
    title, _, rest = re.sub(r"\n*" + BADGE_LINE.pattern + r"\n*", "\n\n", text).partition("\n")
    return f"{title}\n\n{badge(name)}\n\n{rest.strip()}".rstrip()


def _text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def constraints() -> str:
    """What Colab is given, as pip reads it."""
    tested = json.loads((ROOT / "lora_magic" / "diagnosis" / "tested.json").read_text(encoding="utf-8"))
    head = "# What a stock Colab runtime is given, resolved in one pass; written by `make notebooks`.\n"
    return head + "".join(f"{name}=={version}\n" for name, version in tested["colab"].items())


def readme() -> str:
    """The README with its badges made from the address."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return BADGE_LINE.sub(lambda found: badge(found["name"]), text)


def written() -> Iterator[tuple[Path, str]]:
    """Every file that is made here, with what it should hold."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        yield path, notebook(path)
    yield CONSTRAINTS, constraints()
    yield ROOT / "README.md", readme()


def main(check: bool) -> int:
    """Write what is out of step, or only say so."""
    behind = [(path, text) for path, text in written() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in behind:
        print(f"{'out of step' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return 1 if check and behind else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
