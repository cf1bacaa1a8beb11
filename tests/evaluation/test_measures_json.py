"""JSON answers: what is valid, and which fields are right."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_magic.evaluation.measures import Scored, fields, measure

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def rows(answers: list[str], reference: str = '{"name": "Ann", "age": 3}') -> list[Scored]:
    return [Scored("", reference, {"base": answer}) for answer in answers]


@given(VALUES)
def test_a_value_is_itself_however_it_is_written(value: object) -> None:
    again = json.loads(json.dumps(value, indent=2, sort_keys=True))
    assert fields.same(value, again) and fields.same(again, value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True), (1, True, False), (0, False, False), ("1", 1, False), (None, "", False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), ([1, 2], [2, 1], False), ([True], [1], False),
        ({"a": None}, {}, False),
    ],
)  # fmt: skip
def test_what_is_the_same_value(one: object, other: object, same: bool) -> None:
    assert fields.same(one, other) is fields.same(other, one) is same


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        ('{"a": 1}', 1), (' [1, 2]\n', 1), ("{}", 1), ('{"a": 1', 0), ('{"a": 1} done', 0),
        ('```json\n{"a": 1}\n```', 0),
        ("3", 0), ('"text"', 0), ('{"a": NaN}', 0), ("{'a': 1}", 0), ("", 0), ("[" * 100_000, 0),
        ('{"a": ' + "9" * 5000 + "}", 0),
    ],
)  # fmt: skip
def test_valid_is_an_object_or_array_and_nothing_else(answer: str, valid: int) -> None:
    (found,) = measure(rows([answer]), ["base"], baseline="base", wanted=["json-valid"]).measures
    assert found.values["base"].mean == valid
    assert ("inside a code fence" in found.note) == answer.startswith("```")


def test_fields_are_counted_of_the_reference_and_each_by_itself() -> None:
    answers = ['{"age": 3.0, "name": "Ann"}', '{"name": "Ann"}', '{"name": "Bo", "age": 3, "x": 1}', "Ann, 3"]
    overall, *each = measure(rows(answers), ["base"], baseline="base", wanted=["json-fields"]).measures
    assert overall.values["base"].mean == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    assert {one.name: one.values["base"].mean for one in each} == {"json-field:name": 0.5, "json-field:age": 0.5}
    assert [one.title for one in each] == ["Field name", "Field age"]
    assert "base: 1 answer has fields that the reference has not." in overall.note


def test_a_field_is_measured_on_the_rows_that_have_it_and_rows_without_an_object_on_none() -> None:
    mixed = [
        *rows(['{"a": 1}'] * 12, '{"a": 1}'),
        *rows(['{"a": 1, "b": 2}'] * 3, '{"a": 1, "b": 2}'),
        *rows(["x"], "x"),
    ]
    overall, first, second = measure(mixed, ["base"], baseline="base", wanted=["json-fields"]).measures
    assert (overall.values["base"].rows, first.values["base"].rows, second.values["base"].rows) == (15, 15, 3)
    assert second.values["base"].mean == 1


def test_many_fields_are_capped_and_that_is_said() -> None:
    reference = json.dumps({f"f{n}": n for n in range(40)})
    overall, *each = measure(rows([reference], reference), ["base"], baseline="base", wanted=["json-fields"]).measures
    assert len(each) == fields.MOST_FIELDS and "most frequent of 40 fields" in overall.note
    assert overall.values["base"].mean == 1
