"""The scripts around measured rows: fitting the memory formulas, rows that peers train on, the table of peers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_magic.planning.architecture import read
from lora_magic.planning.calibration import data
from lora_magic.planning.memory import GIB, peak
from lora_magic.planning.setting import Setting
from tests.benchmarks.gpu.fit_memory import ROWS, errors, fit, settings, table
from tests.benchmarks.gpu.peers import common, run
from tests.planning.configs import LLAMA_1B, LLAMA_8B


@pytest.fixture
def calibration() -> Iterator[dict[str, Any]]:
    """The loaded coefficients, read from the file again afterwards."""
    data.cache_clear()
    memory: dict[str, Any] = data("calibration")["memory"]
    yield memory
    data.cache_clear()


def rows(memory: dict[str, Any]) -> list[dict[str, Any]]:
    """What a card would measure whose coefficients are other ones."""
    memory["activations"]["unsloth"], memory["bytes_a_logit"]["fused"], memory["fixed_mib"] = 1.09, 8.5, 140.0
    made = []
    for config in (LLAMA_1B, LLAMA_8B):
        for length, micro in ((256, 8), (512, 8), (2048, 1), (2048, 4)):
            for kind in ("off", "on", "offload"):
                gib = peak(read(config), Setting(length * micro, length, kind)) / GIB
                made.append({
                    "model": config, "length": length, "micro_batch": micro, "checkpointing": kind, "bits": 4,
                    "rank": 16, "optimizer": "adamw-8bit", "accumulation": 1, "backend": "unsloth",
                    "attention": "efficient",
                    "padded": False, "peak_gib": gib, "failed": "",
                })  # fmt: skip
    return [*made, {**made[0], "peak_gib": 14.5, "failed": "out of memory"}]


def test_the_fit_recovers_what_a_card_measured_and_leaves_failures_out(calibration: dict[str, Any]) -> None:
    measured = rows(calibration)
    data.cache_clear()
    found = settings(measured)
    assert len(found) == len(measured) - 1
    before = max(map(abs, errors(found)))
    fit(found)
    assert max(map(abs, errors(found))) < 0.01 < before
    assert table(found).splitlines()[-1].startswith("24 settings")


@pytest.mark.skipif(not ROWS.exists(), reason="no measured rows are recorded yet")
def test_predicted_peaks_are_within_5_percent_of_measured_ones_and_at_most_3_percent_short() -> None:
    found = settings([json.loads(line) for line in ROWS.read_text().splitlines() if line])
    assert len(found) >= 12
    off = errors(found)
    assert max(off) <= 0.05 and min(off) >= -0.03, table(found)


class Words:
    """A tokenizer of words, whose template opens each turn with its role."""

    def apply_chat_template(self, turns: Any, tokenize: bool, add_generation_prompt: bool = False) -> str:
        text = " ".join(f"<{turn['role']}> {turn['content']}" for turn in turns)
        return text + " <assistant>" if add_generation_prompt else text

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [len(word) for word in text.split()]}


def test_peers_get_the_same_tokens_and_mask(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [{"question": "one two", "answer": "three"}, {"instruction": "a", "input": "", "output": "bb ccc"}]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    asked: Any = type("Asked", (), {"data": file, "steps": 1, "mask": "answers", "length": 0})()
    first, second = common.rows(asked, Words())
    assert first == {"input_ids": [6, 3, 3, 11, 5], "labels": [-100, -100, -100, -100, 5]}
    assert second["labels"] == [-100, -100, -100, 2, 3]
    asked.length = 4
    assert [row["input_ids"] for row in common.rows(asked, Words())] == [[6, 3, 3, 11], [5, 6, 1, 11]]
    asked.mask, asked.length = "all", 0
    assert common.rows(asked, Words())[0] == {"text": "<user> one two <assistant> three"}


def test_the_table_compares_only_what_shares_card_model_and_rows() -> None:
    row = {
        "card": "H200", "multiprocessors": 8, "model": LLAMA_8B, "data": "gsm8k", "mask": "all", "length": 0,
        "sitting": 1, "peak_gib": 6.2, "first_step_s": 31.0, "seconds_a_step": 2.0,
    }  # fmt: skip
    shown = run.table([
        {**row, "peer": "unsloth notebook", "tokens_a_second": 700.0},
        {**row, "peer": "unsloth loop", "tokens_a_second": 1400.0, "micro_batch": 8, "checkpointing": "off"},
        {**row, "peer": "unsloth loop", "tokens_a_second": 9.0, "micro_batch": 8, "checkpointing": "on", "sitting": 2},
        {**row, "peer": "trl", "tokens_a_second": 500.0, "model": LLAMA_1B},
        {"peer": "packing", "failed": "Traceback\nOutOfMemoryError: CUDA"},
    ])  # fmt: skip
    assert "unsloth loop 8, off" in shown and "2.00x" in shown and "1.00x" in shown
    (other,) = (line for line in shown.splitlines() if line.startswith("unsloth loop 8, on"))
    assert "x" not in other, "another sitting's rate is compared with nothing"
    assert "77%" in shown, "1,400 tokens a second times 30.6 GFLOP of an 8B model, of 55.7 TFLOP/s"
    assert shown.count("multiprocessors") == 2 and shown.endswith("packing: OutOfMemoryError: CUDA")
    assert run.line_of('noise\n{"peer": "trl", "steps": 3}\nbye') == {"peer": "trl", "steps": 3}
    assert run.line_of("nothing") is None
