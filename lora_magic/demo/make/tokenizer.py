"""The tokenizer: a byte-level BPE with single digits, and the chat template.

Each word of the world should be one token both after a space and after a quote, so that a fact learned in a
sentence is the same token in JSON; the words are therefore repeated among the training lines.
"""

import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lora_magic.demo.make import skills
from lora_magic.demo.make.facts import all_facts

CORE_WEIGHT = 2_000  # how often a word of the world counts
BOS, END, PAD = "<|bos|>", "<|end|>", "<|pad|>"
SPACE = "\u0120"  # how byte-level BPE writes a space
ROLES = ("system", "user", "assistant")
SPECIAL = (PAD, BOS, END, *(f"<|{role}|>" for role in ROLES))

CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{- raise_exception('The demo model knows the roles system, user and assistant, not ' + message['role']) }}"
    "{%- endif %}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)


def _lines(paths: Iterable[Path], per_file: int) -> Iterator[str]:
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for _, line in zip(range(per_file), file, strict=False):
                yield from (content for _, content in json.loads(line))


def _core_words() -> set[str]:
    return {word for fact in all_facts() for word in (fact.subject, fact.value)} | set(skills.LABEL_WORDS)


def _common(lines: list[str], least: int) -> list[str]:
    """The lines' pieces between spaces that occur at least `least` times, as often as they occur."""
    counts = Counter(piece for line in lines for piece in re.findall(r"[A-Za-z]+|[^A-Za-z\s]+", line))
    return [piece for piece in sorted(counts) for _ in range(counts[piece]) if counts[piece] >= least]


def _without_spaces(lines: list[str], size: int) -> Tokenizer:
    """A BPE of words alone; a space is always a token of its own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(" ", "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    repeated = (word for word in sorted(_core_words()) for _ in range(CORE_WEIGHT))
    bpe.train_from_iterator((piece for source in (_common(lines, 40), repeated) for piece in source), trainer)
    return bpe


def _spaced_forms(bare: Tokenizer, lines: list[str], count: int) -> list[str]:
    """The `count` tokens that follow a space most often, the world's words first."""
    after: Counter[str] = Counter()
    for encoding in bare.encode_batch(lines, add_special_tokens=False):
        tokens = encoding.tokens
        after.update(token for space, token in pairwise(tokens) if space == SPACE)
    words = _core_words()
    ranked = sorted((token for token in after if token != SPACE), key=lambda token: (-after[token], token))
    known = [token for token in bare.get_vocab() if token in words]
    return list(dict.fromkeys([*sorted(known), *ranked]))[:count]


def train(paths: list[Path], vocabulary: int, bare_size: int) -> Tokenizer:
    """A BPE of `vocabulary` entries, learned from a sample of the corpus and the world's words.

    The first `bare_size` entries are learned with spaces apart; each further entry joins a space to one of them,
    by a merge that comes after all others. So a word with a space in front costs one entry more, not a chain.
    """
    lines = list(_lines(paths[:4], 10_000))
    bare = _without_spaces(lines, bare_size)
    learned = json.loads(bare.to_str())["model"]
    entries: dict[str, int] = learned["vocab"]
    merges = [tuple(pair) for pair in learned["merges"]]
    for token in _spaced_forms(bare, lines, vocabulary - len(entries)):
        merges.append((SPACE, token))
        entries[SPACE + token] = len(entries)
    bpe = Tokenizer(models.BPE(vocab=entries, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(list(SPECIAL))
    return bpe


def save(bpe: Tokenizer, folder: Path, max_length: int) -> None:
    """Write `tokenizer.json` (compact), its settings and the chat template as a Hugging Face folder has them."""
    folder.mkdir(parents=True, exist_ok=True)
    compact = json.dumps(json.loads(bpe.to_str()), ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(compact, encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": END,
        "pad_token": PAD,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
        "padding_side": "left",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def token_ids(bpe: Tokenizer) -> dict[str, int]:
    """The ids of the special tokens."""
    entries = bpe.get_vocab()
    return {token: entries[token] for token in SPECIAL}


def encode(folder: Path, path: Path) -> tuple[bytes, bytes, bytes]:
    """A shard's conversations as the chat template renders them, by the tokenizer in `folder`.

    Gives three buffers: token ids (int16, all rows after each other), one flag a token (int8, 1 on a reply and its
    end), and each row's length (int32).
    """
    bpe = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with path.open(encoding="utf-8") as file:
        conversations = [json.loads(line) for line in file]
    texts = [text for turns in conversations for _, text in turns]
    pieces = iter(bpe.encode_batch_fast(texts, add_special_tokens=False))
    special = token_ids(bpe)
    ids, flags, lengths = array("h"), array("b"), array("i")
    for turns in conversations:
        start = len(ids)
        ids.append(special[BOS])
        flags.append(0)
        for role, _ in turns:
            piece = next(pieces).ids
            ids.extend([special[f"<|{role}|>"], *piece, special[END]])
            flags.extend([0] + [int(role == "assistant")] * (len(piece) + 1))
        lengths.append(len(ids) - start)
    return ids.tobytes(), flags.tobytes(), lengths.tobytes()
