"""Tokens and labels: exactly the answers and their ends are trained on, whatever the template."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_magic.dataset.encode import threads_for
from lora_magic.dataset.template import DEFAULT, OWN, Renderer, chat_template, render
from lora_magic.dataset.tokens import Row, Tokenised, tokenise
from lora_magic.dataset.turns import Example, Turn
from lora_magic.errors import LoraError

from .conftest import FAMILIES, tokenizer_of

ANSWERS = ("It left the depot on Monday.", "Yes: 48/2 = 24, naïve café 你好 🙂\n\n    return a + b")


def conversation(answers: tuple[str, ...], system: str = "") -> Example:
    turns = [Turn("system", system)] if system else []
    for number, answer in enumerate(answers):
        turns += [Turn("user", f"Where is parcel {number}?"), Turn("assistant", answer)]
    return Example(tuple(turns))


def trained(row: Row, tokenizer: Any) -> list[str]:
    """The texts of the runs of trained tokens."""
    runs: list[list[int]] = [[]]
    for token, label in zip(row.input_ids, row.labels, strict=True):
        if label == -100:
            runs.append([])
        else:
            assert label == token
            runs[-1].append(token)
    return [decode(tokenizer, run) for run in runs if run]


def decode(tokenizer: Any, ids: list[int]) -> str:
    """Decodes after an anchor, so that a decoder that strips a leading space does not strip the run's."""
    anchor = tokenizer("|", add_special_tokens=False)["input_ids"]
    text: str = tokenizer.decode(anchor + ids, clean_up_tokenization_spaces=False)
    prefix: str = tokenizer.decode(anchor, clean_up_tokenization_spaces=False)
    return text.removeprefix(prefix)


