"""A base that cannot fit is refused before its weights are read; a card that torch cannot use is not passed over."""

import json
from pathlib import Path

import pytest

from lora_magic.backends.room import check_room, family, unused_card
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError
from lora_magic.planning.hardware import Hardware
from tests.planning.configs import GEMMA_3_4B, LLAMA_8B

GIB = 2**30
CPU = Hardware("cpu", "CPU", (0, 0), 16 * GIB, 12 * GIB, 2)


def card(free: float, total: float = 14.56) -> Hardware:
    return Hardware("cuda", "Tesla T4", (7, 5), int(total * GIB), int(free * GIB), 2)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("on", "bits", "told", "remedy"),
    [
        (card(14.4), 16, "takes 15.0 GiB at 16 bits; of the 14.6 GiB of T4 14.4 are free", "--bits 4"),
        (card(3.9, 4.0), 4, "takes 5.3 GiB at 4 bits; of the 4.0 GiB of T4 3.9 are free", "smaller model"),
        (card(2.0), 4, "of the 14.6 GiB of T4 2.0 are free", "nvidia-smi"),
    ],
)
def test_what_cannot_fit_is_refused_with_figures(folder: str, on: Hardware, bits: int, told: str, remedy: str) -> None:
    with pytest.raises(LoraError) as caught:
        check_room(folder, LoadConfig(folder), on, bits)
    assert told in caught.value.problem and remedy in caught.value.remedy


def test_what_fits_is_not(folder: str, tmp_path: Path) -> None:
    check_room(folder, LoadConfig(folder), card(14.4), 4)
    check_room(folder, LoadConfig(folder), CPU, 16)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "strange"}))
    check_room(folder, LoadConfig(folder), card(0.1), 4)


def test_the_text_part_names_the_family(folder: str, tmp_path: Path) -> None:
    assert family(folder, LoadConfig(folder)) == "llama"
    (tmp_path / "config.json").write_text(json.dumps(GEMMA_3_4B))
    assert family(folder, LoadConfig(folder)) == "gemma3_text"


@pytest.mark.parametrize(
    ("cuda", "told"),
    [
        (None, "Tesla T4 is not used: torch 2.13.0 is built without CUDA"),
        ("12.8", "its driver is too old for CUDA 12.8 of torch 2.13.0"),
    ],
)
def test_a_card_that_torch_cannot_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: str | None, told: str
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'Tesla T4, 15360, 14900, 7.5'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert told.removeprefix("Tesla ") in unused_card(CPU, "2.13.0", cuda)
    assert unused_card(card(14.0), "2.13.0", cuda) == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert unused_card(CPU, "2.13.0", cuda) == ""
