"""Settings: what text, YAML and Python values become, and what is refused."""

import dataclasses
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lora_magic.config import CompareConfig, LoadConfig, MergeConfig, TrainConfig
from lora_magic.config.body import holds_examples, settings
from lora_magic.config.train import PRESETS
from lora_magic.errors import LoraError
from lora_magic.magics.parser import Parser

NUMBERS = st.floats(min_value=1e-12, max_value=10, exclude_min=True)


@given(st.integers(1, 4096), NUMBERS, st.sampled_from(["lora", "rslora", "dora"]), st.integers(0, 2**32 - 1))
def test_text_yaml_and_python_give_the_same_config(rank: int, lr: float, method: str, seed: int) -> None:
    python = TrainConfig(data="x", rank=rank, lr=lr, method=method, seed=seed)
    line = f"--data x --rank {rank} --lr {lr!r} --method {method} --seed {seed}"
    parser = Parser("lora_train", TrainConfig, "", "")
    assert TrainConfig.of(parser.parse(line)) == python
    body = f"data: x\nrank: {rank}\nlr: {lr!r}\nmethod: {method}\nseed: {seed}\n"
    assert TrainConfig.of(settings(body)) == python
    assert TrainConfig.of(yaml.safe_load(yaml.safe_dump(python.as_dict()))) == python


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_python_writes_is_a_number_in_a_body(number: float) -> None:
    assert settings(f"lr: {number!r}")["lr"] == number


@pytest.mark.parametrize(("text", "value"), [("2e-4", 2e-4), ("1E3", 1000.0), ("+.5", 0.5), ("3", 3), ("1_000", 1000)])
def test_numbers_in_a_body(text: str, value: float) -> None:
    assert settings(f"lr: {text}") == {"lr": value}


@pytest.mark.parametrize("text", ["2e", "e4", "1.2.3", "2e-4x", "v2", "2026-01-01x"])
def test_words_in_a_body_stay_words(text: str) -> None:
    assert settings(f"system: {text}") == {"system": text}


@given(st.text(max_size=60))
def test_any_body_gives_settings_or_one_line(body: str) -> None:
    try:
        assert isinstance(settings(body), dict)
    except LoraError as error:
        assert "\n" not in error.problem and error.remedy


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.lists(st.integers(), max_size=3)
)


@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(TrainConfig)]), VALUES))
def test_any_values_give_a_config_or_one_line_that_names_the_field(values: dict[str, Any]) -> None:
    values |= {"data": "x", "eval_data": None}
    try:
        made = TrainConfig.of(values)
    except LoraError as error:
        assert error.remedy
        return
    assert TrainConfig.of(made.as_dict()) == made
    made.with_preset()


@pytest.mark.parametrize(
    ("config_class", "values", "said"),
    [
        (TrainConfig, {"rank": 0}, "rank must be at least 1 and at most 4096, got 0"),
        (TrainConfig, {"rank": 2.5}, "rank must be a whole number, got 2.5"),
        (TrainConfig, {"rank": True}, "rank must be a whole number, got True"),
        (TrainConfig, {"lr": -1}, "lr must be above 0 and at most 10, got -1"),
        (TrainConfig, {"seed": 2**32}, "seed must be at least 0 and at most 4294967295, got 4294967296"),
        (TrainConfig, {"lr": float("nan")}, "got nan"),
        (TrainConfig, {"epochs": "many"}, "epochs must be a number, got 'many'"),
        (TrainConfig, {"method": "lorra"}, 'Did you mean "lora"'),
        (TrainConfig, {"eval_split": 0, "early_stop": 2}, "early-stop needs held-out rows"),
        (TrainConfig, {"Rank": 8}, 'Did you mean "rank"'),
        (LoadConfig, {"model": "demo", "bits": 3}, "bits cannot be 3"),
        (MergeConfig, {"name": "a", "out": "b", "dtype": "fp16"}, "dtype cannot be 'fp16'"),
        (CompareConfig, {"prompts": 7}, "prompts must be text"),
        (CompareConfig, {"prompts": ["", "  "]}, "There is no prompt"),
    ],
)
def test_mistakes_name_the_field_the_value_and_the_remedy(config_class: Any, values: dict[str, Any], said: str) -> None:
    if config_class is TrainConfig:
        values = {"data": "x"} | values
    with pytest.raises(LoraError) as caught:
        config_class.of(values)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_held_out_rows_of_one_s_own_are_enough_to_stop_early() -> None:
    settings: dict[str, Any] = {"data": "x", "eval_data": "y", "eval_split": 0}
    assert TrainConfig(early_stop=2, **settings).early_stop == 2
    assert TrainConfig(preset="quality", **settings).with_preset().early_stop == PRESETS["quality"]["early_stop"]
    assert TrainConfig(preset="quality", data="x", eval_split=0).with_preset().early_stop is None


def test_a_changed_copy_remembers_what_was_given() -> None:
    assert TrainConfig.of({"data": "x", "rank": 8}).replace(lr=1.0).given == {"data", "rank"}


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_preset_changes_what_is_left_at_its_default_and_nothing_else(preset: str) -> None:
    given_rank = TrainConfig(data="x", preset=preset, rank=5).with_preset()
    assert given_rank.rank == 5
    changed = TrainConfig(data="x", preset=preset).with_preset()
    plain = TrainConfig(data="x", preset=preset)
    assert {k for k, v in changed.as_dict().items() if v != plain.as_dict()[k]} == set(PRESETS[preset])


def test_alpha_is_twice_the_rank_unless_given() -> None:
    assert TrainConfig(data="x", rank=12).scale == 24
    assert TrainConfig(data="x", rank=12, alpha=3).scale == 3


@pytest.mark.parametrize(
    ("body", "examples"),
    [
        ('{"a": 1}', True),
        ('\n  {"a": 1}\n', True),
        ("{lr: 2e-4}", False),
        ("lr: 2e-4", False),
        ("", False),
        ("- a", False),
    ],
)
def test_examples_are_told_from_settings(body: str, examples: bool) -> None:
    assert holds_examples(body) is examples
