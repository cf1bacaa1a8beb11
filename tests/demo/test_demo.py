"""The embedded model and data sets do what README shows, through the public functions alone."""

import json
import shutil
from pathlib import Path

import pytest

import lora_magic
from lora_magic.demo import DATASETS, MODEL_DIR
from tests.demo import figures

NEEDED = {
    "demo-json": {"valid": 0.95, "field": 0.85},
    "demo-tone": {"marker": 0.90, "fact": 0.85},
    "demo-sentiment": {"label": 0.90},
}
QUESTIONS = figures.read(DATASETS["demo-json"].parent / "base-questions.jsonl")


def test_the_model_is_small_and_its_rows_fill_four_bit_blocks() -> None:
    from safetensors import safe_open

    assert sum(file.stat().st_size for file in MODEL_DIR.iterdir()) <= 8_000_000
    assert not [file for file in MODEL_DIR.iterdir() if file.suffix in (".bin", ".pt", ".py")]
    with safe_open(MODEL_DIR / "model.safetensors", "pt") as weights:
        widths = {weights.get_slice(name).get_shape()[-1] for name in weights.keys() if "proj" in name}  # noqa: SIM118
    assert widths and all(width % 256 == 0 for width in widths)


def test_the_base_answers_its_own_held_out_questions() -> None:
    lora_magic.load("demo")
    rows = lora_magic.compare([row["question"] for row in QUESTIONS], adapters="base", max_new_tokens=48).rows
    right = [figures.has_word(row["answer"], made.outputs["base"]) for row, made in zip(QUESTIONS, rows, strict=True)]
    assert len(QUESTIONS) >= 200
    assert sum(right) / len(right) >= 0.92


@pytest.mark.parametrize("name", list(DATASETS))
def test_held_out_prompts_share_no_wording_and_no_entity_with_training_rows(name: str) -> None:
    train, test = (figures.read(DATASETS[name] / f"{part}.jsonl") for part in ("train", "test"))
    assert 150 <= len(train) + len(test) <= 300
    assert len(test) >= 48
    assert figures.overlap(name, train, test) == (set(), set())


@pytest.mark.parametrize("name", list(DATASETS))
def test_an_adapter_changes_the_model_plainly(name: str) -> None:
    lora_magic.load("demo")
    lora_magic.train(name, data=name, rank=8, lr=2e-3, epochs=5, seed=1)
    made = lora_magic.compare()
    test = figures.read(DATASETS[name] / "test.jsonl")
    prompt, reference = figures.COLUMNS[name]
    assert [(row.prompt, row.reference) for row in made.rows] == [(row[prompt], row[reference]) for row in test]
    before = figures.shares(name, test, [row.outputs["base"] for row in made.rows])
    after = figures.shares(name, test, [row.outputs[name] for row in made.rows])
    assert next(iter(before.values())) <= 0.10
    assert all(after[label] >= share for label, share in NEEDED[name].items()), after


def test_the_demo_is_a_model_folder_like_any_other(tmp_path: Path) -> None:
    shutil.copytree(MODEL_DIR, tmp_path / "copied")
    rows = figures.read(DATASETS["demo-tone"] / "train.jsonl")[:40]
    seen = []
    for model in ("demo", str(tmp_path / "copied")):
        lora_magic.load(model)
        curve = lora_magic.train("copy", data=rows, max_steps=5).losses
        seen.append((curve, [row.outputs for row in lora_magic.compare(max_new_tokens=16).rows]))
    assert json.dumps(seen[0]) == json.dumps(seen[1])
