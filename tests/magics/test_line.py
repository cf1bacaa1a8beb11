"""Variables on a magic's line, `--into`, and the list of magics."""

import keyword
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from lora_magic.errors import LoraError
from lora_magic.magics.variables import expand
from tests.models import rows


@pytest.fixture
def loaded(tiny_folder: Path) -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "lora_magic")
    shell.user_ns.update(rows=rows(), folder=tiny_folder, rank=4, steps=1, name="by variable", settings={"lr": 1e-3})
    shell.run_cell("%lora_load {str(folder)}").raise_error()
    yield shell
    shell.run_line_magic("unload_ext", "lora_magic")
    InteractiveShell.clear_instance()


def test_an_object_goes_to_data_and_text_to_the_rest(loaded: InteractiveShell) -> None:
    made = loaded.run_cell("%lora_train $name --data $rows --rank $rank --max-steps {steps + 1} --lr {settings['lr']}")
    assert made.result.name == "by variable"
    assert (made.result.config["rank"], made.result.config["lr"], made.result.planned_steps) == (4, 1e-3, 2)
    by_name = loaded.run_cell("%lora_train --data rows --rank 4 --max-steps 2 --lr 1e-3")
    assert by_name.result.losses == made.result.losses


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%lora_train --data $row", 'Did you mean "rows"'),
        ("%lora_train --data rows --rank {rnak}", "{rnak} on the line gives NameError"),
        ("%lora_train --data rows --rank {1/0}", "ZeroDivisionError"),
        ("%lora_train --data rows --method $rows", "is a list, and method takes text"),
        ("%lora_train --data rows --into 2x", "not a variable's name"),
    ],
)
def test_what_cannot_be_expanded_is_an_error_and_never_literal(loaded: InteractiveShell, cell: str, said: str) -> None:
    error = loaded.run_cell(cell).error_in_exec
    assert isinstance(error, LoraError)
    assert said in str(error)


def test_a_cell_s_body_is_never_formatted(loaded: InteractiveShell) -> None:
    cell = "%%lora_train --max-steps 1\n" + "\n".join(
        '{"prompt": "Pay $rank {steps}?", "completion": "{rank}"}' for _ in range(12)
    )
    loaded.run_cell(cell.replace("\n", "\n", 1)).raise_error()
    compared = loaded.run_cell("%%lora_compare --max-new-tokens 2\nIs it $rank or {steps}?")
    assert compared.result.rows[0].prompt == "Is it $rank or {steps}?"


def test_a_cell_magic_leaves_its_result_in_a_variable(loaded: InteractiveShell) -> None:
    made = loaded.run_cell("%%lora_train kept --data rows --into result\nmax_steps: 1")
    assert loaded.user_ns["result"] is made.result
    loaded.run_cell("%%lora_compare --into table --max-new-tokens 2\nOne?\nTwo?").raise_error()
    assert [row.prompt for row in loaded.user_ns["table"].rows] == ["One?", "Two?"]
    loaded.run_cell("line = %lora_status").raise_error()
    assert loaded.user_ns["line"].active == "kept"


def test_lora_alone_lists_every_magic(loaded: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    loaded.run_cell("%lora")
    listed = capsys.readouterr().out
    names = {n for kind in loaded.magics_manager.magics.values() for n in kind if n.startswith("lora_")}
    assert len(names) >= 6
    assert all(f"%{name} " in listed for name in names)


@given(st.text(alphabet=st.characters(exclude_characters="${}"), max_size=40))
def test_text_without_marks_stays_as_it_is(word: str) -> None:
    assert expand(word, {}) == word


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))


@given(NAMES, st.integers() | st.text(max_size=10))
def test_a_variable_becomes_its_value(name: str, value: object) -> None:
    assert expand(f"${name}", {name: value}) is value
    assert expand(f"a-${name}.b", {name: value}) == f"a-{value}.b"
    assert expand(f"{{{name}}}", {name: value}) == str(value)
    assert expand(f"$${name}", {name: value}) == f"${name}"
