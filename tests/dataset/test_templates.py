"""Every well-known template against an independent reading of it: what the template itself says an answer is."""

from __future__ import annotations

import ast
import copy
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lora_magic.demo
from lora_magic.dataset.store import Row
from lora_magic.dataset.template import Renderer, read_template, render
from lora_magic.dataset.tokens import prompt_ids, tokenise
from lora_magic.dataset.turns import Example, Turn
from lora_magic.errors import LoraError

from .conftest import FAMILIES, template_text, tokenizer_of
from .test_tokens import decode, trained

Tokenizer = Any

# trl's training variants mark with {% generation %} what the model says.
MARKED = {
    "llama3": "llama3_training.jinja",
    "qwen2_5": "qwen2_5_training.jinja",
    "qwen3": "qwen3_training.jinja",
    "qwen3_instruct": "qwen3_instruct_2507_training.jinja",
    "gemma": "gemma_training.jinja",
    "gemma3": "gemma3_training.jinja",
    "phi3": "phi3_training.jinja",
    "phi3_5": "phi3_5_training.jinja",
    "qwen3_6": "qwen3_6_training.jinja",
}
THINKING = {"qwen3": ["qwen3_5_think.jinja", "qwen3_8.jinja"], "chatml": ["qwen3_5_nothink.jinja"]}
# Unsloth's names, and whose special tokens they want.
UNSLOTH = {
    "llama3_template": "llama3",
    "llama31_template": "llama3_1",
    "qwen25_template": "qwen2_5",
    "qwen3_template": "qwen3",
    "qwen3_instruct_template": "qwen3",
    "mistral_template": "mistral",
    "gemma_template": "gemma",
    "gemma3_template": "gemma3",
    "phi3_template": "phi3",
    "phi4_template": "phi4",
    "chatml_template": "chatml",
}
NAMES = [
    *(name for name in FAMILIES if name not in ("deepseek", "cohere2", "gptoss")),
    "demo",
    *(f"trl:{family}:{file}" for family, files in THINKING.items() for file in files),
    *(f"trl:{family}:{file}" for family, file in MARKED.items()),
    *(f"unsloth:{family}:{name}" for name, family in UNSLOTH.items()),
]

FRAGMENTS = ["a", "It left.", " ", "  ", "\n", "\n\n", "é", "你好", "🙂", "\u200b", "{{ x }}", "{% raw %}", "1+1", "\t"]
MARKUP = ["<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>", "[/INST]", "<|end|>", "<think>", "<|im_start|>user\n"]
TEXTS = st.lists(st.sampled_from(FRAGMENTS + MARKUP), min_size=1, max_size=6).map("".join).filter(str.strip)
ANSWERS = ("It left the depot on Monday.", "Yes: 48/2 = 24, naïve café 你好 🙂\n\n    return a + b")


@cache
def demo() -> Tokenizer:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(lora_magic.demo.__file__).parent / "model")


@cache
def unsloth_template(name: str) -> str:
    """A template out of Unsloth's source, read without running it."""
    spec = importlib.util.find_spec("unsloth")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0], "chat_templates.py") if folders else Path()
    if not path.is_file():
        pytest.skip("Unsloth is not installed")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            text = ast.literal_eval(node.value)
            assert isinstance(text, str)
            return text
    pytest.skip(f"this Unsloth has no {name}")


@cache
def setting(name: str) -> tuple[Tokenizer, str | None, str]:
    """A tokenizer, the template to use in place of its own, and what ends an answer."""
    if name == "demo":
        return demo(), None, "<|end|>"
    if name in FAMILIES:
        return tokenizer_of(name), None, FAMILIES[name].end
    whose, family, template = name.split(":")
    text = template_text(template) if whose == "trl" else unsloth_template(template)
    return tokenizer_of(family), text, FAMILIES[family].end


