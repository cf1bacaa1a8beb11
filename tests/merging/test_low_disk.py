"""A base on the Hub, fetched a file at a time: against a server of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_magic.merging import Settings, merge
from tests.merging.hub_server import Hub

SCRIPT = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from lora_magic.errors import LoraError
    from lora_magic.merging import Settings, merge
    most = 0
    def look(share, what):
        global most
        here = list(Path(sys.argv[2]).parent.rglob("originals/*.safetensors"))
        most = max(most, len(here))
    try:
        settings = Settings("bfloat16", shard_size=60_000, low_disk=True)
        adapter, out = Path(sys.argv[1]), Path(sys.argv[2])
        result = merge(adapter, "someone/model", out, settings, probes=[[1, 2, 3]], progress=look)
        print(json.dumps([most, list(result.notes)]))
    except LoraError as error:
        print(json.dumps([most, str(error)]))
""")


@pytest.fixture
def hub(shop: Any) -> Iterator[Hub]:
    """A sharded llama on a stand-in for the Hub."""
    served = Hub(shop.base("llama", shard="40KB"))
    yield served
    served.close()


def merged(hub: Hub, adapter: Path, out: Path) -> tuple[int, Any]:
    """What the merge said in a process that knows only this Hub, and how many fetched files lay there at most."""
    surroundings = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(out.parent.parent / "cache"), "OMP_NUM_THREADS": "1",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "2", "HF_HUB_ETAG_TIMEOUT": "2",
    }  # fmt: skip
    command = [sys.executable, "-c", SCRIPT, str(adapter), str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=surroundings)
    most, said = json.loads(run.stdout.splitlines()[-1])
    return most, said


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def test_one_file_at_a_time(shop: Any, hub: Hub, tmp_path: Path) -> None:
    adapter = shop.adapter(shop.base("llama"))
    most, notes = merged(hub, adapter, tmp_path / "here" / "out")
    assert most == 1, notes
    assert any("--low-disk" in note for note in notes)
    fetched = [name for name in hub.fetched if name.endswith(".safetensors")]
    assert sorted(fetched) == sorted(set(fetched)) == sorted(p.name for p in hub.folder.glob("*.safetensors"))
    merge(adapter, str(hub.folder), tmp_path / "local", Settings("bfloat16", shard_size=60_000))
    assert weights(tmp_path / "here" / "out") == weights(tmp_path / "local")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["out"]


def test_network_lost_half_way(shop: Any, hub: Hub, tmp_path: Path) -> None:
    adapter = shop.adapter(shop.base("llama"))
    out = tmp_path / "here" / "out"
    files = sorted(path.name for path in hub.folder.glob("*.safetensors"))
    hub.breaks_at = files[len(files) // 2]
    _, said = merged(hub, adapter, out)
    assert "someone/model cannot be reached on the Hub" in said and "it goes on where it stopped" in said
    assert "\n" not in said and not out.exists()
    finished = len(list((out.parent / ".out.merging" / "model").glob("*.safetensors")))
    assert finished > 0
    hub.broken, hub.breaks_at = False, ""
    before = len(hub.fetched)
    _, notes = merged(hub, adapter, out)
    assert any(note.startswith("went on from a merge that was stopped") for note in notes)
    again = {name for name in hub.fetched[before:] if name.endswith(".safetensors")}
    assert files[0] not in again and files[-1] in again
    merge(adapter, str(hub.folder), tmp_path / "local", Settings("bfloat16", shard_size=60_000))
    assert weights(out) == weights(tmp_path / "local")
    assert [path.name for path in out.parent.iterdir()] == ["out"]
