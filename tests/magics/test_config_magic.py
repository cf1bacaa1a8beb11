"""`%config LoraMagic.…`: defaults that last, checked as options are, gone with the extension."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from lora_magic.config import ChatConfig, CompareConfig, DataConfig, LoadConfig, PlanConfig, TrainConfig


def test_a_default_holds_until_an_option_is_given(shell: InteractiveShell) -> None:
    shell.run_cell("%config LoraMagic.train_rank = 32")
    assert TrainConfig.of({"data": "x"}).rank == 32
    assert TrainConfig.of({"data": "x", "rank": 4}).rank == 4
    assert TrainConfig.of({"data": "x"}).given == {"data"}
    shell.run_cell("%config LoraMagic.train_rank = 8")
    assert TrainConfig.of({"data": "x"}).rank == 8


def test_each_magic_has_its_own_and_what_data_and_training_share_is_set_once(shell: InteractiveShell) -> None:
    shell.run_cell("%config LoraMagic.load_bits = 16\n%config LoraMagic.compare_seed = 5")
    shell.run_cell("%config LoraMagic.train_max_length = 77")
    assert LoadConfig.of({"model": "m"}).bits == 16
    assert CompareConfig.of({}).seed == 5 and TrainConfig.of({"data": "x"}).seed == 0
    shell.run_cell("%config LoraMagic.chat_temperature = 0.7")
    assert ChatConfig.of({}).temperature == 0.7 and CompareConfig.of({}).temperature == 0
    assert TrainConfig.of({"data": "x"}).max_length == DataConfig.of({"data": "x"}).max_length == 77
    assert PlanConfig.of({"model": "m"}).max_length == 77 and PlanConfig.of({"model": "m"}).bits == 16


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("LoraMagic.train_rank = 0", "rank must be at least 1"),
        ("LoraMagic.train_method = 'dorra'", "dora"),
        ("LoraMagic.load_bits = 5", "bits cannot be 5"),
        ("LoraMagic.train_lr = 'fast'", "lr must be a number"),
    ],
)
def test_a_bad_default_is_refused_in_the_options_own_words(
    shell: InteractiveShell, caplog: pytest.LogCaptureFixture, line: str, said: str
) -> None:
    shell.run_cell(f"%config {line}")  # IPython logs what a setting answers
    assert said in caplog.text and "Traceback" not in caplog.text
    assert TrainConfig.of({"data": "x"}) == TrainConfig(data="x")


def test_config_lists_them_with_help_and_the_magics_help_says_what_was_set(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("%config LoraMagic")
    listed = capsys.readouterr().out
    assert "train_rank" in listed and "rank of the update" in listed
    shell.run_cell("%config LoraMagic.train_rank = 32")
    shell.run_cell("%lora_train --help")
    assert "Defaults set by %config: rank 32" in capsys.readouterr().out
    magic = shell.find_cell_magic("lora_train")
    assert magic is not None and "rank 32" in (magic.__doc__ or "")


def test_a_default_that_was_refused_does_not_keep_the_extension_from_loading_again(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("%config LoraMagic.train_rank = 32")
    shell.run_cell("%config LoraMagic.train_lr = -1")
    shell.run_line_magic("reload_ext", "lora_magic")
    assert "LoraMagic.train_lr = -1 is not used: lr must be above 0" in capsys.readouterr().err
    assert TrainConfig.of({"data": "x"}).rank == 32 and TrainConfig.of({"data": "x"}).lr > 0
    assert shell.find_line_magic("lora_train") is not None


def test_what_is_asked_each_time_has_no_default(shell: InteractiveShell) -> None:
    found = next(c for c in shell.configurables if type(c).__name__ == "LoraMagic")
    assert not {"load_trust_remote_code", "merge_overwrite", "train_data", "train_from_run", "chat_say"} & set(
        found.trait_names()
    )


def test_ipythons_configuration_file_counts_and_unloading_takes_all_back() -> None:
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=Config({"LoraMagic": {"train_epochs": 7}}))
    made.run_line_magic("load_ext", "lora_magic")
    assert TrainConfig.of({"data": "x"}).epochs == 7
    made.run_line_magic("reload_ext", "lora_magic")
    assert TrainConfig.of({"data": "x"}).epochs == 7
    assert [type(c).__name__ for c in made.configurables].count("LoraMagic") == 1
    made.run_line_magic("unload_ext", "lora_magic")
    assert TrainConfig.of({"data": "x"}).epochs == 3
    assert "LoraMagic" not in [type(c).__name__ for c in made.configurables]
    InteractiveShell.clear_instance()
