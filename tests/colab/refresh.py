"""Writes `packages.txt`, the packages of a stock Colab GPU runtime, from a list that Colab makes.

    python tests/colab/refresh.py LIST

LIST is `pip-freeze.gpu.txt` of googlecolab/backend-info on GitHub, or what `!pip freeze` prints on a fresh T4 runtime.
Afterwards `make test-notebooks` shows what an installation would change there.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TARGET = Path(__file__).with_name("packages.txt")
HEAD = "# A stock Colab GPU runtime (Python 3.13), name==version; written by refresh.py, which says how.\n"


def refreshed(text: str) -> str:
    """The names and versions in a list of pip's, sorted; packages installed from elsewhere are left out."""
    found = set(re.findall(r"^([A-Za-z0-9._-]+==\S+)$", text, re.MULTILINE))
    return HEAD + "".join(f"{line}\n" for line in sorted(found, key=str.lower))


if __name__ == "__main__":
    TARGET.write_text(refreshed(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{TARGET}: {TARGET.read_text().count('==') - 1} packages")
