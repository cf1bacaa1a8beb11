"""Magics in a fresh shell: what they take, what they refuse, and what refusing leaves behind."""

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import lora_magic
from lora_magic import api
from lora_magic.config import ChatConfig, CompareConfig, DataConfig, LoadConfig, MergeConfig, PlanConfig, TrainConfig
from lora_magic.config.fields import label
from lora_magic.errors import LoraError
from tests.models import rows

CONFIGS = {
    "load": LoadConfig, "data": DataConfig, "train": TrainConfig, "compare": CompareConfig, "merge": MergeConfig,
    "plan": PlanConfig, "chat": ChatConfig,
}  # fmt: skip


@pytest.fixture
def loaded(shell: InteractiveShell, tiny_folder: Path) -> InteractiveShell:
    shell.run_cell(f'%lora_load "{tiny_folder}"').raise_error()
    shell.user_ns["rows"] = rows()
    return shell


def refused(shell: InteractiveShell, cell: str) -> LoraError:
    """The error a cell ends with, after checking that it is one line with a remedy and left the disk alone."""
    before = sorted(Path.cwd().rglob("*"))
    error = shell.run_cell(cell).error_in_exec
    assert isinstance(error, LoraError), error
    assert error.remedy
    assert len(error._render_traceback_()) == 2
    assert "\n" not in error.problem
    assert sorted(Path.cwd().rglob("*")) == before
    return error


def test_loading_the_extension_is_quick_and_imports_nothing_heavy() -> None:
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
shell.run_line_magic("load_ext", "lora_magic")
shell.run_cell("%lora_train --help")
heavy = {"torch", "transformers", "pandas", "matplotlib", "datasets", "peft", "trl", "numpy", "PIL", "yaml", "psutil",
         "huggingface_hub", "bitsandbytes", "ipywidgets", "safetensors"}
print("new:", sorted(heavy & {m.partition(".")[0] for m in set(sys.modules) - before}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "new: []"


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_twin_function_has_its_magic_s_options_and_defaults(name: str) -> None:
    signature = inspect.signature(getattr(lora_magic, name))
    fields = CONFIGS[name].__dataclass_fields__
    assert set(signature.parameters) == set(fields)
    for field in fields.values():
        default = signature.parameters[field.name].default
        assert default is inspect.Parameter.empty or default == field.default


def test_the_documented_signatures_hold() -> None:
    assert next(iter(inspect.signature(lora_magic.load).parameters)) == "model"
    train = inspect.signature(lora_magic.train).parameters
    assert (train["name"].default, train["data"].default, train["rank"].default) == (
        "default",
        None,
        8,
    )
    assert train["data"].kind is inspect.Parameter.KEYWORD_ONLY
    assert str(inspect.signature(lora_magic.merge)).startswith("(name: str, out: str, *, dtype: str = 'float16'")
    compare = inspect.signature(lora_magic.compare).parameters
    assert (
        next(iter(compare)) == "prompts" and compare["prompts"].default is None and compare["adapters"].default is None
    )


def test_help_lists_every_option_with_an_example_and_the_docstring_is_the_same(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("%lora_train --help")
    printed = capsys.readouterr().out
    for field in dataclasses.fields(TrainConfig):
        assert field.name == "name" or f"--{label(field)}" in printed
    assert "Example: %lora_train --data demo-json" in printed
    magic = shell.find_line_magic("lora_train")
    assert magic is not None and magic.__doc__ is not None and magic.__doc__.strip() == printed.strip()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%lora_train --data rows", "No model is loaded"),
        ("%lora_compare --rows 2", "No model is loaded"),
        ("%lora_chat", "No model is loaded"),
        ("%lora_compare --blind", "there is only the base"),
        ("%lora_compare --blind --show worse", "show tells whose answers they are"),
        ("%lora_compare --blind --browse", "browse tells whose answers they are"),
        ("%lora_compare --sort change --measures none", "sort goes by a measure, and measures is none"),
        ("%lora_compare --show wrose", 'Did you mean "worse"'),
        ("%lora_compare --sort best", "sort cannot be"),
        ("%lora_use base", "No model is loaded"),
        ("%lora_merge nothing out", 'no adapter or folder "nothing"'),
        ("%lora_load demoo", 'Did you mean "demo"'),
        ("%lora_load nobody/no-such-model", "nobody/no-such-model is not on this disk"),
        ("%lora_load ./nowhere", 'folder "./nowhere" does not exist'),
        ("%lora_load .", "no config.json"),
        ("%lora_load demo --bits 5", "bits cannot be"),
        ("%lora_load demo --bit 4", 'Did you mean "--bits"'),
        ("%lora_load --bits 4", "needs MODEL"),
        ("%lora_load demo now", 'what to do with "now"'),
        ('%lora_load "demo', "Close the quotation"),
    ],
)
def test_without_a_model_each_mistake_is_one_line(shell: InteractiveShell, cell: str, expected: str) -> None:
    assert expected in str(refused(shell, cell))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%lora_train --data missing.jsonl", "missing.jsonl"),
        ("%lora_train --rank 4", "needs --data"),
        ("%lora_train --data empty", "empty"),
        ("%lora_train --data strange", "colour"),
        ("%lora_train --data rows --rank 0", "rank must be at least 1 and at most 4096, got 0"),
        ("%lora_train --data rows --lr -1", "lr must be above 0"),
        ("%lora_train --data rows --rnk 8", 'Did you mean "--rank"'),
        ("%lora_train --data rows --target q_prj", 'Did you mean "q_proj"'),
        ("%lora_train --data rows --bias all", "no biases"),
        ("%lora_train base --data rows", '"base" is the name'),
        ("%lora_train a/b --data rows", "cannot be an adapter's name"),
        ("%lora_train --data rows --batch 8 --micro-batch 3", "micro-batches of 3"),
        ("%%lora_train --data rows\nlr: 2e-4\n rank: [", "line 2"),
        ("%%lora_train --data rows\nlrr: 2e-4", 'Did you mean "lr"'),
        ("%%lora_train --data rows\njust words", "neither settings nor examples"),
        ('%%lora_train --data rows\n{"prompt": "a", "completion": "b"}', "Give one of the two"),
        ('%%lora_train\n{"prompt": "a", "completion": "b"}\n{"prompt": "c"', "line 2"),
        ("%lora_use nobody", 'no adapter "nobody"'),
        ("%lora_compare --adapters base,nobody", 'no adapter "nobody"'),
        ("%lora_compare --rows 2", "nothing to compare on yet"),
        ("%%lora_compare --adapters base --show worse\nWhy?", "There is one column"),
        ("%%lora_compare --adapters base,base+system --system x --column bose\nWhy?", 'Did you mean "base"'),
        ("%%lora_compare --adapters base --sort lowest --by token-f\nWhy?", 'no measure "token-f"'),
        ("%%lora_compare --adapters base --by rouge-l --measures length\nWhy?", "Add it: --measures length,rouge-l"),
        ("%lora_merge nobody out", '"nobody"'),
        ("%lora_merge . out", "not an adapter"),
    ],
)
def test_with_a_model_each_mistake_is_one_line_and_the_session_goes_on(
    loaded: InteractiveShell, cell: str, expected: str
) -> None:
    loaded.user_ns.update(empty=[], strange=[{"colour": "red"}])
    assert expected in str(refused(loaded, cell))
    assert loaded.run_cell("%lora_status").result.base is not None


