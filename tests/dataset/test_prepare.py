"""From settings to tokens: what is refused before a model is touched, the two sides, and what is remembered."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_magic.config.data import DataOptions
from lora_magic.dataset.prepare import MOST_HELD_OUT, Prepared, prepare
from lora_magic.dataset.sources import Source
from lora_magic.dataset.split import Part, content_hash, content_keys, split
from lora_magic.dataset.turns import Example, Turn
from lora_magic.errors import LoraError

from .conftest import tokenizer_of
from .test_tokens import decode, trained

Rows = list[dict[str, Any]]
Write = Callable[[str, str | bytes], Path]


def rows(count: int, offset: int = 0) -> Rows:
    return [{"prompt": f"Where is parcel {i}?", "completion": f"In hall {i}."} for i in range(offset, offset + count)]


def prepared(data: object, max_length: int = 200, **options: Any) -> Prepared:
    return prepare(DataOptions(data=data, **options), tokenizer_of("chatml"), max_length, {}, {})


def texts(made: Any) -> list[str]:
    return [trained(row, tokenizer_of("chatml"))[0] for row in made.rows]


def test_the_two_sides() -> None:
    done = prepared(rows(100))
    assert isinstance(done.source, Source) and done.held_out is not None
    assert (len(done.training.rows), len(done.held_out.rows), len(done.held_out_examples)) == (84, 16, 16)
    both = texts(done.training) + texts(done.held_out)
    assert sorted(both) == sorted(f"In hall {i}.<|im_end|>" for i in range(100))
    numbers = [*done.training.numbers.tolist(), *done.held_out.numbers.tolist()]
    assert [f"In hall {number - 1}.<|im_end|>" for number in numbers] == both
    assert any("100 rows" in note for note in done.notes)


@pytest.mark.parametrize("options", [{"eval_split": 0}, {"data": rows(9)}])
def test_nothing_held_out(options: dict[str, Any]) -> None:
    done = prepared(**{"data": rows(50), **options})
    assert done.held_out is None and done.held_out_examples == ()


def test_held_out_rows_of_ones_own() -> None:
    done = prepared(rows(50), eval_data=rows(10, offset=47), eval_split=0)
    assert done.held_out is not None and texts(done.held_out) == [f"In hall {i}.<|im_end|>" for i in range(47, 57)]
    assert len(done.training.rows) == 50
    assert "3 training rows are also held out: the held-out loss looks better than it is" in done.notes
    apart = prepared(rows(50), eval_data=rows(10, offset=50))
    assert not any("also held out" in note for note in apart.notes)


def test_a_question_on_both_sides_with_another_answer_is_told() -> None:
    varied = [{"question": f"Where is {n // 3}?", "answer": f"In hall {n}."} for n in range(90)]
    said = "what is trained on with another answer: their numbers may look better than they are"
    done = prepared(varied)
    assert f"{len(done.held_out_examples)} held-out rows ask {said}" in done.notes
    own = prepared(varied[:60], eval_data=[varied[0], {**varied[0], "answer": "Nowhere."}, *varied[60:]])
    assert f"1 held-out row asks {said}" in own.notes
    assert not any(said in note for note in prepared(rows(100)).notes)


def test_a_large_held_out_part_is_cut() -> None:
    done = prepared(rows(20), eval_data=rows(300, offset=50))
    assert done.held_out is not None and len(done.held_out.rows) == MOST_HELD_OUT
    assert any("the first 256 of 300 rows" in note for note in done.notes)


def test_the_sources_own_held_out_part(write: Write) -> None:
    for name, some in (("train", rows(30)), ("test", rows(5, offset=30))):
        write(f"{name}.jsonl", "\n".join(map(json.dumps, some)))
    folder = write("train.jsonl", "\n".join(map(json.dumps, rows(30)))).parent
    done = prepared(str(folder))
    assert done.held_out is not None and (len(done.training.rows), len(done.held_out.rows)) == (30, 5)
    assert prepared(str(folder), eval_split=0).held_out is None
    other = prepared(str(folder), eval_data=rows(2, offset=90))
    assert other.held_out is not None and len(other.held_out.rows) == 2


def test_options_reach_the_rows(write: Write) -> None:
    path = write("mine.jinja", "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}")
    data = [{"Q": f"q{i}", "A": f"a{i}", "other": "x"} for i in range(5)]
    done = prepared(data, map="prompt=Q,completion=A", system="Be brief.", template=str(path), train_on="all")
    row = done.training.rows[3]
    assert decode(tokenizer_of("chatml"), row.input_ids) == (
        "[system]Be brief.<|im_end|>[user]q3<|im_end|>[assistant]a3<|im_end|>"
    )
    assert row.labels == row.input_ids
    assert done.template == path.read_text()


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ([], {}, "no rows"),
        ([{"prompt": "a", "completion": " "}] * 3, {}, "can be used"),
        (rows(20), {"max_length": 8}, "No answer starts within 8 tokens"),
        (rows(20), {"template": "none.jinja"}, "cannot be read"),
        (rows(20), {"map": "prompt=Q,completion=A"}, "Q"),
        (rows(20), {"eval_data": []}, "no rows"),
        ([{"messages": [{"role": "user", "content": "a"}]}] * 3, {}, "can be used"),
    ],
)
def test_refused_before_a_model_is_touched(data: object, options: dict[str, Any], said: str) -> None:
    with pytest.raises(LoraError) as error:
        prepared(data, **options)
    assert said in error.value.problem and error.value.remedy


def test_held_out_rows_that_cannot_be_measured_on_do_not_stop_a_run() -> None:
    long = [{"prompt": "word " * 500, "completion": "b"}]
    done = prepared(rows(20), eval_data=long, max_length=100)
    assert done.held_out is None and len(done.training.rows) == 20
    assert any("cannot be measured on" in note for note in done.notes)


def test_the_content_hash() -> None:
    shuffled = rows(60)
    random.Random(1).shuffle(shuffled)
    whole = prepared(rows(60)).content_hash
    assert whole == prepared(shuffled).content_hash == prepared(rows(60), eval_split=0).content_hash
    assert len(whole) == 32 and int(whole, 16)
    changed = rows(60)
    changed[7]["completion"] = "In hall 7!"
    others = [rows(59), [*rows(60), rows(1)[0]], changed]
    hashes = {prepared(some).content_hash for some in others} | {prepared(rows(60), system="x").content_hash}
    assert len(hashes | {whole}) == 5


class Lazy:
    """Examples that are made anew each time."""

    def __init__(self, count: int) -> None:
        self.count, self.passes = count, 0

    def __iter__(self) -> Iterator[Example]:
        self.passes += 1
        for i in range(self.count):
            yield Example((Turn("user", f"question {i}"), Turn("assistant", f"answer {i}")), i + 1)

    def __len__(self) -> int:
        return self.count


def test_a_lazy_source_is_split_as_a_list_is() -> None:
    lazy, listed = Lazy(500), list(Lazy(500))
    training, held_out = split(lazy, 0.05)
    assert isinstance(training, Part) and lazy.passes == 2
    assert (list(training), held_out) == split(listed, 0.05)
    assert list(training) == list(training) and len(training) == len(list(training)) == 475
    assert isinstance(split(listed, 0.05)[0], list)
    assert list(split(lazy, 0)[0]) == listed


def test_calls_and_tools_are_content() -> None:
    said = (Turn("user", "a"), Turn("assistant", "b"))
    different = [
        Example(said),
        Example((said[0], Turn("assistant", "b", "[]"))),
        Example(said, tools="[]"),
    ]
    assert len({content_hash(content_keys([one])) for one in different}) == 3
    assert content_hash(content_keys([Example(said, 1)])) == content_hash(content_keys([Example(said, 2)]))
