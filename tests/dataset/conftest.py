"""Small tokenizers with the special tokens of the well-known model families, and their chat templates."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
  {%- set system, rest = messages[0]["content"], messages[1:] %}
{%- else %}
  {%- set rest = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in rest %}
  {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
    {{- raise_exception("roles must alternate user/assistant/user/assistant/...") }}
  {%- endif %}
  {%- if message["role"] == "user" and system is defined and loop.revindex0 <= 1 %}
    {{- "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
  {%- elif message["role"] == "user" %}
    {{- "[INST] " + message["content"] + "[/INST]" }}
  {%- else %}
    {{- " " + message["content"]|trim + eos_token }}
  {%- endif %}
{%- endfor %}"""

MISTRAL_FIRST = """\
{{ bos_token }}
{%- for message in messages %}
  {%- if message["role"] == "user" %}
    {{- "[INST] " + message["content"] + " [/INST]" }}
  {%- elif message["role"] == "assistant" %}
    {{- message["content"] + eos_token }}
  {%- else %}
    {{- raise_exception("Only user and assistant roles are supported!") }}
  {%- endif %}
{%- endfor %}"""

CHATML = """\
{%- for message in messages %}
  {{- "<|im_start|>" + message["role"] + "\\n" + message["content"] + "<|im_end|>" + "\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- "<|im_start|>assistant\\n" }}
{%- endif %}"""

PHI4 = """\
{%- for message in messages %}
  {{- "<|im_start|>" + message["role"] + "<|im_sep|>" + message["content"] + "<|im_end|>" }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- "<|im_start|>assistant<|im_sep|>" }}
{%- endif %}"""


@dataclass(frozen=True)
class Family:
    """What sets a model family's tokenizer and template apart.

    `template` is a file of trl's, or the text itself; `end` is what ends an answer, `final_end` the last one.
    """

    template: str
    end: str
    special: tuple[str, ...]
    bos: str | None = None
    eos: str | None = None
    adds_bos: bool = False
    kind: str = "bytes"
    final_end: str | None = None
    lead: str = ""
    final_lead: str = ""
    system: bool = True


IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA: dict[str, Any] = {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>", "adds_bos": True}
GEMMA: dict[str, Any] = {"bos": "<bos>", "eos": "<eos>", "adds_bos": True, "kind": "pieces"}
MIS: dict[str, Any] = {"bos": "<s>", "eos": "</s>", "adds_bos": True, "kind": "prefixed"}
TURN = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
INST = ("<s>", "</s>", "[INST]", "[/INST]")
PHI = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")
GPT = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|endoftext|>")
GLM = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|endoftext|>")
DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
COHERE = (
    "<BOS_TOKEN>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
)
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"

FAMILIES: dict[str, Family] = {
    "llama3": Family("llama3.jinja", "<|eot_id|>", HEADERS, **LLAMA),
    "llama3_2": Family("llama3_2.jinja", "<|eot_id|>", HEADERS, **LLAMA),
    "llama3_1": Family("llama3_1.jinja", "<|eot_id|>", HEADERS, **LLAMA),
    "qwen2_5": Family("qwen2_5.jinja", "<|im_end|>", IM, eos="<|im_end|>"),
    "qwen3": Family("qwen3.jinja", "<|im_end|>", IM, eos="<|im_end|>", final_lead=EMPTY_THOUGHT),
    "qwen3_instruct": Family("qwen3_instruct_2507.jinja", "<|im_end|>", IM, eos="<|im_end|>"),
    "mistral": Family(MISTRAL, "</s>", INST, lead=" ", **MIS),
    "mistral_first": Family(MISTRAL_FIRST, "</s>", INST, system=False, **MIS),
    "gemma": Family("gemma.jinja", "<end_of_turn>", TURN, system=False, **GEMMA),
    "gemma3": Family("gemma3.jinja", "<end_of_turn>", TURN, **GEMMA),
    "phi3": Family("phi3.jinja", "<|end|>", PHI, eos="<|endoftext|>", kind="prefixed"),
    "phi3_5": Family("phi3_5.jinja", "<|end|>", PHI, eos="<|endoftext|>", kind="prefixed"),
    "phi4": Family(PHI4, "<|im_end|>", (*IM, "<|im_sep|>"), eos="<|im_end|>"),
    "chatml": Family(CHATML, "<|im_end|>", IM, eos="<|im_end|>"),
    "qwen3_6": Family("qwen3_6.jinja", "<|im_end|>", IM, eos="<|im_end|>", final_lead="\n</think>\n\n"),
    "deepseek": Family("deepseekv3.jinja", DEEPSEEK[1], DEEPSEEK, bos=DEEPSEEK[0], eos=DEEPSEEK[1], adds_bos=True),
    "cohere2": Family(
        "cohere2.jinja",
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        COHERE,
        bos="<BOS_TOKEN>",
        eos="<|END_OF_TURN_TOKEN|>",
        adds_bos=True,
    ),
    "gptoss": Family(
        "gptoss.jinja",
        "<|end|>",
        GPT,
        eos="<|return|>",
        final_end="<|return|>",
        lead="<|channel|>final<|message|>",
        final_lead="<|channel|>final<|message|>",
    ),
}


def template_text(template: str) -> str:
    """A template's text; trl's are read from where it is installed, without importing it."""
    if not template.endswith(".jinja"):
        return template
    spec = importlib.util.find_spec("trl")
    if spec is None or spec.origin is None:
        pytest.skip("trl is not installed")
    path = Path(spec.origin).parent / "chat_templates" / template
    if not path.exists():
        pytest.skip(f"this trl has no {template}")
    return path.read_text(encoding="utf-8")


CORPUS = [
    "The parcel left the depot on Monday. User: where is it? Assistant: it is on its way, café, naïve, 你好.",
    "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\n",
    '{"order": 17, "status": "sent"} and [1, 2, 3]; 48/2 = 24 clips.\n#### 72',
] * 3


def _bytes(special: list[str]) -> Any:
    """Byte-level BPE, as Llama 3 and Qwen have it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    word, number, line_ends, sign = r"[ .]?\p{L}+", r"\p{N}{1,3}", r"\s*[\r\n]+", r" ?[^\s\p{L}\p{N}]+[\r\n]*"
    pattern = Regex("|".join([word, number, sign, line_ends, r"\s+(?!\S)", r"\s+"]))
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _pieces(special: list[str], prepend: str) -> Any:
    """BPE with "▁" for spaces and bytes for the unknown, as Gemma and (prepending one) Mistral have it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=None, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=True)
    tail = [decoders.Strip(" ", 1, 0)] if prepend == "first" else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *tail])
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=[*special, *fallback], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _build(special: tuple[str, ...], kind: str) -> Any:
    """A raw tokenizer whose special tokens are exactly `special`."""
    from tokenizers import AddedToken, Tokenizer

    raw = (
        _bytes(list(special)) if kind == "bytes" else _pieces(list(special), "first" if kind == "prefixed" else "never")
    )
    text = raw.to_str()
    if kind != "bytes":
        import json

        data = json.loads(text)
        data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] in special]
        text = json.dumps(data)
    raw = Tokenizer.from_str(text)
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return raw


@cache
def tokenizer_of(name: str, template: bool = True) -> Any:
    """A family's tokenizer, with its template or (as a base model's) without one."""
    from tokenizers.processors import Sequence, TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    family = FAMILIES[name]
    raw = _build(family.special, family.kind)
    if family.adds_bos and family.bos:
        adds = TemplateProcessing(single=f"{family.bos} $A", special_tokens=[(family.bos, raw.token_to_id(family.bos))])
        raw.post_processor = Sequence([raw.post_processor, adds]) if raw.post_processor else adds
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=family.bos, eos_token=family.eos, clean_up_tokenization_spaces=False
    )
    made.chat_template = template_text(family.template) if template else None
    return made


@pytest.fixture
def tokenizer() -> Any:
    """A ChatML tokenizer."""
    return tokenizer_of("chatml")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Writes a file into an empty folder."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file
