"""Atomic writes: whole or not at all, and every refusal one line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lora_magic import files
from lora_magic.errors import LoraError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with files.atomic_folder(target) as partial:
        assert partial.parent == target.parent and partial.name.startswith(".out.partial-")
        (partial / "sub").mkdir()
        (partial / "sub" / "a.txt").write_text("a")
        assert not target.exists()
    assert (target / "sub" / "a.txt").read_text() == "a"
    assert names(target.parent) == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_folder_leaves_nothing_on_error(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), files.atomic_folder(tmp_path / "new" / "out") as partial:
        (partial / "a").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_folder_keeps_the_old_one_on_error(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), files.atomic_folder(target, overwrite=True) as partial:
        (partial / "new").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["out"] and names(target) == ["old"]


def test_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with files.atomic_folder(target) as partial:
        (partial / "first").touch()
    with pytest.raises(LoraError, match="exists and is not empty") as caught, files.atomic_folder(target):
        pass
    assert "--overwrite" in caught.value.remedy
    with files.atomic_folder(target, overwrite=True) as partial:
        (partial / "second").touch()
    assert names(target) == ["second"] and names(tmp_path) == ["out"]


def test_folder_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(LoraError, match="is a file"), files.atomic_folder(tmp_path / "out", overwrite=True):
        pass
    assert (tmp_path / "out").read_text() == "mine"


def test_folder_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(LoraError, match="exists"), files.atomic_folder(target) as partial:
        (partial / "ours").touch()
        target.mkdir()
        (target / "theirs").touch()
    assert names(tmp_path) == ["out"] and names(target) == ["theirs"]


def test_failed_swap_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    real = Path.rename

    def refuse(source: Path, destination: Path) -> Path:
        if ".partial-" in source.name:
            raise OSError(errno.EIO, "broken")
        return real(source, destination)

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    with pytest.raises(LoraError, match="The disk failed"), files.atomic_folder(target, overwrite=True):
        pass
    assert names(tmp_path) == ["out"] and names(target) == ["old"]


def test_folder_follows_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "drive" / "model")
    with files.atomic_folder(tmp_path / "out") as partial:
        (partial / "a").touch()
    assert (tmp_path / "out").is_symlink() and names(tmp_path / "drive" / "model") == ["a"]


def test_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    files.atomic_file(path, "ü\r\n")
    assert path.read_bytes() == "ü\r\n".encode()
    path.chmod(0o600)
    files.atomic_file(path, b"two")
    assert path.read_bytes() == b"two" and path.stat().st_mode & 0o777 == 0o600
    assert names(path.parent) == ["a.json"]


def test_file_interrupted_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    files.atomic_file(path, "old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.atomic_file(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["a"]


def test_a_file_too_large_for_the_system_is_one_line(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        from lora_magic.errors import LoraError
        from lora_magic.files import atomic_file
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            atomic_file(Path(sys.argv[1]), b"x" * 5000)
        except LoraError as error:
            print(error.problem)
    """)
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a")], capture_output=True, text=True, check=True
    )
    assert "does not allow files as large as" in run.stdout and names(tmp_path) == []


# Forks a writer for every point, so that Python starts once. What is counted: every file that is opened to be written,
# every folder made, every name changed or removed, and the moments before and after two names are exchanged.
KILLED = textwrap.dedent("""
    import json, os, signal, sys
    from pathlib import Path
    from lora_magic import files
    root, exchanges = Path(sys.argv[1]), sys.argv[2] == "exchange"
    EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}
    left = -1

    def count():
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if left > 0 and (event in EVENTS or writes):
            count()

    real = files._exchanged
    def counted(one, other):
        count()
        done = exchanges and real(one, other)
        count()
        return done
    files._exchanged = counted
    sys.addaudithook(heard)

    def write(out, version):
        with files.atomic_folder(out, overwrite=True) as partial:
            for name in "abc":
                (partial / name).write_text(version)

    def killed(number):
        global left
        out = root / str(number) / "out"
        write(out, "old")
        process = os.fork()
        if process == 0:
            left = number
            write(out, "new")
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL

    number = 1
    while killed(number):
        number += 1
    print(number)
""")


def version(folder: Path) -> str:
    """What a folder of three files holds: one and the same version in all of them, or nothing at all."""
    if not folder.exists():
        return "absent"
    (found,) = {(folder / name).read_text() for name in "abc"}
    assert names(folder) == ["a", "b", "c"]
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_killed_at_every_point(tmp_path: Path, way: str) -> None:
    if way == "exchange":
        (tmp_path / "one").mkdir()
        (tmp_path / "other").mkdir()
        if not files._exchanged(tmp_path / "one", tmp_path / "other"):
            pytest.skip("this disk exchanges no names")
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), way], capture_output=True, text=True, check=True)
    points = int(run.stdout)
    assert points > 10
    seen = []
    for number in range(1, points):
        out = tmp_path / str(number) / "out"
        seen.append(version(out))
        with pytest.raises(ValueError, match="enough"), files.atomic_folder(out, overwrite=True):
            raise ValueError("enough")
        assert version(out) in (("old", "new") if seen[-1] == "absent" else (seen[-1],))
        assert names(out.parent) == ["out"]
    assert seen[0] == "old" and seen[-1] == "new" and ("absent" in seen) == (way == "two renames")
    assert version(tmp_path / str(points) / "out") == "new"


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from lora_magic.files import atomic_folder
        with atomic_folder(Path(sys.argv[1])) as partial:
            (partial / "theirs").touch()
            print(partial.name, flush=True)
            sys.stdin.read()
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = process.stdout.readline().strip()
        with files.atomic_folder(tmp_path / "out", overwrite=True) as partial:
            (partial / "ours").touch()
        assert names(tmp_path) == sorted([theirs, "out"]) and names(tmp_path / theirs) == ["theirs"]
        process.kill()
    with files.atomic_folder(tmp_path / "out", overwrite=True) as partial:
        (partial / "again").touch()
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["again"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space"),
        (errno.EACCES, "Permission"),
        (errno.EROFS, "read-only"),
        (errno.EMFILE, "open files"),
    ],
)
def test_disk_errors_are_one_line(number: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(LoraError, match=words) as caught, files.disk_errors(tmp_path / "x"):
        raise OSError(number, "short")
    assert str(tmp_path / "x") in caught.value.problem and caught.value.remedy
    assert "\n" not in str(caught.value)


def test_network_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), files.disk_errors(tmp_path):
        raise ConnectionError("no network")


def test_space_is_measured_at_the_nearest_parent(tmp_path: Path) -> None:
    assert files.free_bytes(tmp_path / "a" / "b") > 0
    files.require_space(tmp_path / "a", 1, "a file")
    with pytest.raises(LoraError, match=r"the model needs [\d,]+ GiB and .* is free"):
        files.require_space(tmp_path / "a" / "b", 10**18, "the model")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1536, "1.5 KiB"), (3 * 2**29, "1.5 GiB"), (820 * 2**20, "820 MiB")]
)
def test_readable_bytes(count: int, text: str) -> None:
    assert files.readable_bytes(count) == text
