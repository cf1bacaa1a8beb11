"""`python -m lora_magic doctor` in environments that are broken in one way each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lora_magic.diagnosis import machine
from tests.doctor.places import REPOSITORY, Place, healthy, own_requirements

Break = Callable[[Place], object]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return healthy(tmp_path / "place")


def said(done: subprocess.CompletedProcess[str], state: str) -> str:
    """The lines of one state, with what stands under them, as one."""
    assert done.stderr == ""
    kept, taking = [], False
    for text in done.stdout.splitlines():
        taking = text.startswith(state) or (taking and text.startswith("  "))
        kept += [text.strip()] if taking else []
    return " ".join(kept)


def test_where_all_is_there_a_run_has_what_it_needs(place: Place) -> None:
    done = place.doctor()
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("A run has all it needs here.")
    fine = said(done, "fine")
    for shown in (
        "GPU Tesla T4, 14.7 of 15.0 GiB free",
        "driver 550.54.15",
        "torch 2.11.0+cu128",
        "RAM ",
        "disk ",
        "Python",
    ):
        assert shown in fine
    assert all(requirement.name in fine for requirement in own_requirements())
    assert said(done, "fails") == said(done, "note") == ""


BROKEN: dict[str, tuple[Break, str, str]] = {
    "missing": (
        lambda place: place.lacks("trl"),
        "trl: missing: lora_magic needs <1.15,>=1.12",
        "pip install trl==1.14.2",
    ),
    "too old": (
        lambda place: place.has("datasets", "4.0.0"),
        "datasets 4.0.0: lora_magic takes <5,>=4.7",
        "pip install datasets==4.8.5",
    ),
    "too new": (
        lambda place: place.has("trl", "1.16.0"),
        "trl 1.16.0: lora_magic takes <1.15,>=1.12",
        "pip install trl==1.14.2",
    ),
    "too new for Unsloth": (
        lambda place: place.has("unsloth", "2026.10.9", ["transformers<5.15"]),
        "transformers 5.17.0: unsloth takes <5.15",
        'pip install "transformers',
    ),
    "a need of the stack": (
        lambda place: place.has("transformers", "5.17.0", ["tokenizers<0.24,>=0.22", 'never; extra == "all"']),
        "tokenizers: missing: transformers needs <0.24,>=0.22",
        'pip install "tokenizers<0.24,>=0.22"',
    ),
    "torchao that peft refuses": (
        lambda place: place.has("torchao", "0.10.0"),
        "torchao 0.10.0: peft refuses to work beside one older than 0.16.0",
        'pip install "torchao>=0.16.0"',
    ),
    "metadata gone": (
        lambda place: next(place.site.glob("peft-*")).joinpath("METADATA").unlink(),
        "peft: broken metadata:",
        'pip install --ignore-installed --no-deps "peft==0.21.2"',
    ),
    "metadata that is no text": (
        lambda place: next(place.site.glob("peft-*")).joinpath("METADATA").write_bytes(b"\xff\xfe\x00Name"),
        "peft: broken metadata:",
        'pip install --ignore-installed --no-deps "peft==0.21.2"',
    ),
    "files gone": (
        lambda place: (
            place.has("transformers", "5.17.0", transformers=""),
            (place.site / "transformers" / "__init__.py").unlink(),
        ),
        "transformers 5.17.0: its files are gone:",
        "pip install --force-reinstall --no-deps transformers==5.17.0",
    ),
    "does not import": (
        lambda place: (place.site / "pyarrow" / "__init__.py").write_text("raise ImportError('no libarrow.so')"),
        "pyarrow 15: does not import: ImportError: no libarrow.so",
        "pip install --force-reinstall --no-deps pyarrow==15",
    ),
    "imports what is not there": (
        lambda place: (place.site / "datasets" / "__init__.py").write_text("import dill"),
        "datasets 4.8.5: does not import: ModuleNotFoundError: No module named 'dill'",
        "pip install --force-reinstall --no-deps datasets==4.8.5",
    ),
    "an import that ends Python": (
        lambda place: (place.site / "numpy" / "__init__.py").write_text("import os; os._exit(3)"),
        "imports: a package ends Python while it is imported",
        "restart the kernel",
    ),
    "a file of the user's own in the way": (
        lambda place: (place.has("datasets", "4.8.5", datasets=""), (place.here / "datasets.py").touch()),
        "datasets.py is imported in its place",
        "rename",
    ),
    "a file of the user's own in place of Python's": (
        lambda place: (place.here / "random.py").write_text("x = 1"),
        "random.py is imported in place of Python's own module",
        "rename",
    ),
    "a package of the user's own in place of Python's": (
        lambda place: ((place.here / "json").mkdir(), (place.here / "json" / "__init__.py").touch()),
        "json is imported in place of Python's own module",
        "rename",
    ),
    "no library for the card": (
        lambda place: (
            place.has("bitsandbytes", "0.50.2", bitsandbytes=""),
            (place.site / "bitsandbytes" / "libbitsandbytes_cuda130.so").touch(),
        ),
        "bitsandbytes 0.50.2: no library for torch's CUDA 12.8",
        "pip install -U bitsandbytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("breaks", "told", "mends"), BROKEN.values(), ids=BROKEN)
def test_what_would_make_a_run_fail_is_told_with_what_mends_it(
    breaks: Break, told: str, mends: str, place: Place
) -> None:
    breaks(place)
    done = place.doctor()
    assert done.returncode == 1, done.stdout
    assert "would make a run fail" in done.stdout.splitlines()[0]
    assert told in said(done, "fails")
    assert f"→ {mends}" in done.stdout


COSTLY: dict[str, tuple[Break, str]] = {
    "no card": (lambda place: (place.root / "bin" / "nvidia-smi").unlink(), "GPU: trains on the CPU"),
    "a driver that does not answer": (lambda place: place.card(code=9), "GPU: the driver does not answer → restart"),
    "an answer that is none": (lambda place: place.card("No devices were found"), "GPU: the driver does not answer"),
    "a card in use": (lambda place: place.card("Tesla T4, 550.1, 15360, 900, 7.5"), "something else holds"),
    "a card too old": (lambda place: place.card("Tesla K80, 470.1, 11441, 11000, 3.7"), "Unsloth needs 7.0"),
    "a build for the CPU": (lambda place: place.has("torch", "2.13.0+cpu"), "a build for the CPU, beside a Tesla T4"),
    "another version of what nothing computes with": (
        lambda place: (place.has("torch", "2.11.0+cu128", ["setuptools>=77"]), place.has("setuptools", "65.5")),
        'setuptools 65.5: torch takes >=77 → pip install "setuptools>=77"',
    ),
    "no Unsloth beside a card": (lambda place: place.lacks("unsloth"), "unsloth: missing: a run is about 2x slower"),
    "an old Unsloth": (lambda place: place.has("unsloth", "2025.3.1"), "unsloth 2025.3.1: 2026.10.7 is the oldest"),
}  # fmt: skip


@pytest.mark.parametrize(("breaks", "told"), COSTLY.values(), ids=COSTLY)
def test_what_a_run_works_with_at_a_cost_is_a_note(breaks: Break, told: str, place: Place) -> None:
    breaks(place)
    done = place.doctor()
    assert done.returncode == 0, done.stdout
    assert told in said(done, "note")


@pytest.mark.parametrize(
    ("cuda", "driver", "clash"), [("13.0", "12.4", True), ("12.8", "12.4", False), ("12.8", "13.0", False)]
)
def test_a_torch_whose_cuda_the_driver_cannot_run_is_told(cuda: str, driver: str, clash: bool, place: Place) -> None:
    place.has("torch", "2.13.0", torch="raise ImportError")
    (place.site / "torch" / "version.py").write_text(f"debug = False\ncuda: str | None = '{cuda}'\nhip = None\n")
    place.card(cuda=driver)
    done = place.doctor()
    assert (f"its CUDA {cuda} is newer than what the driver runs, {driver}" in said(done, "note")) == clash
    assert done.returncode == 0


def test_no_card_is_told_apart_from_a_card_that_is_hidden(place: Place) -> None:
    place.environment["CUDA_VISIBLE_DEVICES"] = ""
    assert "GPU: trains on the CPU" in said(place.doctor(), "note")


def test_unmet_needs_of_unsloth_cost_nothing_where_there_is_no_card(place: Place) -> None:
    place.has("unsloth", "2026.10.9", ["structlog>=24.1"])
    (place.root / "bin" / "nvidia-smi").unlink()
    done = place.doctor()
    assert done.returncode == 0
    assert 'structlog: missing: unsloth needs >=24.1 → pip install "structlog>=24.1"' in said(done, "note")


def test_several_packages_are_mended_by_one_command(place: Place) -> None:
    for name in ("trl", "bitsandbytes"):
        place.lacks(name)
    place.has("datasets", "4.0.0")
    done = place.doctor()
    assert done.stdout.startswith("3 things would make a run fail.")
    assert done.stdout.splitlines()[-1] == "pip install bitsandbytes==0.50.2 datasets==4.8.5 trl==1.14.2"


def test_it_answers_where_no_package_is_there_at_all(place: Place) -> None:
    done = place.doctor(packages=False)
    assert done.returncode == 1
    fails = said(done, "fails")
    assert "packaging: no version can be compared without it → pip install packaging" in fails
    assert all(f"{requirement.name}: missing" in fails for requirement in own_requirements())


@pytest.fixture
def small_disk(place: Place) -> Iterator[Path]:
    """A real file system of 4 MB where the doctor stands, full."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place.here)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting needs privileges")
    with (place.here / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield place.here
    subprocess.run(["umount", "-l", str(place.here)], check=True)


def test_a_full_disk_fails_a_run(place: Place, small_disk: Path) -> None:
    done = place.doctor()
    assert done.returncode == 1
    assert "disk 0 bytes free: a run needs 200 MiB" in said(done, "fails")


@pytest.mark.parametrize("name", ["html.py", "logging.py", "platform.py", "queue.py"])
def test_one_file_in_the_way_is_one_problem(place: Place, name: str) -> None:
    (place.here / name).write_text("x = 1")
    (place.here / "this.py").touch()
    (place.here / "venv").mkdir()
    done = place.doctor()
    assert done.returncode == 1
    assert done.stdout.startswith("One thing would make a run fail.") and f"rename {place.here / name}" in done.stdout


def test_a_folder_that_is_gone_or_closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = place.here / "gone"
    gone.mkdir()
    script = "import os, sys; os.rmdir(os.getcwd()); from lora_magic.__main__ import main; sys.exit(main(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=gone, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 1 and "the current folder is gone" in said(done, "fails")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != Path.cwd())
    assert any(check.state == "fails" and "closed to you" in check.told for check in machine.checks())


def test_a_token_is_found_and_not_shown(place: Place) -> None:
    assert "Hub token none" in said(place.doctor(), "fine")
    secret = "hf_abcdefghijklmnop"
    place.environment["HF_TOKEN"] = secret
    done = place.doctor()
    assert "Hub token present" in said(done, "fine")
    assert secret[3:] not in done.stdout
    del place.environment["HF_TOKEN"]
    kept = place.root / ".cache" / "huggingface" / "token"
    kept.parent.mkdir(parents=True)
    kept.write_text(secret)
    done = place.doctor()
    assert "Hub token present" in said(done, "fine")
    assert secret[3:] not in done.stdout


def test_torch_is_never_imported(place: Place) -> None:
    """Not even by the process that tries the other packages."""
    touched = place.root / "imported"
    place.has("torch", "2.11.0+cu128", torch=f"open({str(touched)!r}, 'w')")
    (place.site / "datasets" / "__init__.py").write_text("try:\n    import torch\nexcept ImportError:\n    pass\n")
    done = place.doctor()
    assert done.returncode == 0, done.stdout
    assert not touched.exists()


def test_the_command_line_helps_and_refuses(place: Place) -> None:
    helped = place.doctor("doctor", "--help")
    assert helped.returncode == 0
    assert "Ends with 1 when a run would fail" in " ".join(helped.stdout.split())
    assert "doctor" in place.doctor("--help").stdout
    wrong = place.doctor("docter")
    assert wrong.returncode == 2
    assert "docter" in wrong.stderr
    assert place.doctor("doctor", packages=False).returncode == 1


def test_on_this_machine_a_run_has_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lora_magic", "doctor"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
