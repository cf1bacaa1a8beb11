"""Labels: how answers are read, and accuracy, macro-F1 and AUC against scikit-learn."""

from __future__ import annotations

import math
import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.evaluation.measures import Scored, measure
from lora_magic.evaluation.measures.labels import Labels
from lora_magic.results.measures import Measures

KINDS = ["positive", "negative", "neutral"]


def labelled(answers: list[tuple[str, str]], **more: list[str]) -> list[Scored]:
    rows = [Scored("", reference, {"base": answer}) for answer, reference in answers]
    for name, column in more.items():
        rows = [Scored("", row.reference, {**row.outputs, name: text}) for row, text in zip(rows, column, strict=True)]
    return rows


def measured(rows: list[Scored], *wanted: str, columns: tuple[str, ...] = ("base",), **more: object) -> Measures:
    return measure(rows, columns, baseline="base", wanted=wanted, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "given_label"),
    [
        ("positive", "positive"),
        (" Positive.\n", "positive"),
        ("**Very positive**", "very positive"),
        ("The review is positive!", "positive"),
        ("It is very positive, I think.", "very positive"),
        ("positively glowing", ""),
        ("positive or negative", ""),
        ("positive, yes, positive", "positive"),
        ("", ""),
        ("C++", "c++"),
        ("It is C.", "c"),
        ("<b>negative</b>", "negative"),
    ],
)
def test_an_answer_gives_the_label_that_it_is_or_the_only_one_in_it(answer: str, given_label: str) -> None:
    assert Labels(["Positive", "negative", "very positive", "C", "c++"]).read(answer) == given_label


@pytest.mark.parametrize(
    ("answer", "given_label"),
    [
        ("正面。", "正面"), ("这条评论是负面的。", "负面"), ("正面还是负面？", ""), ("cafe\u0301", "caf\u00e9"),
        ("这是caf\u00e9吗", "caf\u00e9"), ("caf\u00e9s", ""),
    ],
)  # fmt: skip
def test_labels_in_scripts_without_spaces_and_with_accents_of_their_own(answer: str, given_label: str) -> None:
    assert Labels(["正面", "负面", "caf\u00e9"]).read(answer) == given_label


@pytest.mark.parametrize(
    ("answer", "given_label"),
    [
        ("4 stars", "4"), ("I say: 4.", "4"), ("4, I think", "4"), ("-1", "-1"), ("It is -1.", "-1"),
        ("4.7 stars", ""), ("-4", ""), ("It is -4.", ""), ("3/4", ""), ("1 or 4", ""),
    ],
)  # fmt: skip
def test_a_part_of_another_number_is_no_label(answer: str, given_label: str) -> None:
    assert Labels(["1", "4", "-1"]).read(answer) == given_label


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([*KINDS, "who knows"]), st.sampled_from(KINDS)), min_size=1, max_size=40))
def test_accuracy_and_macro_f1_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="pip install scikit-learn")
    accuracy, macro = measured(labelled(pairs), "macro-f1", "label-accuracy").measures
    given_labels, truth = zip(*pairs, strict=True)
    assert accuracy.values["base"].mean == pytest.approx(metrics.accuracy_score(truth, given_labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = metrics.f1_score(truth, given_labels, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert macro.values["base"].mean == pytest.approx(wanted)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_auc_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="pip install scikit-learn")
    truth = [spam for _, spam in rows]
    losses = [{"Spam": 1.0 - odds, "ham": 1.0} for odds, _ in rows]
    answers = labelled([("ham", "Spam" if spam else "ham") for spam in truth])
    found = measured(answers, "auc", label_losses={"base": losses})
    if len(set(truth)) < 2:
        assert found.measures == () and "it takes 2 labels" in found.notes[0]
    else:
        wanted = metrics.roc_auc_score(truth, [odds for odds, _ in rows])
        assert found.measures[0].values["base"].mean == pytest.approx(wanted)


def test_auc_without_scores_is_left_out_with_the_reason() -> None:
    rows = labelled([("spam", "spam"), ("ham", "ham")] * 6)
    found = measure(rows, ["base"], baseline="base")
    assert "auc" not in [one.name for one in found.measures]
    assert any(note.startswith("AUC is left out: an answer alone has no score") for note in found.notes)
    broken = {"base": [{"spam": math.nan, "ham": 1.0}] * 12}
    assert "same label" in measured(rows, "auc", label_losses=broken).notes[0]


def test_how_answers_were_read_is_told() -> None:
    pairs = [("positive", "positive"), ("It is negative.", "negative"), ("no idea", "neutral")] * 4
    (found,) = measured(labelled(pairs), "label-accuracy").measures
    assert "base: 4 of 12 answers are a label and no more, 4 hold none or several." in found.note
    assert found.values["base"].mean == pytest.approx(2 / 3)


def test_a_better_labeller_is_told_by_both_figures() -> None:
    shuffle = random.Random(3)
    truth = [shuffle.choice(KINDS) for _ in range(60)]
    base = [(shuffle.choice(KINDS), one) for one in truth]
    rows = labelled(base, tuned=[one if shuffle.random() < 0.9 else "neutral" for one in truth])
    for one in measured(rows, "label-accuracy", "macro-f1", columns=("base", "tuned")).measures:
        difference = one.differences["tuned"]
        assert difference.verdict == "better on 60 rows, 95%" and difference.better > 20 > difference.worse
        assert 0.2 < difference.low < difference.mean < difference.high <= 1


def test_a_perfect_macro_f1_is_not_certain() -> None:
    (found,) = measured(labelled([(kind, kind) for kind in KINDS] * 7), "macro-f1").measures
    value = found.values["base"]
    assert value.mean == value.high == 1 and 0.7 < value.low < 0.95
