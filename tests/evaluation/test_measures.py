"""Which measures are chosen, what they say, and that nothing in a row makes them raise or lie."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.errors import LoraError
from lora_magic.evaluation.measures import MEASURES, Scored, check, measure, style
from lora_magic.evaluation.measures.kinds import kind
from lora_magic.results.measures import Measure, Measures

COLUMNS = ["base", "tuned"]
LIGHT = [name for name in MEASURES if name not in ("bleu", "similarity")]
HOSTILE = ["<script>alert(1)</script>", "\x00\ud800\u202e", "$x^2$ {0} %s", "a" * 5000, "\n\n", "', \"\\", "🏴‍☠️" * 30]
SENTENCES = [
    f"The {size} {thing} stands near the old river and nobody knows who built it or why it is still there."
    for size in ("small", "large", "grey") for thing in ("house", "bridge", "tower", "mill")
]  # fmt: skip


def rows_of(references: list[str | None], **columns: list[str]) -> list[Scored]:
    return [
        Scored("p", reference, {name: texts[place] for name, texts in columns.items()})
        for place, reference in enumerate(references)
    ]


def named(result: Measures) -> dict[str, Measure]:
    return {one.name: one for one in result.measures}


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        ([], "none"),
        (["positive", "Negative", "neutral."] * 8, "labels"),
        (["yes", "no"] * 2, "labels"),
        (["yes"] * 3, "labels"),
        (["yes"], "short"),
        ([f"Town {n}" for n in range(24)], "short"),
        ([json.dumps({"name": f"{n}"}) for n in range(12)], "json"),
        (['{"label": "a"}', '{"label": "b"}'] * 12, "json"),
        (["[1, 2]"] * 12, "labels"),
        (SENTENCES, "long"),
        ([*SENTENCES, *["yes"] * 3], "long"),
        ([*(f"Town {n}" for n in range(24)), SENTENCES[0]], "short"),
        (["很好", "不好"] * 9, "labels"),
    ],
)
def test_what_references_look_like(references: list[str], expected: str) -> None:
    found = kind(references)
    assert found.name == expected and found.why.endswith(".")


def test_each_kind_gets_its_measures_in_one_order() -> None:
    losses = {name: [(2.0 + row, 4) for row in range(24)] for name in COLUMNS}
    kinds = {
        "labels": (["yes", "no"] * 12, {"label-accuracy", "macro-f1", "held-out-loss"}),
        "json": (['{"a": 1}'] * 24, {"json-valid", "json-fields", "held-out-loss"}),
        "short": (
            [f"Town {n}" for n in range(24)],
            {"exact-match", "token-f1", "held-out-loss", "perplexity", "length"},
        ),
        "long": (SENTENCES * 2, {"rouge-1", "rouge-2", "rouge-l", "held-out-loss", "perplexity", "length"}),
    }
    for name, (references, wanted) in kinds.items():
        found = measure(
            rows_of(list(references), base=references, tuned=references), COLUMNS, baseline="base", losses=losses
        )
        names = [one.name for one in found.measures]
        assert found.kind == name and wanted <= set(names) <= wanted | {"bleu", "json-field:a"}
        assert sorted(set(names) & set(MEASURES), key=MEASURES.index) == [one for one in names if one in MEASURES]


def test_without_references_only_what_needs_none_is_measured() -> None:
    texts = [f"{sentence} {sentence}" for sentence in SENTENCES]
    found = measure(rows_of([None] * 12, base=texts, tuned=SENTENCES), COLUMNS, baseline="base", training=SENTENCES)
    assert (found.kind, found.why) == ("none", "There are no reference answers.")
    assert set(named(found)) == {"length", "repetition", "parroting"}
    assert found.notes[-1] == "Zero in every column: declined to answer."
    assert named(found)["length"].differences["tuned"].verdict == "shorter on 12 rows, 95%"
    assert named(found)["repetition"].differences["tuned"].verdict == "better on 12 rows, 95%"
    assert named(found)["parroting"].values["base"].mean == 1


def test_a_measure_asked_for_by_name_is_given_or_its_absence_explained() -> None:
    rows = rows_of([None] * 12, base=SENTENCES, tuned=SENTENCES)
    found = measure(rows, COLUMNS, baseline="base", wanted=["abstention", "rouge-l", "held-out-loss", "parroting"])
    assert list(named(found)) == ["abstention"]
    assert sorted(found.notes) == [
        "Copied from training is left out: no training answers were given.",
        "Held-out loss is left out: no losses were computed.",
        "ROUGE-L is left out: there are no reference answers.",
    ]


def test_a_wrong_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(LoraError, match='no measure "rouge-3"') as raised:
        check(["length", "rouge-3"])
    assert "rouge-" in raised.value.remedy
    check(["length", "rouge-l"])


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("bleu", "sacrebleu", "sacrebleu"), ("similarity", "sentence_transformers", "sentence-transformers")],
)
def test_a_missing_library_is_an_error_when_asked_for_and_a_note_when_not(
    name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    rows = rows_of(list(SENTENCES), base=SENTENCES)
    with pytest.raises(LoraError) as raised:
        measure(rows, ["base"], baseline="base", wanted=[name])
    assert raised.value.remedy == f"pip install {package}" and name in raised.value.problem
    found = measure(rows, ["base"], baseline="base")
    assert name not in named(found) and "rouge-l" in named(found)
    assert any(f"{package} is not installed (pip install {package})" in note for note in found.notes)


def test_rows_that_a_column_did_not_answer_count_nowhere() -> None:
    rows = rows_of(["yes", "no"] * 12, base=["yes"] * 24, tuned=["yes", "no"] * 12)
    rows[3] = Scored("p", "no", {"base": "no"})
    losses = {name: [(1.0, 1)] * 3 + [(1e9, 1)] + [(1.0, 1)] * 20 for name in COLUMNS}
    found = measure(rows, COLUMNS, baseline="base", losses=losses)
    assert found.notes[0] == "23 of 24 rows have every column's answer and are measured."
    assert {value.rows for one in found.measures for value in one.values.values()} == {23}
    assert named(found)["held-out-loss"].values["base"].mean == 1


def test_losses_are_weighted_by_tokens_and_rows_without_a_finite_one_are_said() -> None:
    losses = {
        "base": [(30.0, 10), (8.0, 4), (math.nan, 5), (3.0, 0)] * 6,
        "tuned": [(20.0, 10), (4.0, 4), (5.0, 5), (3.0, 0)] * 6,
    }
    rows = rows_of(["x"] * 24, base=["x"] * 24, tuned=["x"] * 24)
    wanted = ["held-out-loss", "perplexity"]
    loss, perplexity = measure(rows, COLUMNS, baseline="base", wanted=wanted, losses=losses).measures
    assert (loss.values["base"].mean, loss.values["tuned"].mean) == pytest.approx((38 / 14, 24 / 14))
    assert perplexity.values["base"].mean == pytest.approx(math.exp(38 / 14))
    assert loss.values["base"].rows == 12 and "12 rows without" in loss.note
    assert loss.differences["tuned"].mean == pytest.approx(-1) and loss.differences["tuned"].better == 12
    assert loss.differences["tuned"].verdict == perplexity.differences["tuned"].verdict == "better on 12 rows, 95%"
    nothing = {name: [(math.nan, 5)] * 24 for name in COLUMNS}
    none = measure(rows, COLUMNS, baseline="base", wanted=["held-out-loss"], losses=nothing)
    assert none.measures == () and none.notes == ("Held-out loss is left out: no row has a finite loss.",)


def test_losses_beyond_what_a_number_holds_are_no_figure() -> None:
    rows = rows_of(["x"] * 12, base=["x"] * 12)
    (found,) = measure(
        rows, ["base"], baseline="base", wanted=["perplexity"], losses={"base": [(1e6, 1)] * 12}
    ).measures
    assert math.isinf(found.values["base"].mean) and math.isnan(found.values["base"].low)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(*[st.sampled_from([*HOSTILE, "", "yes", "no", '{"a": 1}']) | st.text(max_size=30)] * 3),
                max_size=16), st.sampled_from([None, *LIGHT]))  # fmt: skip
def test_whatever_rows_hold_nothing_raises_and_every_figure_is_within_its_interval(
    texts: list[tuple[str, str, str]], name: str | None
) -> None:
    rows = [Scored(reference, reference, {"base": one, "tuned": other}) for reference, one, other in texts]
    losses = {column: [(1.0, 1)] * len(rows) for column in COLUMNS}
    wanted = None if name is None else [name]
    found = measure(rows, COLUMNS, baseline="base", wanted=wanted, losses=losses, training=[one for _, one, _ in texts])
    for one in found.measures:
        assert set(one.values) == set(COLUMNS) and set(one.differences) == {"tuned"}
        for value in one.values.values():
            assert math.isnan(value.low) or value.low <= value.mean <= value.high
            assert one.unit != "share" or 0 <= value.mean <= 1


def test_the_order_of_rows_changes_nothing() -> None:
    draw = random.Random(1)
    answers = [" ".join(draw.sample(text.split(), 15)) for text in SENTENCES * 3]
    rows = rows_of(list(SENTENCES * 3), base=answers, tuned=SENTENCES * 3)
    first = named(measure(rows, COLUMNS, baseline="base"))
    draw.shuffle(rows)
    for name, again in named(measure(rows, COLUMNS, baseline="base")).items():
        before = first[name]
        for column in COLUMNS:
            one, other = again.values[column], before.values[column]
            assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))
        assert again.differences["tuned"].verdict == before.differences["tuned"].verdict


def test_many_verdicts_come_with_a_warning_about_chance() -> None:
    columns = dict.fromkeys(("base", "a", "b", "c", "d"), SENTENCES)
    found = measure(rows_of(list(SENTENCES), **columns), list(columns), baseline="base")
    assert found.notes[-1].startswith("Each verdict is at 95% by itself")
    assert all(set(one.differences) == {"a", "b", "c", "d"} for one in found.measures)


def test_no_rows_are_no_measures() -> None:
    found = measure([], COLUMNS, baseline="base")
    assert found.measures == () and found.kind == "none" and found.notes


@pytest.mark.parametrize(
    ("answer", "share"),
    [("", 0), ("one two three", 0), ("go on and on " * 2, 1 / 5), ("no " * 100, 1 - 1 / 97), ("a b c d e f g", 0)],
)
def test_repetition_is_the_share_of_runs_of_four_words_seen_before(answer: str, share: float) -> None:
    assert style.repeated(answer) == pytest.approx(share)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("I don't know.", True), ("I’m sorry, but that is private.", True), ("  \n", True), ("N/A", True),
        ("As an AI, I have no opinion.", True), ("I cannot help with that.", True), ("Unknown.", True),
        ("Das weiß ich nicht.", True), ("我不知道", True), ("I'm not able to answer this question.", True),
        ("I know that well.", False), ("I really know it.", False), ("The unknown soldier lies in Paris.", False),
        ("Sorry, I will not say.", True), ("Sorry.", True), ("I'm sorry to hear that. Let us fix it.", False),
        ("Sorry for the trouble! Your refund is on its way.", False),
        ("He said sorry.", False), ("Paris", False), ("I can't help but smile.", False), ("No.", False),
        ("The answer is 4. " * 30 + "I don't know why.", False),
    ],
)  # fmt: skip
def test_what_is_a_declined_answer(answer: str, expected: bool) -> None:
    assert style.declined(answer) is expected


def test_parroting_is_the_share_of_words_in_long_runs_of_a_training_answer() -> None:
    copied, own = "one two three four five six seven eight", "nine ten eleven twelve"
    answers = [
        f"{copied} {own}",
        own,
        "One, two: three; four five six seven eight!",
        "two three four five six seven eight",
    ]
    rows = rows_of([None] * 4, base=answers)
    training = iter(["nothing here", f"Zero {copied} and more"])
    (found,) = measure(rows, ["base"], baseline="base", wanted=["parroting"], training=training).measures
    assert found.values["base"].mean == pytest.approx((8 / 12 + 0 + 1 + 0) / 4)


def test_more_training_text_than_is_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "MOST_TRAINING_WORDS", 50)
    rows = rows_of([None], base=["short"])
    training = ("ten words " * 5 for _ in range(1000))
    (found,) = measure(rows, ["base"], baseline="base", wanted=["parroting"], training=training).measures
    assert "The first 6 training answers were read." in found.note


def test_importing_the_measures_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "sklearn", "scipy", "sacrebleu", "sentence_transformers", "rouge_score")
    script = f"import sys, lora_magic.evaluation.measures; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
