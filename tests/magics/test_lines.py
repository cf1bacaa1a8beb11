"""A line made of values gives these values back, for every magic and whatever the text."""

from __future__ import annotations

import dataclasses
import itertools
import typing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_magic.config.fields import Config
from lora_magic.errors import LoraError
from lora_magic.magics import all_magics
from lora_magic.magics.lines import Variable, line
from lora_magic.magics.magic import Magic

MAGICS = all_magics()
# The private-use characters are those that the line's splitter keeps for itself.
TEXTS = st.text(st.characters(exclude_characters="\ue000\ue001\x00", exclude_categories=["Cs"]), max_size=30)


def values(field: dataclasses.Field[Any], hint: Any) -> st.SearchStrategy[Any]:
    """What a field may hold, as far as it alone can tell."""
    meta, kinds = field.metadata, typing.get_args(hint) or (hint,)
    low, high = meta["low"], meta["high"]
    if meta["choices"]:
        return st.sampled_from(meta["choices"])
    if bool in kinds:
        return st.just(True)
    if int in kinds and float not in kinds:
        return st.integers(int(low or 0), int(min(high or 10**9, 10**9)))
    if float in kinds:
        least = low if low is not None else (meta["above"] or 0.0)
        return st.floats(
            least, high if high is not None else 1e12, exclude_min=meta["above"] is not None, allow_nan=False,
            allow_infinity=False,
        )  # fmt: skip
    texts = TEXTS.filter(lambda text: not text.startswith("-")) if meta["positional"] else TEXTS
    return texts.filter(bool) if meta["positional"] else texts


def given_to(magic: Magic) -> st.SearchStrategy[dict[str, Any]]:
    hints = typing.get_type_hints(magic.config_class)
    fields = [f for f in dataclasses.fields(magic.config_class) if f.name not in magic.body_fields]
    made = {f.name: values(f, hints[f.name]) for f in fields}
    needed = {f.name: made.pop(f.name) for f in fields if f.default is dataclasses.MISSING}
    return st.fixed_dictionaries(needed, optional=made)


def configured(config_class: type[Config], chosen: dict[str, Any]) -> Any:
    try:
        return config_class.of(chosen)
    except LoraError as error:
        return error.problem


@pytest.mark.parametrize("magic", MAGICS, ids=[magic.name for magic in MAGICS])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_line_gives_back_what_it_was_made_of(magic: Magic, data: st.DataObject) -> None:
    chosen = data.draw(given_to(magic))
    positional = [f.name for f in dataclasses.fields(magic.config_class) if f.metadata["positional"]]
    for first, second in itertools.pairwise(positional):  # a place can be given after those before it
        if second in chosen and first not in chosen:
            del chosen[second]
    made = line(magic, chosen)
    assert "\n" not in made and made.startswith(f"%{magic.name}")
    parsed = magic.parser.parse(made.removeprefix(f"%{magic.name}"), {})
    assert configured(magic.config_class, parsed) == configured(magic.config_class, chosen)


def test_a_line_reads_well() -> None:
    by_name = {magic.name: magic for magic in MAGICS}
    assert line(by_name["lora_train"], {"name": "support", "data": "my tickets.jsonl", "lr": 2e-4, "rank": 8}) == (
        "%lora_train support --data 'my tickets.jsonl' --rank 8 --lr 0.0002"
    )
    assert line(by_name["lora_train"], {"data": Variable("rows"), "early_stop": None}) == "%lora_train --data $rows"
    assert line(by_name["lora_merge"], {"name": "a", "out": "out/a", "overwrite": True}) == (
        "%lora_merge a out/a --overwrite"
    )
    assert line(by_name["lora_compare"], {"adapters": ["base", "a b"]}) == "%lora_compare --adapters 'base,a b'"


def test_a_variable_is_passed_itself() -> None:
    rows = [{"question": "a", "answer": "b"}]
    train = next(magic for magic in MAGICS if magic.name == "lora_train")
    made = line(train, {"data": Variable("rows")}).removeprefix("%lora_train")
    assert train.parser.parse(made, {"rows": rows})["data"] is rows


def test_a_field_that_the_line_does_not_take_is_no_silent_loss() -> None:
    compare = next(magic for magic in MAGICS if magic.name == "lora_compare")
    with pytest.raises(KeyError):
        line(compare, {"nonsense": 1})
