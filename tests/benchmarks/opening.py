"""How long forms and the studio take to open after %load_ext: python -m tests.benchmarks.opening.

Each is opened in a process of its own. Seconds are of the first form there, its imports included; then of the same
form once more.
"""

from __future__ import annotations

import json
import subprocess
import sys

from lora_magic.forms.layout import LAYOUTS

SHARE = """
import contextlib, io, json, sys, time
from IPython.core.interactiveshell import InteractiveShell
import IPython.display, ipykernel.comm
shell = InteractiveShell.instance()
shell.kernel = object()
shell.run_line_magic("load_ext", "lora_magic")
taken = []
for turn in range(2):
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        shell.run_line_magic(sys.argv[1], sys.argv[2])
    taken.append(time.perf_counter() - began)
print(json.dumps([*taken, "torch" in sys.modules]))
"""


def main() -> None:
    """Open everything that has a form, each in a process of its own."""
    print(f"{'':14} {'first, s':>9} {'again, s':>9}  imports torch")
    for name in (*LAYOUTS, "lora_studio"):
        line = "" if name == "lora_studio" else "--form"
        done = subprocess.run([sys.executable, "-c", SHARE, name, line], capture_output=True, text=True, check=True)
        first, again, torch = json.loads(done.stdout.splitlines()[-1])
        print(f"{'%' + name:14} {first:9.2f} {again:9.2f}  {'yes' if torch else 'no'}")


if __name__ == "__main__":
    main()
