"""Run this project and its peers on the same rows, a process each, keep their lines, and print one table of all lines.

    python -m tests.benchmarks.gpu.peers.run MODEL DATA.jsonl --peers ours notebook packing trl loop [-- --mask …]
    python -m tests.benchmarks.gpu.peers.run --table

What follows `--` goes to every peer. Lines are added to `peers.jsonl` beside this package, or to `--out`; the table
is made from that file alone, so that sittings add up. On a slice of a card, run this under the slice's script.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent.parent / "peers.jsonl"
PACKAGE = "tests.benchmarks.gpu.peers"
PEERS: dict[str, tuple[str, ...]] = {
    "ours": (f"{PACKAGE}.lora_magic_run",),
    "ours-transformers": (f"{PACKAGE}.lora_magic_run", "--backend", "transformers"),
    "notebook": (f"{PACKAGE}.unsloth_notebook",),
    "packing": (f"{PACKAGE}.unsloth_notebook", "--packing"),
    "trl": (f"{PACKAGE}.trl_sft",),
    "loop": (f"{PACKAGE}.unsloth_loop",),
}
BASELINE = "unsloth notebook"


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
    """What rows must share to be compared: card, slice, model, data, mask and length."""
    shape = row["model"]
    size = f"{shape['hidden_size']} x {shape['num_hidden_layers']}"
    return row["card"], row["multiprocessors"], size, row["data"], row["mask"], row["length"]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One table: a section for each card, model and data, the rate of each peer over the notebook's."""
    good = [row for row in rows if not row.get("failed")]
    lines = []
    for group in dict.fromkeys(key(row) for row in good):
        card, processors, size, data, mask, length = group
        members = [row for row in good if key(row) == group]
        base = next((r["tokens_a_second"] for r in reversed(members) if r["peer"] == BASELINE), None)
        rows_are = f"rows of {length} tokens" if length else "rows as they are"
        lines.append(f"\n{card} ({processors} multiprocessors), {size}, {data}, {rows_are}, mask {mask}")
        lines.append(f"{'':36}{'tokens/s':>10}{'against':>10}{'peak GiB':>10}{'first step':>12}{'date':>13}")
        for row in members:
            name = row["peer"]
            if "micro_batch" in row:
                name += f" {row['micro_batch']}, {row['checkpointing']}"
            share = f"{row['tokens_a_second'] / base:.2f}x" if base else ""
            lines.append(
                f"{name:36}{row['tokens_a_second']:10,.0f}{share:>10}{row['peak_gib']:10.2f}"
                f"{row['first_step_s']:10.1f} s{row['date']:>13}"
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
    parser.add_argument("--timeout", type=float, default=240, help="seconds for each peer")
    parser.add_argument("--out", type=Path, default=OUT)
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    asked = parser.parse_args(own)
    if not asked.table:
        if not (asked.model and asked.data):
            parser.error("give MODEL and DATA, or --table")
        for peer in asked.peers:
            row = run(peer, [asked.model, asked.data, *more], asked.timeout)
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    recorded = asked.out.read_text(encoding="utf-8") if asked.out.exists() else ""
    print(table([json.loads(line) for line in recorded.splitlines() if line]) or f"nothing is recorded in {asked.out}")


if __name__ == "__main__":
    main()
