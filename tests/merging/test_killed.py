"""A merge that is killed: the output is absent or whole, and the next run finishes to the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lora_magic import files
from lora_magic.errors import LoraError
from lora_magic.merging import Settings, merge

MERGE = Settings("bfloat16", shard_size=60_000)
POINTS = 20

# Forks a merge for every point, so that the imports are paid once. What is counted: every write of values, every
# file that is opened to be written, and every rename, link, removal and folder made.
SCRIPT = textwrap.dedent("""
    import json, os, shutil, signal, sys
    from pathlib import Path
    from lora_magic.backends.stack import import_stack
    import_stack()
    import torch
    torch.set_num_threads(1)
    from lora_magic.merging import Settings, merge, sink
    adapter, base, root, points = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    settings = Settings("bfloat16", shard_size=60_000, overwrite=True)
    EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
    made, deadly = 0, 0

    def count():
        global made
        made += 1
        if made == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if made >= 0 and (event in EVENTS or writes):
            count()

    sink.BLOCK_BYTES = 4096
    real = sink.write
    def counted(stream, values):
        count()
        return real(stream, values)
    sink.write = counted
    sys.addaudithook(heard)

    def child(out, at, old):
        if old:
            shutil.copytree(root / "old", out)
        process = os.fork()
        if process == 0:
            global made, deadly
            made, deadly = 0, at
            merge(adapter, base, out, settings)
            os.write(pipe[1], made.to_bytes(8, "little"))
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    pipe = os.pipe()
    assert child(root / "whole", 0, False) == 0
    total = int.from_bytes(os.read(pipe[0], 8), "little")
    said = []
    for number in range(points):
        at, old = 1 + number * (total - 1) // (points - 1), number % 2 == 1
        status = child(root / f"out-{number}", at, old)
        said.append([at, status, old])
    print(json.dumps([total, said]))
""")


def digest(folder: Path) -> dict[str, str]:
    """A hash of every file; the model card's has no time in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_twenty_points(shop: Any, tmp_path: Path) -> None:
    import json

    base = shop.base("llama", shard="40KB")
    adapter = shop.adapter(base)
    merge(adapter, str(base), tmp_path / "old", Settings("float32"))
    before = digest(tmp_path / "old")
    command = [sys.executable, "-c", SCRIPT, str(adapter), str(base), str(tmp_path), str(POINTS)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    total, said = json.loads(run.stdout.splitlines()[-1])
    whole = digest(tmp_path / "whole")
    assert total > 3 * POINTS and len(said) == POINTS and len(whole) > 5
    went_on, exchanges = 0, files._exchanged(tmp_path / "old", tmp_path / "whole")
    if exchanges:
        assert files._exchanged(tmp_path / "old", tmp_path / "whole")
    for number, (at, status, old) in enumerate(said):
        out = tmp_path / f"out-{number}"
        assert status == -9, f"point {at} was not reached"
        assert out.exists() or not (old and exchanges)
        if out.exists():
            assert digest(out) in ([whole, before] if old else [whole])
        again = merge(adapter, str(base), out, Settings("bfloat16", shard_size=60_000, overwrite=True))
        went_on += any("went on from a merge" in note for note in again.notes)
        assert digest(out) == whole
    assert went_on > POINTS // 4
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"old", "whole", *(f"out-{number}" for number in range(POINTS))}


def stopped(shop: Any, base: Path, adapter: Path, out: Path, settings: Settings = MERGE) -> None:
    """Leave the work of a killed merge behind: all files but the last."""
    script = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        from lora_magic.merging import Settings, merge
        def kill(share, what):
            if share > 0.5:
                os.kill(os.getpid(), signal.SIGKILL)
        merge(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), {settings!r}, progress=kill)
    """)
    run = subprocess.run([sys.executable, "-c", script, str(adapter), str(base), str(out)], check=False)
    assert run.returncode == -9 and not out.exists()


def test_only_the_same_merge_goes_on(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter, other = shop.adapter(base), shop.adapter(base)
    for settings, which in ((MERGE, other), (Settings("float16", shard_size=60_000), adapter)):
        out = tmp_path / settings.dtype
        stopped(shop, base, adapter, out)
        result = merge(which, str(base), out, settings)
        assert not any("went on" in note for note in result.notes)
        merge(which, str(base), tmp_path / "fresh", Settings(settings.dtype, shard_size=60_000, overwrite=True))
        for path in (tmp_path / "fresh").glob("*.safetensors"):
            assert (out / path.name).read_bytes() == path.read_bytes()


def test_a_damaged_finished_file_is_found(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)
    stopped(shop, base, adapter, tmp_path / "out")
    done = next((tmp_path / ".out.merging" / "model").glob("*.safetensors"))
    done.write_bytes(done.read_bytes()[:-7])
    with pytest.raises(LoraError, match="cut short or damaged"):
        merge(adapter, str(base), tmp_path / "out", MERGE)
    assert list(tmp_path.iterdir()) == []
    merge(adapter, str(base), tmp_path / "out", MERGE)


def test_two_merges_into_one_folder(shop: Any, tmp_path: Path) -> None:
    base = shop.base("llama")
    adapter = shop.adapter(base)

    def second(share: float, what: str) -> None:
        command = "import sys; from pathlib import Path; from lora_magic.merging import merge\n"
        command += "merge(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))"
        arguments = [sys.executable, "-c", command, str(adapter), str(base), str(tmp_path / "out")]
        said.append(subprocess.run(arguments, capture_output=True, text=True, check=False).stderr)
        raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        merge(adapter, str(base), tmp_path / "out", progress=second)
    assert f"Process {os.getpid()} is merging into {tmp_path / 'out'} now" in said[0]
    assert list(tmp_path.iterdir()) == []
