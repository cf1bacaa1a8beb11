"""What the live picture costs: `python tests/benchmarks/picture_cost.py` prints its share of a minute's training.

A real kernel trains for 60 seconds of steps of 20 ms (a sleep, which leaves the drawing's cost alone). Everything
between handing the picture an event and getting the thread back counts, but for the final picture, which is
drawn after the training and given apart. A first argument sets other seconds.
"""

from __future__ import annotations

import sys

import nbformat
from nbclient import NotebookClient

CELL = """
import math, time
from lora_magic.display.live import NotebookPicture
from lora_magic.events import Evaluated, Finished, Started, Stepped

planned = int(SECONDS / 0.02)
listen, shown, spent = NotebookPicture(), [], 0.0
publish = listen._surface
listen._surface = lambda bundle: (shown.append(1), publish(bundle))
began = time.perf_counter()

def timed(event):
    start = time.perf_counter()
    listen(event)
    return time.perf_counter() - start

spent += timed(Started("support", "demo", (("rank", "8"),), planned, 1.0, 80, 20, 1000, 4000))
step = 0
while time.perf_counter() - began < SECONDS:
    time.sleep(0.02)
    step, now = step + 1, time.perf_counter() - began
    spent += timed(Stepped(step, 2 * math.exp(-step / 900), 1e-4, 0.5, 900.0, 1.2, now, step / planned))
    if step % 200 == 0:
        spent += timed(Evaluated(step, 2.1 * math.exp(-step / 900), now))
elapsed = time.perf_counter() - began
drawn = len(shown)
final = timed(Finished(step, elapsed, "completed", "done"))
print(f"picture: {100 * spent / elapsed:.2f}% of {elapsed:.0f} s ({step} steps, {drawn} redraws, "
      f"{1000 * spent / drawn:.1f} ms each); the final picture took {final:.2f} s afterwards")
"""


def main(seconds: float) -> str:
    """Run the cell in a kernel of its own and return its line."""
    cell = nbformat.v4.new_code_cell(CELL.replace("SECONDS", str(seconds)))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, timeout=seconds + 60, kernel_name="python3").execute()
    return "".join(output.text for output in cell.outputs if output.output_type == "stream").strip()


if __name__ == "__main__":
    print(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