@pytest.mark.parametrize("system", ["", "Be brief."], ids=["plain", "system"])
@pytest.mark.parametrize("answers", [ANSWERS[:1], ANSWERS[1:], ANSWERS, ANSWERS * 2], ids=["one", "odd", "two", "four"])
@pytest.mark.parametrize("name", FAMILIES)
def test_answers_and_their_ends_are_trained_on(name: str, answers: tuple[str, ...], system: str) -> None:
    family, tokenizer = FAMILIES[name], tokenizer_of(name)
    done = tokenise([conversation(answers, system)], tokenizer, max_length=4096)
    expected = [family.lead + answer + family.end for answer in answers[:-1]]
    expected.append((family.final_lead or family.lead) + answers[-1] + (family.final_end or family.end))
    assert trained(done.rows[0], tokenizer) == expected
    text = decode(tokenizer, done.rows[0].input_ids)
    assert text.replace(" ", "") == render(tokenizer, conversation(answers, system).turns).replace(" ", "")
    if family.bos:
        bos = tokenizer.bos_token_id
        assert done.rows[0].input_ids[0] == bos and done.rows[0].input_ids.count(bos) == 1
    assert any("system" in note for note in done.notes) == (bool(system) and not family.system)
    if system:
        assert "Be brief." in text


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "deepseek"])
def test_what_is_trained_on_follows_the_generation_prompt(name: str) -> None:
    tokenizer = tokenizer_of(name)
    row = tokenise([conversation(ANSWERS, "Be brief.")], tokenizer, max_length=4096).rows[0]
    last = max(i for i in range(1, len(row.labels)) if row.labels[i] != -100 and row.labels[i - 1] == -100)
    prompt = render(tokenizer, conversation(ANSWERS, "Be brief.").turns[:-1], generation_prompt=True)
    assert row.input_ids[:last] == tokenizer(prompt, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", ["llama3", "qwen3", "mistral", "gemma", "chatml"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(answers=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=3))
def test_any_answer_is_trained_on_as_rendered(name: str, answers: list[str]) -> None:
    family, tokenizer = FAMILIES[name], tokenizer_of(name)
    answers = [answer for answer in answers if answer.strip() and "<" not in answer and "▁" not in answer]
    if not answers:
        return
    row = tokenise([conversation(tuple(answers))], tokenizer, max_length=4096).rows[0]
    runs = trained(row, tokenizer)
    assert len(runs) == len(answers)
    for run, answer in zip(runs, answers, strict=True):
        assert run.endswith(family.end) and run.count(family.end) == 1
        body = run.removesuffix(family.end).removeprefix("<think>\n\n</think>\n\n").removeprefix(family.lead)
        assert body in (answer, answer.strip(), answer.lstrip("\n"))


@pytest.mark.parametrize("answer", ["\n\nIt left.", "  It left.", "It left.\n\n", "\n"])
def test_white_space_around_an_answer_stays_with_it(answer: str, tokenizer: Any) -> None:
    row = tokenise([conversation((answer, answer))], tokenizer, max_length=200).rows[0]
    assert trained(row, tokenizer) == [f"{answer}<|im_end|>"] * 2


def test_thinking_in_the_answers() -> None:
    """Qwen 3 takes the thinking out of earlier answers and keeps that of the last."""
    tokenizer = tokenizer_of("qwen3")
    answers = ("<think>\nfirst\n</think>\n\nMonday.", "<think>\nsecond\n</think>\n\nTuesday.")
    row = tokenise([conversation(answers)], tokenizer, max_length=500).rows[0]
    assert trained(row, tokenizer) == ["Monday.<|im_end|>", "<think>\nsecond\n</think>\n\nTuesday.<|im_end|>"]


def test_a_generation_prompt_that_opens_a_thought_keeps_it_out(tokenizer: Any) -> None:
    """DeepSeek's distilled models: the prompt writes <think>, the conversations carry no trace of it."""
    made = tokenizer_of("chatml", template=False)
    made.chat_template = tokenizer.chat_template.replace("assistant\\n", "assistant\\n<think>\\n")
    assert "<think>" in render(made, [Turn("user", "x")], generation_prompt=True)
    row = tokenise([conversation(ANSWERS)], made, max_length=500).rows[0]
    assert trained(row, made) == [f"{answer}<|im_end|>" for answer in ANSWERS]
    made.chat_template = None


def test_train_on(tokenizer: Any) -> None:
    example = conversation(ANSWERS, "Be brief.")
    last = tokenise([example], tokenizer, max_length=500, train_on="last").rows[0]
    assert trained(last, tokenizer) == [f"{ANSWERS[1]}<|im_end|>"]
    everything = tokenise([example], tokenizer, max_length=500, train_on="all").rows[0]
    assert everything.labels == everything.input_ids
    with pytest.raises(LoraError, match="asistant"):
        tokenise([example], tokenizer, max_length=500, train_on="asistant")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["llama3", "gemma", "chatml"])
def test_plain_text_is_trained_on_as_a_whole(name: str) -> None:
    tokenizer = tokenizer_of(name)
    text = "A page of text.\n\nAnd another."
    examples = [conversation(ANSWERS), Example((Turn("text", text),)), conversation(ANSWERS)]
    rows = tokenise(examples, tokenizer, max_length=500).rows
    assert trained(rows[1], tokenizer) == [text + tokenizer.eos_token]
    assert rows[0] == rows[2] != rows[1]


@pytest.mark.parametrize("name", ["llama3", "gemma", "mistral", "chatml"])
def test_a_base_model_gets_the_stated_default(name: str) -> None:
    tokenizer = tokenizer_of(name, template=False)
    tokenizer.chat_template = None
    assert chat_template(tokenizer)[1] == DEFAULT
    assert chat_template(tokenizer)[1] == DEFAULT
    assert chat_template(tokenizer_of(name))[1] == OWN
    row = tokenise([conversation(ANSWERS, "Be brief.")], tokenizer, max_length=500).rows[0]
    assert trained(row, tokenizer) == [answer + tokenizer.eos_token for answer in ANSWERS]
    if FAMILIES[name].adds_bos:
        assert row.input_ids[0] == tokenizer.bos_token_id and row.input_ids[1] != tokenizer.bos_token_id