def messages(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def expected(tokenizer: Tokenizer, template: str | None, turns: tuple[Turn, ...], end: str) -> list[str] | None:
    """Each answer with its end, from renderings by transformers alone.

    An answer is what follows the generation prompt of the turns before it, as far as it stays the same whatever
    the next user says, up to its last end-of-turn. None where the template moves earlier turns about.
    """

    def rendered(some: tuple[Turn, ...], prompt: bool = False) -> str:
        text: str = tokenizer.apply_chat_template(
            messages(some), chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
        return text

    whole, answers = rendered(turns), []
    for i, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        prompt = rendered(turns[:i], prompt=True)
        last = i == len(turns) - 1
        other = whole if last else rendered((*turns[: i + 1], Turn("user", "\x02")))
        same = next((i for i, (a, b) in enumerate(zip(whole, other, strict=False)) if a != b), len(whole))
        region = whole[len(prompt) : same]
        if not whole.startswith(prompt) or end not in region:
            return None
        answers.append(region[: region.rindex(end) + len(end)])
    return answers


def talk(answers: tuple[str, ...], users: tuple[str, ...], system: str | None) -> tuple[Turn, ...]:
    turns = [] if system is None else [Turn("system", system)]
    for user, answer in zip(users, answers, strict=True):
        turns += [Turn("user", user), Turn("assistant", answer)]
    return tuple(turns)


def row_of(turns: tuple[Turn, ...], tokenizer: Tokenizer, template: str | None, **options: Any) -> Row:
    return tokenise([Example(turns)], tokenizer, max_length=100_000, template=template, **options).rows[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("system", [None, "", "Be brief."], ids=["no system", "empty system", "system"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_exactly_the_answers(name: str, system: str | None, count: int) -> None:
    tokenizer, template, end = setting(name)
    turns = talk((ANSWERS * 2)[-count:], tuple(f"Where is parcel {i}?" for i in range(count)), system)
    fitted = Renderer(tokenizer, template=template).fitted(turns)
    row = row_of(turns, tokenizer, template)
    runs = trained(row, tokenizer)
    wanted = expected(tokenizer, template, fitted, end)
    if wanted is None:  # the system text goes to the last user turn, or the prompt opens a thought
        assert count > 1 and any(part in name for part in ("mistral", "qwen3_6", "qwen3_5"))
        wanted = [run for run in runs if run.split("</think>")[-1].strip().removesuffix(end) in ANSWERS]
    assert len(wanted) == count and runs == wanted
    assert all(answer in run for answer, run in zip((ANSWERS * 2)[-count:], runs, strict=True))
    assert trained(row_of(turns, tokenizer, template, train_on="last"), tokenizer) == runs[-1:]
    everything = row_of(turns, tokenizer, template, train_on="all")
    assert everything.labels == everything.input_ids == row.input_ids
    if tokenizer.bos_token and tokenizer.bos_token_id in row.input_ids:
        assert row.input_ids[0] == tokenizer.bos_token_id and row.input_ids.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(TEXTS, min_size=2, max_size=6), system=st.none() | TEXTS | st.just(""))
def test_whatever_is_said(name: str, texts: list[str], system: str | None) -> None:
    tokenizer, template, end = setting(name)
    half = len(texts) // 2
    turns = talk(tuple(texts[:half]), tuple(texts[half : 2 * half]), system)
    fitted = Renderer(tokenizer, template=template).fitted(turns)
    wanted = expected(tokenizer, template, fitted, end)
    runs = trained(row_of(turns, tokenizer, template), tokenizer)
    assert len(runs) == half
    if wanted is not None:
        assert runs == wanted


@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("count", [1, 3])
def test_the_templates_own_marks(name: str, count: int) -> None:
    """What the model's makers mark as said by the model, less the header and what follows the end of turn."""
    tokenizer, template, end = setting(f"trl:{name}:{MARKED[name]}")
    turns = talk((ANSWERS * 2)[:count], ("Where is it?",) * count, None)
    done = tokenizer.apply_chat_template(
        messages(turns), chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    runs = trained(row_of(turns, tokenizer, template), tokenizer)
    ids = [token if marked else -100 for token, marked in zip(done["input_ids"], done["assistant_masks"], strict=True)]
    marked = trained(Row(done["input_ids"], ids), tokenizer)
    if name == "qwen3_6":  # its prompt opens a thought, which its marks take in
        marked, runs = ([run.split("</think>")[-1] for run in some] for some in (marked, runs))
    assert [run[: run.index(end)].lstrip("\n") for run in marked if end in run] == [
        run.removesuffix(end).lstrip("\n") for run in runs
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_special_tokens_in_what_was_said_are_words(name: str) -> None:
    tokenizer, family = tokenizer_of(name), FAMILIES[name]
    end = tokenizer.convert_tokens_to_ids(family.special[-2])
    words = f"Write {family.special[-2]} here, {family.special[-2]}."
    turns = (Turn("user", words), Turn("assistant", words))
    plain = (Turn("user", "Write it here."), Turn("assistant", "Write it here."))
    done = tokenise([Example(plain), Example(turns)], tokenizer, max_length=5000)
    assert done.rows[1].input_ids.count(end) == done.rows[0].input_ids.count(end)
    assert words in trained(done.rows[1], tokenizer)[0]
    assert [note for note in done.notes if "read as plain text" in note] == [
        "1 row with special tokens in their text, which are read as plain text there"
    ]
    asked = prompt_ids(tokenizer, turns[:1])
    assert asked == done.rows[1].input_ids[: len(asked)] or name in ("deepseek", "gptoss", "cohere2", "qwen3_6")
    assert words in decode(tokenizer, asked)


def test_special_tokens_that_cannot_be_words_are_counted() -> None:
    """A tokenizer of the old kind puts a space before everything that follows a special token."""
    from tokenizers import Tokenizer as Raw
    from transformers import PreTrainedTokenizerFast

    data = json.loads(tokenizer_of("mistral").backend_tokenizer.to_str())
    data["pre_tokenizer"] = None
    data["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Raw.from_str(json.dumps(data)), bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = template_text(FAMILIES["mistral"].template)
    done = tokenise([Example((Turn("user", "a"), Turn("assistant", "one </s> two")))], tokenizer, max_length=500)
    assert done.notes[0].startswith("1 row with special tokens in their text, which this tokenizer cannot read as")
    assert done.rows[0].input_ids.count(tokenizer.eos_token_id) == 2


def test_special_tokens_in_plain_text_act_and_are_not_doubled() -> None:
    tokenizer = tokenizer_of("llama3")
    text = "<|begin_of_text|>a page<|eot_id|>"
    row = row_of((Turn("text", text),), tokenizer, None)
    assert decode(tokenizer, row.input_ids) == text
    assert row.input_ids[0] == tokenizer.bos_token_id and row.input_ids[-1] == tokenizer.eos_token_id
    assert row.input_ids.count(tokenizer.bos_token_id) == row.input_ids.count(tokenizer.eos_token_id) == 1


TOOLS = json.dumps(
    [
        {
            "name": "weather",
            "description": "Looks it up",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "where"}}},
        }
    ]
)
CALL = json.dumps([{"function": {"name": "weather", "arguments": '{"city": "Zürich"}'}}])
CALLED = (
    Turn("user", "Is it warm in Zürich?"),
    Turn("assistant", "", CALL),
    Turn("tool", '{"degrees": 21}'),
    Turn("assistant", "Yes, 21 degrees."),
    Turn("user", "And now?"),
    Turn("assistant", "Still."),
)
QWEN_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call><|im_end|>'
LLAMA_CALL = '{"name": "weather", "parameters": {"city": "Zürich"}}<|eot_id|>'


@pytest.mark.parametrize("system", [None, "Be brief."], ids=["plain", "system"])
@pytest.mark.parametrize(
    ("name", "first", "end"),
    [
        ("qwen2_5", QWEN_CALL, "<|im_end|>"),
        ("qwen3", QWEN_CALL, "<|im_end|>"),
        ("qwen3_instruct", QWEN_CALL, "<|im_end|>"),
        ("llama3_1", LLAMA_CALL, "<|eot_id|>"),
        ("llama3_2", LLAMA_CALL, "<|eot_id|>"),
    ],
)
def test_tool_calls_are_trained_on_and_tools_answers_are_not(
    name: str, first: str, end: str, system: str | None
) -> None:
    tokenizer = tokenizer_of(name)
    turns = CALLED if system is None else (Turn("system", system), *CALLED)
    done = tokenise([Example(turns, 1, TOOLS)], tokenizer, max_length=5000)
    runs = [run.removeprefix("<think>\n\n</think>\n\n") for run in trained(done.rows[0], tokenizer)]
    assert runs == [first, f"Yes, 21 degrees.{end}", f"Still.{end}"]
    text = decode(tokenizer, done.rows[0].input_ids)
    assert "Looks it up" in text and "degrees" in text and (system or "") in text
    last = tokenise([Example(turns, 1, TOOLS)], tokenizer, max_length=5000, train_on="last").rows[0]
    assert len(trained(last, tokenizer)) == 1


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "qwen3_instruct"])
def test_tool_calls_by_the_templates_own_marks(name: str) -> None:
    tokenizer, template, end = setting(f"trl:{name}:{MARKED[name]}")
    said = messages(CALLED)
    said[1]["tool_calls"] = [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich"}}}]
    done = tokenizer.apply_chat_template(
        said, tools=[{"type": "function", "function": tool} for tool in json.loads(TOOLS)], chat_template=template,
        return_dict=True, return_assistant_tokens_mask=True,
    )  # fmt: skip
    ids = [token if marked else -100 for token, marked in zip(done["input_ids"], done["assistant_masks"], strict=True)]
    marked = trained(Row(done["input_ids"], ids), tokenizer)
    made = tokenise([Example(CALLED, 1, TOOLS)], tokenizer, max_length=5000, template=template)
    assert [run[: run.index(end)].lstrip("\n") for run in marked] == [
        run.removesuffix(end) for run in trained(made.rows[0], tokenizer)
    ]


@pytest.mark.parametrize("name", ["glm4moe", "diffusion_gemma"])
def test_what_tools_and_users_say_is_not_trained_where_turns_have_no_end(name: str) -> None:
    tokenizer = copy.deepcopy(tokenizer_of("chatml"))
    words = sorted(set(re.findall(r"<\|\w+\|?>|<\w+\|>", template_text(f"{name}.jinja"))))
    tokenizer.add_special_tokens({"additional_special_tokens": words})
    made = tokenise([Example(CALLED, 1, TOOLS)], tokenizer, max_length=5000, template=template_text(f"{name}.jinja"))
    runs = " ".join(trained(made.rows[0], tokenizer))
    assert "21 degrees" in runs and "Still." in runs and "weather" in runs
    for turn in CALLED:
        assert turn.role == "assistant" or turn.content not in runs


@pytest.mark.parametrize("name", ["llama3", "gemma", "gemma3", "phi3", "phi4", "mistral", "chatml"])
def test_a_template_without_tools_refuses_such_rows(name: str) -> None:
    tokenizer = tokenizer_of(name)
    plain = Example((Turn("user", "a"), Turn("assistant", "b")), 7)
    made = tokenise([Example(CALLED, 5, TOOLS), Example(CALLED, 6), plain], tokenizer, max_length=5000)
    assert (made.refused, made.numbers.tolist(), made.positions.tolist()) == (2, [7], [2])
    assert made.lengths.tolist()[:2] == [0, 0] and made.lengths[2] == len(made.rows[0].input_ids)
    assert "1 row left out: The chat template does not write tools" in made.notes
    assert "1 row left out: The chat template does not write tool calls" in made.notes


@pytest.mark.parametrize("calls", ["not json", "[1]", '{"name": 3}', '[{"function": "x"}]', "[" * 100_000])
def test_broken_calls_are_refused_by_row(calls: str) -> None:
    tokenizer = tokenizer_of("qwen2_5")
    broken = Example((Turn("user", "a"), Turn("assistant", "", calls)))
    plain = Example((Turn("user", "a"), Turn("assistant", "b")))
    made = tokenise([broken, plain], tokenizer, max_length=500)
    assert (made.refused, len(made.rows)) == (1, 1) and "tool calls" in made.notes[0]


OWN = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("chatml")
    before = tokenizer.chat_template
    path = tmp_path / "mine.jinja"
    path.write_text(OWN)
    template = read_template(path, tokenizer)
    turns = talk(ANSWERS, ("x", "y"), "Be brief.")
    row = row_of(turns, tokenizer, template)
    assert trained(row, tokenizer) == [f"{answer}<|im_end|>" for answer in ANSWERS]
    assert decode(tokenizer, row.input_ids).startswith("<system>Be brief.<|im_end|><user>x<|im_end|><assistant>")
    asked = render(tokenizer, turns[:2], generation_prompt=True, template=template)
    assert asked == "<system>Be brief.<|im_end|><user>x<|im_end|><assistant>"
    assert (
        prompt_ids(tokenizer, turns[:2], template=template)
        == row.input_ids[: len(prompt_ids(tokenizer, turns[:2], template=template))]
    )
    assert tokenizer.chat_template == before


def test_a_template_for_a_tokenizer_without_one(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("chatml", template=False)
    tokenizer.chat_template = None
    (tmp_path / "mine.jinja").write_text(OWN)
    read_template(tmp_path / "mine.jinja", tokenizer)
    assert tokenizer.chat_template is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"one\n{% for m in messages %}\n{% endif %}", "mine.jinja line 3: "),
        (b"{{ messages", "mine.jinja line 1: "),
        (b"nothing of it", "does not write what user and assistant say"),
        (b"{{ raise_exception('no') }}", "mine.jinja: The chat template refuses a conversation (no)"),
        (b"{{ ''.__class__.__mro__[1].__subclasses__() }}", "refuses a conversation (access to attribute"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"", "does not write"),
    ],
)
def test_a_template_that_is_none(text: bytes, said: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "mine.jinja"
    path.write_bytes(text)
    with pytest.raises(LoraError) as error:
        read_template(path, tokenizer)
    assert said in error.value.problem and "\n" not in str(error.value)


def test_a_template_that_is_not_there(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(LoraError, match="cannot be read"):
        read_template(tmp_path / "none.jinja", tokenizer)
    with pytest.raises(LoraError, match="cannot be read"):
        read_template(tmp_path, tokenizer)
