"""A disk that is full before a run, and one that fills up while it goes."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lora_magic.config import CompareConfig, MergeConfig, TrainConfig
from lora_magic.display.progress import Progress
from lora_magic.errors import LoraError
from lora_magic.events import Event, Stepped
from tests.models import rows
from tests.session.test_session import loaded


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real file system of 4 MB to stand in."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting needs privileges")
    monkeypatch.chdir(disk)
    yield disk
    monkeypatch.undo()
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_refused_before_training_and_the_session_goes_on(tiny_folder: Path, small_disk: Path) -> None:
    session = loaded(tiny_folder)
    fill(small_disk)
    with pytest.raises(LoraError, match=r"free") as caught:
        session.train(TrainConfig(data=rows(), max_steps=2), [], {}, lambda line: None)
    assert caught.value.remedy
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    assert session.status().base is not None
    (small_disk / "filler").unlink()
    assert session.train(TrainConfig(data=rows(), max_steps=2), [], {}, lambda line: None).reason == "completed"


def test_a_disk_that_fills_up_fails_the_cell_but_loses_no_adapter(tiny_folder: Path, small_disk: Path) -> None:
    def eat(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 2:
            fill(small_disk)

    session = loaded(tiny_folder)
    config = TrainConfig(name="kept", data=rows(), max_steps=3, lr=5e-3)
    with pytest.raises(LoraError, match="could not be written") as caught:
        session.train(config, [eat], {}, lambda line: None)
    assert "in memory" in caught.value.remedy
    assert session.active == "kept"
    columns = CompareConfig(prompts="What is 3 and 3?", max_new_tokens=8)
    assert session.compare(columns, Progress("comparing")).adapters == ("base", "kept")
    (small_disk / "filler").unlink()
    merged = session.merge(MergeConfig("kept", str(small_disk.parent / "merged")), lambda share, what: None)
    assert merged.max_logit_difference is not None and merged.max_logit_difference <= 1e-3
