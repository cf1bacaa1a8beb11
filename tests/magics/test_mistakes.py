"""Mistakes and corners that once went wrong silently."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from lora_magic.errors import LoraError
from tests.models import rows


@pytest.fixture
def loaded(tiny_folder: Path) -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "lora_magic")
    shell.user_ns["rows"] = rows()
    shell.run_cell(f'%lora_load "{tiny_folder}"').raise_error()
    yield shell
    shell.run_line_magic("unload_ext", "lora_magic")
    InteractiveShell.clear_instance()


def result(shell: InteractiveShell, cell: str) -> Any:
    made = shell.run_cell(cell)
    made.raise_error()
    return made.result


def error(shell: InteractiveShell, cell: str) -> LoraError:
    found = shell.run_cell(cell).error_in_exec
    assert isinstance(found, LoraError), found
    return found


def test_a_terminal_still_waits_for_a_cell_s_body(loaded: InteractiveShell) -> None:
    assert loaded.check_complete("%%lora_train --data rows")[0] == "incomplete"
    assert loaded.check_complete("%lora_train --data rows")[0] == "complete"


def test_a_comment_may_stand_behind_a_line(loaded: InteractiveShell) -> None:
    assert result(loaded, "%lora_train --data rows --max-steps 1   # a 'first' try").planned_steps == 1
    asked = result(loaded, "%%lora_compare --max-new-tokens 2 --system 'Use C# and #1'\nWhy?")
    assert "C# and #1" in asked.source


def test_readme_s_first_block_parses() -> None:
    from lora_magic.magics import all_magics

    readme = (Path(__file__).parents[2] / "README.md").read_text()
    magics = {magic.name: magic for magic in all_magics()}
    lines = [line for line in readme.splitlines() if line.startswith("%lora_") and " --help" not in line]
    assert len(lines) >= 5
    for line in lines:
        name, _, rest = line[1:].partition(" ")
        magic = magics[name]
        magic.config_class.of(magic.parser.complete(magic.parser.parse(rest, {})))


def test_a_list_with_spaces_is_refused_and_never_taken_for_a_name(loaded: InteractiveShell) -> None:
    assert "q_proj,v_proj" in error(loaded, "%lora_train --data rows --target q_proj v_proj").remedy
    assert "base,one" in error(loaded, "%lora_compare --adapters base one").remedy


def test_a_preset_never_overrides_what_was_given(loaded: InteractiveShell) -> None:
    import lora_magic

    made = result(loaded, "%lora_train --data rows --max-steps 1 --preset quality --rank 8 --lr 2e-4")
    assert (made.config["rank"], made.config["lr"], made.config["method"]) == (8, 2e-4, "rslora")
    assert lora_magic.train(data=rows(), max_steps=1, preset="quality", rank=8).config["rank"] == 8
    assert lora_magic.train(data=rows(), max_steps=1, preset="quality").config["rank"] == 32


def test_options_and_places_may_come_in_any_order_and_numbers_may_be_negative(loaded: InteractiveShell) -> None:
    assert result(loaded, "%lora_train --max-steps 1 mixed --data rows").name == "mixed"
    assert "lr must be above 0" in str(error(loaded, "%lora_train --data rows --lr -1e-3"))
    assert result(loaded, "%lora_merge mixed --dtype float32 merged").dtype == "float32"


def test_the_very_first_step_learns(loaded: InteractiveShell) -> None:
    made = result(loaded, "%lora_train --data rows --max-steps 1 --lr 1e-2")
    assert made.steps[0].learning_rate > 0
    assert made.eval_losses[1][1] < made.eval_losses[0][1]


def test_a_line_chooses_the_rows_that_are_shown_and_keeps_the_others(loaded: InteractiveShell) -> None:
    import lora_magic

    asked = "\n".join(f"What is {number}?" for number in range(12))
    made = result(loaded, f"%%lora_compare --adapters base --max-new-tokens 2 --text 'IS 1'\n{asked}")
    assert [row.prompt for row in made.rows] == ["What is 1?", "What is 10?", "What is 11?"]
    assert made.selection.line == "3 of 12 rows: with “IS 1”" and len(made.selection.whole.rows) == 12
    assert "the other 9 rows" in made._repr_mimebundle_()["text/html"]
    made = lora_magic.compare(asked.split("\n"), adapters=["base"], max_new_tokens=6, by="length", sort="highest")
    lengths = made.measures.measures[0].by_row["base"]
    assert [lengths[number - 1] for number in made.selection.numbers] == sorted(lengths, reverse=True)
    made = result(loaded, "%%lora_compare --adapters base --max-new-tokens 2 --sort lowest\nWhy?")
    assert made.selection is None and made.notes[-1].startswith("all rows are shown, in their own order: There are no")


def test_use_decides_what_a_comparison_shows(loaded: InteractiveShell) -> None:
    for name in ("one", "two"):
        loaded.run_cell(f"%lora_train {name} --data rows --max-steps 1").raise_error()
    assert result(loaded, "%lora_compare --rows 1 --max-new-tokens 2").adapters == ("base", "two")
    loaded.run_cell("%lora_use one").raise_error()
    assert result(loaded, "%lora_compare --rows 1 --max-new-tokens 2").adapters == ("base", "one")


def test_overwriting_spares_folders_that_no_merge_wrote(loaded: InteractiveShell) -> None:
    loaded.run_cell("%lora_train one --data rows --max-steps 1").raise_error()
    Path("precious").mkdir()
    (Path("precious") / "thesis.docx").write_text("years of work")
    assert "thesis.docx" in str(error(loaded, "%lora_merge one precious --overwrite"))
    assert (Path("precious") / "thesis.docx").read_text() == "years of work"
    result(loaded, "%lora_merge one merged")
    assert "--overwrite" in error(loaded, "%lora_merge one merged").remedy
    result(loaded, "%lora_merge one merged --overwrite")


def test_a_damaged_model_is_refused_before_the_loaded_one_is_freed(loaded: InteractiveShell, tiny_folder: Path) -> None:
    import shutil

    shutil.copytree(tiny_folder, "cut")
    weights = Path("cut") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in str(error(loaded, "%lora_load cut"))
    assert result(loaded, "%lora_status").base.model == str(tiny_folder)


def test_an_adapter_whose_folder_is_gone_still_merges(loaded: InteractiveShell) -> None:
    import shutil

    loaded.run_cell("%lora_train one --data rows --max-steps 1").raise_error()
    shutil.rmtree("lora_runs")
    assert result(loaded, "%lora_merge one merged").max_logit_difference <= 1e-3


def test_a_run_s_folder_stands_for_its_adapter(loaded: InteractiveShell) -> None:
    loaded.run_cell("%lora_train one --data rows --max-steps 1").raise_error()
    assert result(loaded, "%lora_merge lora_runs/one merged").merged_tensors == 14


def test_a_prompt_that_is_too_long_is_refused(loaded: InteractiveShell) -> None:
    assert "512" in str(error(loaded, "%%lora_compare --adapters base\n" + "word " * 600))


def test_contradicting_bits_and_dtype_are_refused(loaded: InteractiveShell) -> None:
    assert "contradict" in str(error(loaded, "%lora_load demo --bits 32 --dtype float16"))


@pytest.mark.parametrize("option", ["--epochs 1e300", "--batch 1000000000000", "--max-steps 10000000000"])
def test_absurd_sizes_are_refused(loaded: InteractiveShell, option: str) -> None:
    assert "at most" in str(error(loaded, f"%lora_train --data rows {option}"))


def test_an_array_of_examples_may_be_a_cell_s_body(loaded: InteractiveShell) -> None:
    body = ",\n".join('{"prompt": "Say %s", "completion": "%s"}' % (i, i) for i in range(12))  # noqa: UP031
    assert result(loaded, f"%%lora_train --max-steps 1\n[{body}]").planned_steps == 1


def test_an_unknown_option_in_the_body_is_named_before_what_is_missing(loaded: InteractiveShell) -> None:
    assert 'Unknown option "lrr"' in str(error(loaded, "%%lora_train\nlrr: 1"))


def test_results_can_be_kept_in_sets(loaded: InteractiveShell) -> None:
    made = result(loaded, "%lora_train --data rows --max-steps 1")
    assert made in {made}