def test_no_template_and_no_end_of_text() -> None:
    tokenizer = tokenizer_of("chatml", template=False)
    tokenizer.chat_template, tokenizer.eos_token = None, None
    with pytest.raises(LoraError, match="neither a chat template"):
        chat_template(tokenizer)
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = {"tools": "a", "retrieval": "b"}
    with pytest.raises(LoraError, match="several chat templates"):
        chat_template(tokenizer)
    tokenizer.chat_template = None


def test_a_template_that_does_not_end_answers_gets_an_end() -> None:
    tokenizer = tokenizer_of("phi3", template=False)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    )
    done = tokenise([conversation(ANSWERS)], tokenizer, max_length=500)
    assert trained(done.rows[0], tokenizer) == [f"{ANSWERS[0]}<|user|>", f"{ANSWERS[1]}<|endoftext|>"]
    assert any("<|endoftext|>" in note for note in done.notes)
    tokenizer.chat_template = None


def test_a_dropped_system_turn_is_folded_too(tokenizer: Any) -> None:
    made = tokenizer_of("chatml", template=False)
    only = "{%- for message in messages if message['role'] != 'system' %}"
    made.chat_template = tokenizer.chat_template.replace("{%- for message in messages %}", only)
    turns = conversation(ANSWERS[:1], "Be brief.").turns
    assert "Be brief.\n\nWhere is parcel 0?" in render(made, turns)
    assert render(made, [Turn("system", "Be brief."), Turn("assistant", "Yes.")]).count("<|im_start|>user") == 1
    made.chat_template = None


def test_rows_that_the_template_refuses_are_left_out_and_counted() -> None:
    tokenizer = tokenizer_of("gemma")
    doubled = Example((Turn("user", "a"), Turn("user", "b"), Turn("assistant", "c")))
    done = tokenise([conversation(ANSWERS), doubled, conversation(ANSWERS)], tokenizer, max_length=500)
    assert (len(done.rows), done.refused) == (2, 1)
    assert any("alternate" in note for note in done.notes)
    with pytest.raises(LoraError, match="alternate"):
        tokenise([doubled], tokenizer, max_length=500)
    with pytest.raises(LoraError, match="refuses a conversation"):
        render(tokenizer, doubled.turns)


def test_special_words_in_the_text_do_not_move_the_mask(tokenizer: Any) -> None:
    example = Example((Turn("user", "Say TurnMark1End and <|im_end|>"), Turn("assistant", "TurnMark0End.")))
    row = tokenise([example], tokenizer, max_length=500).rows[0]
    assert trained(row, tokenizer) == ["TurnMark0End.<|im_end|>"]


def test_cutting(tokenizer: Any) -> None:
    whole = tokenise([conversation(ANSWERS[:1])], tokenizer, max_length=500)
    start = next(i for i, label in enumerate(whole.rows[0].labels) if label != -100)
    length = len(whole.rows[0].labels)
    assert (whole.cut, whole.dropped, whole.notes) == (0, 0, ())
    assert tokenise([conversation(ANSWERS[:1])], tokenizer, max_length=length).cut == 0
    cut = tokenise([conversation(ANSWERS[:1])], tokenizer, max_length=start + 1)
    assert cut.cut == 1 and [len(row.labels) for row in cut.rows] == [start + 1]
    short = Example((Turn("user", "a"), Turn("assistant", "b")))
    mixed = tokenise([conversation(ANSWERS[:1]), short], tokenizer, max_length=start)
    assert (len(mixed.rows), mixed.dropped) == (1, 1)
    with pytest.raises(LoraError, match=f"have {length} to {length}") as error:
        tokenise([conversation(ANSWERS[:1])], tokenizer, max_length=start)
    assert f"--max-length, to {length}" in error.value.remedy


def test_nothing_to_do(tokenizer: Any) -> None:
    with pytest.raises(LoraError, match="no examples"):
        tokenise([], tokenizer, max_length=10)


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(LoraError, match="Slow does not say"):
        tokenise([conversation(ANSWERS)], Slow(), max_length=10)


