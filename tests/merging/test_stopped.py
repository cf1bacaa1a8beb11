"""Disks that are full, closed or pulled away, and merges that are stopped: one line, and nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_magic import files
from lora_magic.errors import LoraError
from lora_magic.merging import Settings, merge, outlook


def test_no_space_is_known_before(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda path: 10_000_000)
    base = shop.base("llama")
    with pytest.raises(LoraError, match=r"The merged model needs 64\.\d MiB and 9\.5 MiB is free"):
        merge(shop.adapter(base), str(base), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 100 KB, where the machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("mount"):
        pytest.skip("no mount command")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)], check=False, stderr=-3)
    if mounted.returncode:
        pytest.skip("mounting needs privileges")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up(shop: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["lora_magic.merging.merge"]
    monkeypatch.setattr(module, "require_room", lambda *rest: None)
    base = shop.base("llama")
    with pytest.raises(LoraError, match="No space is left") as caught:
        merge(shop.adapter(base), str(base), small_disk / "deep" / "out")
    assert caught.value.problem and "\n" not in str(caught.value)
    assert list(small_disk.iterdir()) == []


def test_a_limit_on_file_size(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    script = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        from lora_magic.errors import LoraError
        from lora_magic.merging import merge
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            merge(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
        except LoraError as error:
            print(error.problem)
    """)
    arguments = [str(shop.adapter(base)), str(base), str(tmp_path / "out")]
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert "does not allow files as large as" in run.stdout and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", [0, 7, -3, -1])
@pytest.mark.parametrize("old", [False, True])
def test_interrupt_leaves_what_was_there(
    shop: Any, tmp_path: Path, probes: list[list[int]], step: int, old: bool
) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    seen: list[str] = []
    merge(adapter, str(base), tmp_path / "count", probes=probes, progress=lambda share, what: seen.append(what))
    shutil.rmtree(tmp_path / "count")
    out = tmp_path / "new" / "out"
    if old:
        out.mkdir(parents=True)
        (out / "config.json").write_text("{}")
    calls: list[str] = []

    def interrupt(share: float, what: str) -> None:
        calls.append(what)
        if len(calls) == step % len(seen) + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(adapter, str(base), out, Settings(overwrite=old), probes=probes, progress=interrupt)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == (["new", "new/out", "new/out/config.json"] if old else [])


def test_killed_merge_leaves_no_output(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from lora_magic.merging import merge
        def kill(share, what):
            if share > 0.3:
                os.kill(os.getpid(), signal.SIGKILL)
        merge(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), progress=kill)
    """)
    adapter = shop.adapter(base)
    arguments = [str(adapter), str(base), str(tmp_path / "out")]
    run = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
    assert run.returncode == -9 and not (tmp_path / "out").exists()
    merge(adapter, str(base), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_permission_is_asked_for_before(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(LoraError, match="Permission is missing to write in"):
        merge(shop.adapter(shop.base("llama")), str(shop.base("llama")), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_outlook_says_what_merging_will_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, free = 3_000_000_000, 9 * 2**30
    monkeypatch.setattr(sys.modules["lora_magic.merging.outlook"], "free_bytes", lambda path: free)
    here = outlook("x/y", parameters, on_disk=True, folder=tmp_path)
    assert here == "merging will need the 16-bit original, which is here, and 5.6 GiB to write; 9.0 GiB is free"
    fetched = outlook("unsloth/y-bnb-4bit", parameters, on_disk=False, folder=tmp_path)
    assert "the 16-bit original unsloth/y: 5.6 GiB to fetch and 5.6 GiB to write" in fetched
    assert "enough with --low-disk" in fetched
    free = 2**30
    assert outlook("x/y", parameters, on_disk=True, folder=tmp_path).endswith("4.6 GiB too little")
    assert "no 16-bit original is known" in outlook("x/y", parameters, on_disk=False, folder=tmp_path)
