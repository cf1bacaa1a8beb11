"""Examples into token ids and labels, through the model's own chat template."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

from lora_magic.dataset.collate import MASKED, Features
from lora_magic.dataset.spans import Span, SpanFinder
from lora_magic.dataset.template import Renderer, Tokenizer
from lora_magic.dataset.turns import Example
from lora_magic.errors import LoraError

TrainOn = Literal["assistant", "last", "all"]
Offsets = Sequence[tuple[int, ...]]

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One row for training.

    Attributes:
        input_ids: its tokens.
        labels: as long: the token where it is trained on, -100 where it is not.
    """

    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Tokenised:
    """Examples as rows of tokens.

    Attributes:
        rows: in the examples' order, each with at least one trained token and at most `max_length` tokens.
        cut: how many of them lost their end to `max_length`.
        dropped: how many examples had no trained token left within `max_length` and are not among the rows.
        refused: how many examples the chat template does not take and are not among the rows.
        notes: what was decided on the way, a sentence each.
    """

    rows: list[Row]
    cut: int = 0
    dropped: int = 0
    refused: int = 0
    notes: tuple[str, ...] = ()

    @property
    def features(self) -> list[Features]:
        """The rows as the dicts that a trainer's data set and `Collator` take."""
        return [{"input_ids": row.input_ids, "labels": row.labels} for row in self.rows]


def tokenise(
    examples: Sequence[Example], tokenizer: Tokenizer, *, max_length: int, train_on: TrainOn = "assistant"
) -> Tokenised:
    """Renders and tokenises each example once, and labels what is to be trained on.

    Trained on are the answers as the template writes them, each with its end-of-turn token, or a plain text
    as a whole, with its end-of-text token.

    Args:
        examples: conversations that end with an answer, or plain text.
        tokenizer: a fast transformers tokenizer; see `template.chat_template`.
        max_length: rows are cut to this many tokens.
        train_on: "assistant" for every answer, "last" for the last one, "all" for every token.

    Raises:
        LoraError: the tokenizer is slow, `train_on` is unknown, or no row has a trained token left.
    """
    if not tokenizer.is_fast:
        remedy = "Load a model that has a tokenizer.json."
        raise LoraError(f"{type(tokenizer).__name__} does not say where its tokens lie in a text.", remedy)
    if train_on not in get_args(TrainOn):
        raise LoraError(f'"{train_on}" is not a choice of what to train on.', f"One of {', '.join(get_args(TrainOn))}.")
    work = _Work(tokenizer, max_length, train_on)
    for start in range(0, len(examples), _AT_ONCE):
        work.add(examples[start : start + _AT_ONCE])
    return work.result()


