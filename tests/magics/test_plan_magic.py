"""`%lora_plan` in a shell: its options, a variable as data, completion, mistakes."""

import json
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import lora_magic
from lora_magic.config import PlanConfig, TrainConfig
from lora_magic.errors import LoraError
from lora_magic.magics import all_magics
from lora_magic.magics.completion import Offers, complete
from lora_magic.planning.speed import card
from lora_magic.results import PlanResult
from tests.models import rows
from tests.planning.configs import LLAMA_8B


def test_the_magic_and_its_twin_give_the_same_plan(shell: InteractiveShell) -> None:
    Path("big").mkdir()
    Path("big/config.json").write_text(json.dumps(LLAMA_8B))
    line = "big --gpu t4 --tokens-per-row 400 --rank 16 --batch 8 --rows 500 --micro-batch 2 --price 0.4"
    by_line = shell.run_line_magic("lora_plan", line)
    assert isinstance(by_line, PlanResult)
    twin = lora_magic.plan("big", gpu="t4", tokens_per_row=400, rank=16, rows=500, micro_batch=2, price=0.4)
    assert by_line.estimate == twin.estimate and by_line.choice.micro_batch == 2
    free = shell.run_line_magic("lora_plan", "big --gpu t4 --tokens-per-row 400 --rank 16")
    assert free.choice != by_line.choice
    assert {"text/plain", "text/html"} <= set(by_line._repr_mimebundle_())


def test_no_model_is_needed_and_a_variable_is_data(shell: InteractiveShell) -> None:
    shell.user_ns["sums"] = rows()
    made = shell.run_line_magic("lora_plan", "demo --gpu t4 --data sums --eval-split 0")
    exact = lora_magic.data(rows(), eval_split=0)
    assert made.rows == 40 and made.tokens_per_row == pytest.approx(sum(exact.token_counts) / 40)
    assert lora_magic.status().base is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--gpu t4", "needs MODEL"),
        ("demo --gpu t44", 'Did you mean "t4"'),
        ("demo --gpu", "--gpu"),
        ("demo --micro-batch 3", "micro-batches of 3"),
        ("demo --checkpointing sometimes", "some"),
        ("demo --backend transformers --checkpointing offload", "Choose off, on"),
        ("demo --target q_prj", "q_proj"),
        ("demo --tokens-per-row 0", "at least 1"),
        ("demo --rows none", "whole number"),
        ("demo --price 0", "above 0"),
        ("demo --bits 5", "bits cannot be"),
        ("demo --tokens 5", "no option"),
        ("demo --data nothing-there", "nothing-there"),
        ("no-such-model", "no-such-model"),
    ],
)
def test_mistakes_are_one_line(shell: InteractiveShell, line: str, said: str) -> None:
    with pytest.raises(LoraError, match=said) as caught:
        shell.run_line_magic("lora_plan", line)
    assert "\n" not in str(caught.value) and "--debug" not in str(caught.value)


def test_options_are_those_of_the_run() -> None:
    ours, runs = PlanConfig.__dataclass_fields__, TrainConfig.__dataclass_fields__
    for name in ("rank", "target", "batch", "micro_batch", "optimizer", "epochs", "max_steps", "method", "max_length",
                 "dropout", "bias"):  # fmt: skip
        assert ours[name].default == runs[name].default and ours[name].metadata == runs[name].metadata


def test_cards_complete_and_each_is_known() -> None:
    magics = {magic.name: magic for magic in all_magics()}
    offers = Offers(list, lambda: ["sums"], list)
    found = complete("%lora_plan demo --gpu rtx", magics, offers)
    assert found is not None and found[1] == ["rtx3060", "rtx4090"]
    choices = PlanConfig.__dataclass_fields__["gpu"].metadata["choices"]
    assert {"t4", "l4", "a100", "rtx3060"} <= set(choices) and all(card(name).memory_gib > 0 for name in choices)
    models = complete("%lora_plan ", magics, offers)
    assert models is not None and "demo" in models[1]


def test_help_lists_the_options(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("lora_plan", "--help")
    printed = capsys.readouterr().out
    assert "--tokens-per-row" in printed and "--gpu CARD" in printed and "%%lora_train" in printed
