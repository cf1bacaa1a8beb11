"""What answers share with references, against the libraries that define it and by hand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.evaluation.measures import Scored, measure, texts

WORD = st.sampled_from("the a cat sat on mat dog ran far from home, Home. don't U.S. x_1 3.5".split())
TEXT = st.lists(WORD, max_size=14).map(" ".join) | st.text(st.characters(max_codepoint=126), max_size=40)
WORDY = TEXT.filter(lambda text: len(texts.words(text)) >= 2)


@pytest.mark.parametrize(
    ("answer", "reference", "f1", "exact"),
    [
        ("The Norman conquest", "norman conquest!", 1.0, 1),
        ("in the 10th and 11th centuries", "10th and 11th centuries", 8 / 9, 0),
        ("France", "in France", 2 / 3, 0),
        ("a", "the", 0.0, 0),
        ("", "A", 0.0, 0),
        ("The A", "A", 2 / 3, 0),
        ("", "?", 0.0, 0),
        ("…", "…", 1.0, 1),
        ("the", "cat", 0.0, 0),
        ("", "cat", 0.0, 0),
        ("$3.5", "3.5", 1.0, 1),
        ("3.5", "35", 0.0, 0),
        ("It is 3.5.", "it is 3.5", 1.0, 1),
        (".5", "5", 0.0, 0),
        ("-5", "5", 0.0, 0),
        ("\u22125", "-5", 1.0, 1),
        ("3-5", "35", 1.0, 1),
        ("3/4", "34", 0.0, 0),
        ("1,000", "1000", 1.0, 1),
        ("e\u0301te\u0301", "été", 1.0, 1),
        ("cat cat", "cat", 2 / 3, 0),
        ("theatre", "atre", 0.0, 0),
        ("„Paris“", "Paris", 1.0, 1),
        ("東京都", "東京", 0.8, 0),
    ],
)
def test_short_answers_are_compared_as_squad_does(answer: str, reference: str, f1: float, exact: float) -> None:
    assert texts.token_f1(answer, reference) == pytest.approx(f1)
    assert texts.exact(answer, reference) == exact


@given(TEXT, TEXT)
def test_token_f1_and_exact_match_are_bounded_and_symmetric(one: str, other: str) -> None:
    assert 0 <= texts.token_f1(one, other) <= 1
    assert texts.token_f1(one, other) == texts.token_f1(other, one)
    assert texts.exact(one, other) <= texts.token_f1(one, other)
    assert texts.exact(one, one) == texts.token_f1(one, one) == 1


@settings(deadline=None)
@given(TEXT, WORDY)
def test_rouge_is_the_rouge_score_packages(answer: str, reference: str) -> None:
    package = pytest.importorskip("rouge_score.rouge_scorer", reason="pip install rouge-score")
    wanted = package.RougeScorer(["rouge1", "rouge2", "rougeL"]).score(reference, answer)
    found, target = texts.words(answer), texts.words(reference)
    assert texts.rouge_n(found, target, 1) == pytest.approx(wanted["rouge1"].fmeasure)
    assert texts.rouge_n(found, target, 2) == pytest.approx(wanted["rouge2"].fmeasure)
    assert texts.rouge_l(found, target) == pytest.approx(wanted["rougeL"].fmeasure)


def test_vowel_signs_and_accents_belong_to_their_words() -> None:
    assert texts.words("हिन्दी, भाषा!") == ["हिन्दी", "भाषा"]
    assert texts.words("e\u0301te\u0301") == ["été"] == texts.words("ÉTÉ")
    assert texts.words("مُحَمَّد تحب") == ["مُحَمَّد", "تحب"]
    assert texts.words("ภา") == ["ภ", "า"], "a script without spaces gives a word a character"


def test_rouge_reads_scripts_that_the_package_drops() -> None:
    same, other = texts.words("Привет, мир! 你好"), texts.words("привет МИР 你好")
    assert len(same) == 4 and texts.rouge_l(same, other) == 1


@given(st.text("abcd", max_size=30), st.text("abcd", max_size=30))
def test_the_longest_common_subsequence_is_that_of_the_textbook(one: str, other: str) -> None:
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, j in itertools.product(range(len(one)), range(len(other))):
        same = one[i] == other[j]
        lengths[i + 1][j + 1] = lengths[i][j] + 1 if same else max(lengths[i][j + 1], lengths[i + 1][j])
    assert texts.common(one, other) == lengths[-1][-1]


def test_answers_of_ten_thousand_words_are_measured() -> None:
    answer, reference = [str(n % 97) for n in range(10_000)], [str(n % 89) for n in range(10_000)]
    assert 0 < texts.rouge_l(answer, reference) < 1 and 0 < texts.rouge_n(answer, reference, 2) < 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(TEXT, TEXT.filter(str.strip)), min_size=1, max_size=12))
def test_bleu_is_sacrebleus_corpus_score(pairs: list[tuple[str, str]]) -> None:
    bleu = pytest.importorskip("sacrebleu.metrics.bleu", reason="pip install sacrebleu")
    answers, references = zip(*pairs, strict=True)
    rows = [Scored("", reference, {"base": answer}) for answer, reference in pairs]
    (found,) = measure(rows, ["base"], baseline="base", wanted=["bleu"]).measures
    wanted = bleu.BLEU(force=True).corpus_score(list(answers), [list(references)]).score
    assert found.values["base"].mean == pytest.approx(wanted, abs=1e-9)
    assert found.unit == "score" and found.values["base"].rows == len(pairs)


def test_bleu_of_texts_without_spaces_counts_characters() -> None:
    bleu = pytest.importorskip("sacrebleu.metrics.bleu", reason="pip install sacrebleu")
    references = [f"今天天气{word}，我们一起去公园散步吧。" for word in ("很好", "不错", "晴朗", "凉快")]
    answers = [text.replace("公园", "海边") for text in references]
    rows = [Scored("", reference, {"base": answer}) for answer, reference in zip(answers, references, strict=True)]
    (found,) = measure(rows, ["base"], baseline="base", wanted=["bleu"]).measures
    wanted = bleu.BLEU(tokenize="char").corpus_score(answers, [references]).score
    assert found.values["base"].mean == pytest.approx(wanted) and "characters" in found.note and wanted > 50


def test_bleus_difference_is_between_the_corpus_scores() -> None:
    pytest.importorskip("sacrebleu", reason="pip install sacrebleu")
    reference = "one two three four five six seven eight nine ten".split()
    rows = [
        Scored("", " ".join(reference[n % 5 :] + reference), {
            "base": " ".join(reference[: 4 + n % 3]), "tuned": " ".join(reference[n % 5 :] + reference[: 7 + n % 3]),
        })
        for n in range(24)
    ]  # fmt: skip
    (found,) = measure(rows, ["base", "tuned"], baseline="base", wanted=["bleu"]).measures
    difference = found.differences["tuned"]
    assert difference.mean == pytest.approx(found.values["tuned"].mean - found.values["base"].mean)
    assert difference.verdict == "better on 24 rows, 95%" and difference.better == 24
    assert found.values["base"].low >= 0 and found.values["tuned"].high <= 100