def test_one_full_rendering_a_row(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = 0
    apply = Renderer._apply

    def counted(self: Renderer, conversations: Any, *more: Any) -> list[str]:
        nonlocal rendered
        rendered += len(conversations)
        return apply(self, conversations, *more)

    monkeypatch.setattr(Renderer, "_apply", counted)
    done = tokenise([conversation(ANSWERS[:1], "Be brief.")] * 1500, tokenizer, max_length=500)
    assert len(done.rows) == 1500 and rendered < 1500 + 10
    assert isinstance(done, Tokenised) and len(done.lengths) == 1500


def test_what_is_known_of_each_row(tokenizer: Any) -> None:
    short = Example((Turn("user", "a"), Turn("assistant", "b")), 11)
    long = Example((Turn("user", "word " * 100), Turn("assistant", "b")), 12)
    cut = Example((Turn("user", "a"), Turn("assistant", "word " * 100)), 13)
    whole = tokenise([short, long, cut], tokenizer, max_length=1000)
    done = tokenise([short, long, cut], tokenizer, max_length=30)
    assert (done.numbers.tolist(), done.positions.tolist()) == ([11, 13], [0, 2])
    assert done.lengths.tolist() == whole.lengths.tolist() == [len(row.input_ids) for row in whole.rows]
    assert done.trained.tolist() == [sum(label != -100 for label in row.labels) for row in done.rows]
    assert done.lost_tokens == whole.trained.sum() - done.trained.sum() and done.lost_tokens > 90
    assert whole.lost_tokens == 0 and (done.cut, done.dropped) == (1, 1)
    unnumbered = tokenise([Example(short.turns), Example(short.turns)], tokenizer, max_length=100)
    assert unnumbered.numbers.tolist() == [1, 2]


def test_rows_are_a_sequence(tokenizer: Any) -> None:
    rows = tokenise([conversation((f"Answer {i}.",)) for i in range(5)], tokenizer, max_length=100).rows
    assert len(rows) == 5 and rows[-1] == rows[4] == list(rows)[4] != rows[3]
    assert rows[1:3] == [rows[1], rows[2]]
    for outside in (5, -6):
        with pytest.raises(IndexError):
            rows[outside]
    assert rows.labels().tolist() == [label for row in rows for label in row.labels]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("spill", [100, 1 << 30], ids=["file", "memory"])
def test_threads_and_files_change_nothing(
    threads: int, spill: int, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    examples = [conversation((f"Answer {i} <|im_end|>" * (i % 7 + 1),)) for i in range(700)]
    expected = tokenise(examples, tokenizer, max_length=60)
    monkeypatch.setattr("lora_magic.dataset.store.SPILL_BYTES", spill)
    done = tokenise(iter(examples), tokenizer, max_length=60, processes=threads)
    assert list(done.rows) == list(expected.rows) and done.notes == expected.notes
    assert done.lengths.tolist() == expected.lengths.tolist() and done.numbers.tolist() == expected.numbers.tolist()
    assert isinstance(done.rows.tokens, np.memmap) == (spill == 100)
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_a_full_disk_is_one_line(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lora_magic.dataset.store.SPILL_BYTES", 10)
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(LoraError, match="No space left") as error:
        tokenise([conversation(ANSWERS)], tokenizer, max_length=500)
    assert "TMPDIR" in error.value.remedy


def test_an_error_in_the_examples_comes_through(tokenizer: Any) -> None:
    def broken() -> Any:
        yield from [conversation(ANSWERS)] * 600
        raise LoraError("The file changed.", "Again.")

    with pytest.raises(LoraError, match="file changed"):
        tokenise(broken(), tokenizer, max_length=500, processes=2)


def test_a_tokenizer_left_on_truncating_and_padding_does_neither(tokenizer: Any) -> None:
    expected = list(tokenise([conversation(ANSWERS)], tokenizer, max_length=500).rows)
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=400)
    assert list(tokenise([conversation(ANSWERS)], tokenizer, max_length=500).rows) == expected


def test_few_rows_need_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(64), raising=False)
    assert (threads_for(100), threads_for(100_000)) == (1, 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(1), raising=False)
    assert threads_for(100_000) == 1