def test_a_failed_load_keeps_the_model_that_was_there(loaded: InteractiveShell) -> None:
    refused(loaded, "%lora_load ./nowhere")
    assert loaded.run_cell("%lora_status").result.base is not None


def test_a_file_without_its_option_is_told_where_it_belongs(loaded: InteractiveShell) -> None:
    Path("mine.csv").write_text("question,answer\n")
    for line, option in (("%lora_train mine mine.csv", "--data"), ("%lora_compare mine.csv", "--prompts")):
        assert f"Write {option} mine.csv." in str(loaded.run_cell(line).error_in_exec)


def test_settings_and_examples_in_the_body(loaded: InteractiveShell) -> None:
    made = loaded.run_cell("%%lora_train --data rows --max-steps 2\nlr: 2e-4\nrank: 16\n")
    assert (made.result.config["lr"], made.result.config["rank"]) == (2e-4, 16)
    cell = "%%lora_train two words --max-steps 2\n"
    error = loaded.run_cell(cell).error_in_exec
    assert "Names with spaces need quotes" in str(error)
    examples = "\n".join(json.dumps({"prompt": f"Say {i}", "completion": str(i)}) for i in range(12))
    made = loaded.run_cell(f'%%lora_train "two words" --max-steps 2\n{examples}')
    assert made.result.name == "two words"
    assert made.result.adapter_path == Path.cwd() / "lora_runs" / "two words" / "adapter"
    assert "the cell: 12 rows" in made.result.notes[0]


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\n   \n"])
def test_the_body_may_be_empty(loaded: InteractiveShell, ending: str) -> None:
    assert loaded.run_cell("%%lora_train --data rows --max-steps 1" + ending).result.planned_steps == 1


def test_data_may_be_a_file_with_spaces_a_frame_or_a_dataset(loaded: InteractiveShell) -> None:
    import pandas
    from datasets import Dataset

    Path("my rows.jsonl").write_text("\n".join(map(json.dumps, rows())))
    loaded.user_ns.update(frame=pandas.DataFrame(rows()), table=Dataset.from_list(rows()))
    curves = [
        loaded.run_cell(f"%lora_train --data {data} --max-steps 2").result.losses
        for data in ("rows", '"my rows.jsonl"', "frame", "table")
    ]
    assert curves[0] == curves[1] == curves[2] == curves[3]


def test_a_name_that_is_both_a_file_and_a_variable_is_asked_about(loaded: InteractiveShell) -> None:
    Path("rows").write_text('{"prompt": "a", "completion": "b"}\n')
    assert "rows" in str(refused(loaded, "%lora_train --data rows"))


def test_unloading_takes_the_magics_and_the_model_away(shell: InteractiveShell, tiny_folder: Path) -> None:
    shell.run_cell(f'%lora_load "{tiny_folder}"').raise_error()
    for _ in range(3):
        shell.run_line_magic("reload_ext", "lora_magic")
    assert api.session().status().base is None
    shell.run_line_magic("unload_ext", "lora_magic")
    assert not [name for kind in shell.magics_manager.magics.values() for name in kind if name.startswith("lora")]
    assert not [f for f in shell.input_transformers_cleanup if f.__module__.startswith("lora_magic")]
    shell.run_line_magic("load_ext", "lora_magic")


def test_debug_shows_the_traceback(shell: InteractiveShell) -> None:
    error = shell.run_cell("%lora_load ./nowhere --debug").error_in_exec
    assert "fetch.py" in "".join(error._render_traceback_())  # type: ignore[union-attr]
    plain = shell.run_cell("%lora_load ./nowhere").error_in_exec
    assert len(plain._render_traceback_()) == 2  # type: ignore[union-attr]


def test_an_unforeseen_error_is_one_line_and_says_how_to_see_more(
    loaded: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("lora_magic.training.run.plan", broken)
    error = loaded.run_cell("%lora_train --data rows").error_in_exec
    assert isinstance(error, LoraError)
    assert "ZeroDivisionError: by nothing" in error.problem and "--debug" in error.remedy
    assert error.__context__ is None and error.__cause__ is None
