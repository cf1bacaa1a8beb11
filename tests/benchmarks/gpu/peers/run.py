"""Run this project and its peers on the same rows, a process each, keep their lines, and print one table of all lines.

    python -m tests.benchmarks.gpu.peers.run MODEL DATA.jsonl --peers ours notebook packing trl loop [-- --mask …]
    python -m tests.benchmarks.gpu.peers.run --table

What follows `--` goes to every peer. Lines are added to `peers.jsonl` beside this package, or to `--out`; the table
is made from that file alone, so that sittings add up. On a slice of a card, run this under the slice's script.
`--at-once 4` has four peers import side by side and then take turns on the card.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import median
from typing import Any

from lora_magic.planning.architecture import read
from lora_magic.planning.setting import Setting
from lora_magic.planning.speed import operations
from tests.benchmarks.gpu.peers.common import BATCH, RANK

OUT = Path(__file__).parent.parent / "peers.jsonl"
PACKAGE = "tests.benchmarks.gpu.peers"
PEERS: dict[str, tuple[str, ...]] = {
    "ours": (f"{PACKAGE}.lora_magic_run",),
    "ours-transformers": (f"{PACKAGE}.lora_magic_run", "--backend", "transformers"),
    "notebook": (f"{PACKAGE}.unsloth_notebook",),
    "packing": (f"{PACKAGE}.unsloth_notebook", "--packing"),
    "packing-as-is": (f"{PACKAGE}.unsloth_notebook", "--packing-as-is"),
    "trl": (f"{PACKAGE}.trl_sft",),
    "loop": (f"{PACKAGE}.unsloth_loop",),
}
BASELINE = "unsloth notebook"
PRODUCTS = {8: 55.7e12, 132: 788e12}
"""Float16 products a second that were measured on an H200, by multiprocessors."""


def line_of(output: str) -> dict[str, Any] | None:
    """The peer's own line: the last one that is a JSON object with a peer's name."""
    for line in reversed(output.splitlines()):
        if line.startswith("{") and '"peer"' in line:
            found: dict[str, Any] = json.loads(line)
            return found
    return None


def run(peer: str, arguments: Sequence[str], timeout: float) -> dict[str, Any]:
    """One peer in a process of its own; a failure becomes a line, too."""
    module, *own = PEERS[peer]
    command = [sys.executable, "-m", module, *arguments, *own]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"peer": peer, "command": command[2:], "failed": f"no answer within {timeout:.0f} s"}
    found = line_of(done.stdout)
    if done.returncode or found is None:
        return {"peer": peer, "command": command[2:], "failed": (done.stderr or done.stdout)[-400:]}
    return {**found, "command": command[2:]}


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What rows of one section share: card, slice, model, data, mask and length."""
    shape = row["model"]
    size = f"{shape['hidden_size']} x {shape['num_hidden_layers']}"
    return row["card"], row["multiprocessors"], size, row["data"], row["mask"], row["length"]


def roofline(row: dict[str, Any]) -> float | None:
    """Share of the card's float16 products that the row's tokens need, nothing computed twice; None is not known."""
    peak = PRODUCTS.get(row["multiprocessors"])
    if peak is None:
        return None
    length = row["tokens_a_second"] * row["seconds_a_step"] / BATCH
    needed = operations(read(row["model"]), Setting(tokens=1, longest=1, rank=RANK), length, 0.0)
    return float(row["tokens_a_second"] * needed / peak)


def against(row: dict[str, Any], members: Sequence[dict[str, Any]]) -> float | None:
    """The row's rate over the notebook's of the same sitting, their median where it ran more than once."""
    rates = [r["tokens_a_second"] for r in members if r["peer"] == BASELINE and r["sitting"] == row["sitting"]]
    return row["tokens_a_second"] / median(rates) if rates else None


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One table: a section for each card, model and data, the rate of each peer over the notebook's of its sitting."""
    good = [row for row in rows if not row.get("failed")]
    lines = []
    for group in dict.fromkeys(key(row) for row in good):
        card, processors, size, data, mask, length = group
        members = [row for row in good if key(row) == group]
        rows_are = f"rows of {length} tokens" if length else "rows as they are"
        lines.append(f"\n{card} ({processors} multiprocessors), {size}, {data}, {rows_are}, mask {mask}")
        lines.append(
            f"{'':38}{'tokens/s':>10}{'against':>9}{'of products':>13}{'peak GiB':>10}{'first step':>12}{'sitting':>9}"
        )
        for row in members:
            name = row["peer"]
            if "micro_batch" in row:
                ways = [word for word in ("at_once", "expanded") if row.get(word)]
                name += f" {', '.join([str(row['micro_batch']), row['checkpointing'], *ways])}".replace("_", " ")
            share, needed = against(row, members), roofline(row)
            lines.append(
                f"{name:38}{row['tokens_a_second']:10,.0f}{f'{share:.2f}x' if share else '':>9}"
                f"{f'{needed:.0%}' if needed else '':>13}{row['peak_gib']:10.2f}"
                f"{row['first_step_s']:10.1f} s{row['sitting']:>9}"
            )
    failed = [f"{row['peer']}: {row['failed'].strip().splitlines()[-1]}" for row in rows if row.get("failed")]
    return "\n".join([*lines, *failed]).strip()


def main() -> None:
    """Run what is asked for, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("data", nargs="?")
    parser.add_argument("--peers", nargs="+", choices=tuple(PEERS), default=["ours", "notebook", "trl", "loop"])
    parser.add_argument("--table", action="store_true", help="only print what is recorded")
    parser.add_argument("--at-once", type=int, default=1, help="peers that import side by side")
    parser.add_argument("--timeout", type=float, default=240, help="seconds for each peer")
    parser.add_argument("--out", type=Path, default=OUT)
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    asked = parser.parse_args(own)
    if not asked.table:
        if not (asked.model and asked.data):
            parser.error("give MODEL and DATA, or --table")
        sitting = time.strftime("%m-%d %H")
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.at_once) as threads:
            turns = ["--turn", f"{folder}/turn"] if asked.at_once > 1 else []
            arguments = [asked.model, asked.data, *turns, *more]
            for done in as_completed([threads.submit(run, peer, arguments, asked.timeout) for peer in asked.peers]):
                with asked.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**done.result(), "sitting": sitting}) + "\n")
    recorded = asked.out.read_text(encoding="utf-8") if asked.out.exists() else ""
    print(table([json.loads(line) for line in recorded.splitlines() if line]) or f"nothing is recorded in {asked.out}")


if __name__ == "__main__":
    main()
