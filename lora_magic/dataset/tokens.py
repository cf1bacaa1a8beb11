"""Examples into token ids and labels, through the model's own chat template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, get_args

from lora_magic.dataset.encode import Encoded, Encoder, Offsets, first_from, special_words, straddled
from lora_magic.dataset.spans import Span, SpanFinder
from lora_magic.dataset.store import Flat, FlatRows, Row
from lora_magic.dataset.template import Renderer, Tokenizer
from lora_magic.dataset.turns import Example, Turn
from lora_magic.errors import LoraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Row", "Tokenised", "TrainOn", "prompt_ids", "tokenise"]

TrainOn = Literal["assistant", "last", "all"]

_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Tokenised:
    """Examples as rows of tokens.

    Attributes:
        rows: in the examples' order, each with at least one trained token and at most `max_length` tokens.
        numbers: of each row, its number in the source (the example's, or else its place from 1); int32.
        positions: of each row, which of the examples it is, from 0; int32.
        trained: of each row, how many of its tokens are trained on; int32.
        lengths: of each *example*, its tokens before any cut; 0 for one that the template refuses; int32.
        lost_tokens: trained tokens that `max_length` cut away, in rows and in dropped examples.
        cut: how many rows lost their end to `max_length`.
        dropped: how many examples had no trained token left within `max_length` and are not among the rows.
        refused: how many examples the chat template does not take and are not among the rows.
        notes: what was decided on the way, a sentence each.
    """

    rows: FlatRows
    numbers: NDArray[np.int32]
    positions: NDArray[np.int32]
    trained: NDArray[np.int32]
    lengths: NDArray[np.int32]
    lost_tokens: int = 0
    cut: int = 0
    dropped: int = 0
    refused: int = 0
    notes: tuple[str, ...] = ()


def tokenise(
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    train_on: TrainOn = "assistant",
    processes: int = 1,
    template: str | None = None,
) -> Tokenised:
    """Renders and tokenises each example once, and labels what is to be trained on.

    Trained on are the answers as the template writes them, each with its end-of-turn token, or a plain text
    as a whole, with its end-of-text token. Special tokens that stand in what user or assistant said are read as
    plain text, as far as the tokenizer can; in a plain text they act.

    Args:
        examples: conversations that end with an answer, or plain text; gone through once.
        tokenizer: a fast transformers tokenizer; see `template.chat_template`.
        max_length: rows are cut to this many tokens.
        train_on: "assistant" for every answer, "last" for the last one, "all" for every token.
        processes: how many threads encode; they run beside each other, outside of Python's lock.
        template: a chat template in place of the tokenizer's own.

    Raises:
        LoraError: the tokenizer is slow, `train_on` is unknown, no row has a trained token left, or the disk is
            full.
    """
    if not tokenizer.is_fast:
        remedy = "Load a model that has a tokenizer.json."
        raise LoraError(f"{type(tokenizer).__name__} does not say where its tokens lie in a text.", remedy)
    if train_on not in get_args(TrainOn):
        raise LoraError(f'"{train_on}" is not a choice of what to train on.', f"One of {', '.join(get_args(TrainOn))}.")
    work = _Work(Renderer(tokenizer, template=template), max_length, train_on)
    work.run(examples, processes)
    return work.result()


def prompt_ids(
    tokenizer: Tokenizer, turns: Sequence[Turn], *, template: str | None = None, tools: str = ""
) -> list[int]:
    """A conversation as the model reads it before it answers, tokenised as in training.

    Args:
        tokenizer: a transformers tokenizer.
        turns: at least one.
        template: a chat template in place of the tokenizer's own.
        tools: the JSON text of the tools that may be called.

    Raises:
        LoraError: the template refuses the conversation.
    """
    renderer = Renderer(tokenizer, template=template)
    turns = renderer.fitted(turns)
    prompt = renderer.text(turns, generation_prompt=True, tools=tools)
    if not tokenizer.is_fast:
        ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return ids
    encoder = Encoder(tokenizer)
    whole = encoder.encode([prompt])[0]
    words = special_words(renderer, prompt, turns, tools, generation_prompt=True)
    found = encoder.parted(prompt, (whole.ids, whole.offsets), [], words) if words else None
    return found[0] if found else list(whole.ids)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An example as text.

    Attributes:
        position, number: as `Tokenised` has them.
        text: what is tokenised.
        answers: where the answers are in it.
        spans: where it is trained on.
        words: where special tokens are only words; None where that cannot be told.
    """

    position: int
    number: int
    text: str
    answers: list[Span]
    spans: list[Span]
    words: list[Span] | None


@dataclass
class _Work:
    """One call of `tokenise` under way."""

    renderer: Renderer
    max_length: int
    train_on: TrainOn
    cut: int = 0
    lost: int = 0
    lengths_dropped: list[int] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    folded: int = 0
    ended: int = 0
    worded: int = 0
    acting: int = 0
    examples: int = 0

    def __post_init__(self) -> None:
        self.finder = SpanFinder(self.renderer)
        self.encoder = Encoder(self.renderer.tokenizer)
        self.tokens, self.marks = Flat("int32"), Flat("bool")
        self.columns = {name: Flat("int32") for name in _COLUMNS}

    def run(self, examples: Iterable[Example], threads: int) -> None:
        """Takes the examples through all stages, some at a time."""
        batches = self._batches(iter(examples))
        for batch, encoded in self.encoder.each(batches, lambda batch: [one.text for one in batch], threads):
            self._keep_all(
                batch, [self._parted(one, (made.ids, made.offsets)) for one, made in zip(batch, encoded, strict=True)]
            )

    def result(self) -> Tokenised:
        """What came of it.

        Raises:
            LoraError: nothing did.
        """
        import numpy as np

        columns = {name: flat.array() for name, flat in self.columns.items()}
        sizes = columns.pop("size")
        if not len(sizes):
            raise self._nothing_left()
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
        lengths = np.zeros(self.examples, np.int32)
        lengths[columns.pop("at")] = columns.pop("length")
        rows = FlatRows(self.tokens.array(), self.marks.array(), offsets)
        return Tokenised(
            rows, lengths=lengths, lost_tokens=self.lost, cut=self.cut, dropped=len(self.lengths_dropped),
            refused=self.refusals.total(), notes=tuple(self._notes()), **columns,
        )  # fmt: skip

    def _notes(self) -> Iterator[str]:
        tokenizer, dropped = self.renderer.tokenizer, len(self.lengths_dropped)
        for reason, count in self.refusals.items():
            yield f"{_rows(count)} left out: {reason}"
        if self.folded:
            yield "the chat template takes no system turn: its text goes at the head of the first user turn"
        if self.ended:
            yield f"the chat template does not end its answers: {tokenizer.eos_token} is added to the last"
        if self.worded:
            yield f"{_rows(self.worded)} with special tokens in their text, which are read as plain text there"
        if self.acting:
            yield (
                f"{_rows(self.acting)} with special tokens in their text, which this tokenizer cannot read as plain "
                "text: they act there, and may end an answer early"
            )
        if self.cut:
            yield f"{_rows(self.cut)} cut to {self.max_length} tokens"
        if dropped:
            yield f"{_rows(dropped)} left out: their answer starts after {self.max_length} tokens"

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

    def _batches(self, examples: Iterator[Example]) -> Iterator[list[_Prepared]]:
        while some := list(islice(examples, _AT_ONCE)):
            yield [*self._prepared(some)]
            self.examples += len(some)

    def _prepared(self, examples: Sequence[Example]) -> Iterator[_Prepared]:
        """Texts and the spans to train on, in the examples' order, less those that the template refuses."""
        talks = [(self.renderer.fitted(one.turns), one.tools) for one in examples if not one.is_text]
        rendered = iter(zip(talks, self.renderer.texts(talks), strict=True) if talks else ())
        for position, example in enumerate(examples, start=self.examples):
            place = (position, example.row or position + 1)
            if example.is_text:
                yield self._plain(place, example)
                continue
            (turns, tools), text = next(rendered)
            finished = self.finder.finish(text, turns, tools) if isinstance(text, str) else None
            if finished is None or not isinstance(text, str):
                left_out = "the chat template leaves out their answer"
                self.refusals[left_out if isinstance(text, str) else _reason(text)] += 1
                continue
            self.folded += turns[0].role != example.turns[0].role
            self.ended += finished[0] != text
            words = special_words(self.renderer, text, turns, tools)
            yield _Prepared(*place, *finished, self._chosen(*finished), words)

    def _plain(self, place: tuple[int, int], example: Example) -> _Prepared:
        """A plain text as a whole; its first and last token are not doubled where it brings them."""
        bos, eos, text = self.renderer.bos, self.renderer.tokenizer.eos_token or "", example.turns[0].content
        text = (text if bos and text.startswith(bos) else bos + text) + ("" if eos and text.endswith(eos) else eos)
        return _Prepared(*place, text, [], self._chosen(text, [(len(bos), len(text))]), [])

    def _chosen(self, text: str, spans: list[Span]) -> list[Span]:
        if self.train_on == "all":
            return [(0, len(text))]
        return spans[-1:] if self.train_on == "last" else spans

    def _parted(self, one: _Prepared, encoded: Encoded) -> Encoded:
        """The encoded text; in parts where an answer starts inside a token, or special tokens are words."""
        starts = straddled(encoded[1], one.answers)
        self.acting += one.words is None
        if not starts and not one.words:
            return encoded
        found = self.encoder.parted(one.text, encoded, starts, one.words or ())
        if one.words:
            self.worded += found is not None
            self.acting += found is None
        return found or encoded

    def _keep_all(self, batch: Sequence[_Prepared], encoded: Sequence[Encoded]) -> None:
        """Adds the rows that have a trained token left, in one go."""
        import numpy as np

        kept: list[tuple[int, ...]] = []
        tokens: list[int] = []
        marks: list[Any] = []
        for one, (ids, offsets) in zip(batch, encoded, strict=True):
            mark = np.zeros(len(ids), np.bool_)
            for first, after in _token_spans(offsets, one.spans):
                mark[first:after] = True
            left = mark[: self.max_length]
            learnt = bool(left[1:].any())  # nothing comes before the first token, so it is never predicted
            trained = int(left.sum()) if learnt else 0
            self.lost += int(mark.sum()) - trained
            if not learnt:
                self.lengths_dropped.append(len(ids))
                continue
            self.cut += len(ids) > self.max_length
            tokens += ids[: self.max_length]
            marks.append(left)
            kept.append((one.number, one.position, trained, len(left)))
        self.columns["at"].add(np.array([one.position for one in batch], np.int32))
        self.columns["length"].add(np.array([len(ids) for ids, _ in encoded], np.int32))
        for name, values in zip(_COLUMNS[:4], zip(*kept, strict=True), strict=False):
            self.columns[name].add(np.array(values, np.int32))
        if kept:
            self.tokens.add(np.array(tokens, np.int32))
            self.marks.add(np.concatenate(marks))


_COLUMNS = ("numbers", "positions", "trained", "size", "at", "length")
"""int32 arrays; the first four of the rows, the others of all examples that were tokenised."""


def _token_spans(offsets: Offsets, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """The tokens that start within each span, as (first, after the last)."""
    for begin, end in spans:
        first, after = first_from(offsets, begin), first_from(offsets, end)
        while begin and first < after and offsets[first][1] == begin:
            first += 1  # of no width there: the white space before the span, from a tokenizer that trims
        yield first, after


def _reason(error: LoraError) -> str:
    return error.problem.rstrip(".")


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"