@dataclass
class _Work:
    """One call of `tokenise` under way."""

    tokenizer: Tokenizer
    max_length: int
    train_on: TrainOn
    rows: list[Row] = field(default_factory=list)
    cut: int = 0
    lengths_dropped: list[int] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    folded: int = 0
    ended: int = 0

    def __post_init__(self) -> None:
        self.renderer = Renderer(self.tokenizer)
        self.finder = SpanFinder(self.renderer)

    def add(self, examples: Sequence[Example]) -> None:
        """Takes some examples through all stages."""
        prepared = [*self._prepared(examples)]
        if not prepared:
            return
        encoded = self._encode([text for text, _ in prepared])
        for (text, spans), (ids, offsets) in zip(prepared, encoded, strict=True):
            inside = _straddled(offsets, spans)
            self._keep(*(self._encode_split(text, inside, ids, offsets) if inside else (ids, offsets)), spans)

    def result(self) -> Tokenised:
        """What came of it.

        Raises:
            LoraError: nothing did.
        """
        dropped, refused = len(self.lengths_dropped), self.refusals.total()
        if not self.rows:
            raise self._nothing_left()
        notes = [f"{count} rows left out: {reason}" for reason, count in self.refusals.items()]
        if self.folded:
            notes.append("the chat template takes no system turn: its text goes at the head of the first user turn")
        if self.ended:
            notes.append(f"the chat template does not end its answers: {self.tokenizer.eos_token} is added to the last")
        if self.cut:
            notes.append(f"{self.cut} rows cut to {self.max_length} tokens")
        if dropped:
            notes.append(f"{dropped} rows left out: their answer starts after {self.max_length} tokens")
        return Tokenised(self.rows, self.cut, dropped, refused, tuple(notes))

    def _nothing_left(self) -> LoraError:
        if self.lengths_dropped:
            shortest, longest = min(self.lengths_dropped), max(self.lengths_dropped)
            problem = f"No answer starts within {self.max_length} tokens: the rows have {shortest} to {longest}."
            return LoraError(problem, f"Raise --max-length, to {longest} for all of them.")
        if self.refusals:
            reason = self.refusals.most_common(1)[0][0]
            return LoraError(
                f"The chat template takes none of the rows: {reason}.", "Change the rows, or load another model."
            )
        return LoraError("There are no examples to train on.", "Give rows with answers.")

    def _prepared(self, examples: Sequence[Example]) -> Iterator[tuple[str, list[Span]]]:
        """Texts and the spans to train on, in the examples' order, less those that the template refuses."""
        fitted = [self.renderer.fitted(example.turns) for example in examples if not example.is_text]
        rendered = iter(zip(fitted, self.renderer.texts(fitted), strict=True) if fitted else ())
        for example in examples:
            if example.is_text:
                yield self._plain(example)
                continue
            turns, text = next(rendered)
            finished = self.finder.finish(text, turns) if isinstance(text, str) else None
            if finished is None:
                reason = (
                    "the chat template leaves out their answer" if isinstance(text, str) else text.problem.rstrip(".")
                )
                self.refusals[reason] += 1
                continue
            self.folded += turns[0].role != example.turns[0].role
            self.ended += not self.finder.ends_answers(tuple(turn.role for turn in turns))
            yield finished[0], self._chosen(*finished)

    def _plain(self, example: Example) -> tuple[str, list[Span]]:
        bos = self.renderer.bos
        text = bos + example.turns[0].content + (self.tokenizer.eos_token or "")
        return text, [(len(bos), len(text))]

    def _chosen(self, text: str, spans: list[Span]) -> list[Span]:
        if self.train_on == "all":
            return [(0, len(text))]
        return spans[-1:] if self.train_on == "last" else spans

    def _encode(self, texts: list[str]) -> list[tuple[list[int], Offsets]]:
        encoded = self.tokenizer(
            texts,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))

    def _encode_split(
        self, text: str, starts: Sequence[int], ids: list[int], offsets: Offsets
    ) -> tuple[list[int], Offsets]:
        """Encodes anew with a token boundary at each start, as in generation, unless the text suffers."""
        edges = [0, *starts, len(text)]
        parts = self._encode([text[a:b] for a, b in pairwise(edges)])
        joined = [token for part, _ in parts for token in part]
        if self._decode(joined) != self._decode(ids):
            return ids, offsets
        moved = zip(edges, parts, strict=False)
        return joined, [(a + shift, b + shift) for shift, (_, part) in moved for a, b in part]

    def _decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text

    def _keep(self, ids: list[int], offsets: Offsets, spans: Sequence[Span]) -> None:
        labels = _labels(ids, offsets, spans)
        kept = labels[1 : self.max_length]
        if kept.count(MASKED) == len(kept):
            self.lengths_dropped.append(len(ids))
            return
        self.cut += len(ids) > self.max_length
        self.rows.append(Row(ids[: self.max_length], labels[: self.max_length]))


def _labels(ids: Sequence[int], offsets: Offsets, spans: Sequence[Span]) -> list[int]:
    """The tokens that start within a span, -100 for all others."""
    labels = [MASKED] * len(ids)
    for begin, end in spans:
        first, after = _from(offsets, begin), bisect_left(offsets, (end,))
        while begin and first < after and offsets[first][1] == begin:
            first += 1  # of no width there: the white space before the span, from a tokenizer that trims
        labels[first:after] = ids[first:after]
    return labels


def _straddled(offsets: Offsets, spans: Sequence[Span]) -> list[int]:
    """The starts of spans that lie inside a token."""
    before = ((begin, _from(offsets, begin) - 1) for begin, _ in spans)
    return [begin for begin, token in before if token >= 0 and offsets[token][1] > begin]


def _from(offsets: Offsets, begin: int) -> int:
    """The first token that starts at or after `begin`; a bare (begin,) sorts before every (begin, end)."""
    return bisect_left(offsets, (begin,))
