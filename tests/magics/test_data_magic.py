"""`%lora_data` in a shell: files, variables, rows in the cell, another model's tokenizer, mistakes."""

import json
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import lora_magic
from lora_magic.errors import LoraError
from lora_magic.results import DataReport
from tests.models import rows


def test_a_variable_a_file_and_the_cell_give_the_same_report(shell: InteractiveShell, tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows())
    Path("sums.jsonl").write_text(lines)
    shell.user_ns["sums"] = rows()
    by_name = shell.run_line_magic("lora_data", "sums")
    by_file = shell.run_line_magic("lora_data", "sums.jsonl")
    by_cell = shell.run_cell_magic("lora_data", "", lines)
    twin = lora_magic.data(rows())
    reports = [by_name, by_file, by_cell, twin]
    assert all(isinstance(made, DataReport) and made.rows == 40 for made in reports)
    assert len({made.trained_fraction for made in reports}) == 1
    assert "no model is loaded" in by_name.tokenizer


def test_the_loaded_base_counts_and_another_model_on_request(shell: InteractiveShell, tiny_folder: Path) -> None:
    shell.user_ns["sums"] = rows()
    other = shell.run_line_magic("lora_data", f'sums --model "{tiny_folder}" --max-length 20')
    assert other.tokenizer == str(tiny_folder) and other.max_length == 20
    shell.run_line_magic("lora_load", f'"{tiny_folder}"')
    loaded = shell.run_line_magic("lora_data", "sums")
    assert loaded.tokenizer == str(tiny_folder) and loaded.max_length == 512
    assert list(loaded.token_counts) == list(other.token_counts)
    assert list(shell.run_line_magic("lora_data", "sums --model demo").token_counts) != list(loaded.token_counts)


def test_settings_in_the_cell_and_on_the_line(shell: InteractiveShell) -> None:
    shell.user_ns["odd"] = [{"Q": row["question"], "A": row["answer"]} for row in rows()]
    made = shell.run_cell_magic("lora_data", "odd", "map: prompt=A,completion=Q\ntrain-on: all\nshow: 1")
    assert made.examples[0].turns[0][1] == rows()[0]["answer"] and made.shown == 1
    assert made.trained_fraction == 1
    assert lora_magic.data(shell.user_ns["odd"], map={"prompt": "Q", "completion": "A"}).columns[0] == ("prompt", "Q")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--show 1", "needs X"),
        ("nothing-there", "nothing-there"),
        ("sums --map prompt=question", "completion"),
        ("sums --map prompt=quest,completion=answer", "question"),
        ("sums --model no-such-model", "no-such-model"),
        ("sums --template no.jinja", r"no\.jinja"),
        ("sums --show 1000", "show must be"),
    ],
)
def test_mistakes_are_one_line(shell: InteractiveShell, line: str, said: str) -> None:
    shell.user_ns["sums"] = rows()
    with pytest.raises(LoraError, match=said) as caught:
        shell.run_line_magic("lora_data", line)
    assert "\n" not in str(caught.value)
