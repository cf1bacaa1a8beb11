"""What every backend keeps: a loaded base that adapters can be put on, trained, switched and asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lora_magic.config import LoadConfig, TrainConfig
from lora_magic.dataset.store import Row
from lora_magic.planning.architecture import Architecture
from lora_magic.planning.hardware import Hardware


class Phases(Protocol):
    """Where slow work reports how far it is."""

    @property
    def seconds(self) -> tuple[tuple[str, float], ...]:
        """How long each part took, in order."""

    def phase(self, name: str) -> AbstractContextManager[Any]:
        """A named part of the work, such as "imports", for as long as the context lasts."""

    def update(self, fraction: float | None, note: str = "") -> None:
        """How much of the part is done, 0 to 1, or None where nobody knows."""


@dataclass(frozen=True)
class Decoding:
    """How answers are made.

    Attributes:
        max_new_tokens: longest answer.
        temperature: 0 takes the likeliest token always.
        top_p: nucleus sampling's probability mass.
        seed: for sampling; the same for every column.
        rows_at_once: prompts decoded together at most; fewer where memory runs out.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    rows_at_once: int = 32


@dataclass(frozen=True)
class Answer:
    """One generated answer: its text, its token ids (end-of-turn left out), and whether it hit the limit."""

    text: str
    token_ids: tuple[int, ...]
    cut: bool


@dataclass(frozen=True)
class BaseFacts:
    """What a loaded base is; plain values.

    Attributes:
        model: what the user asked for.
        path: the folder or Hub id its weights came from.
        revision: on the Hub, or None.
        trust_remote_code: whether its own Python may run.
        architecture: model class.
        backend: "transformers" or "unsloth".
        hardware: where it lives.
        bits: a weight.
        dtype, dtype_reason: what it computes in, and why.
        reasons: (choice, why) pairs for the user.
        parameters: counted unpacked.
        memory_bytes: of its weights.
        max_length: longest row in tokens.
        shapes: what its memory depends on; None where its config does not tell.
    """

    model: str
    path: str
    revision: str | None
    trust_remote_code: bool
    architecture: str
    backend: str
    hardware: Hardware
    bits: int
    dtype: str
    dtype_reason: str
    reasons: tuple[tuple[str, str], ...]
    parameters: int
    memory_bytes: int
    max_length: int
    shapes: Architecture | None = None


class Base(Protocol):
    """A loaded base. Adapters are known by a key without dots; None stands for the bare base."""

    facts: BaseFacts
    tokenizer: Any

    def attach(self, key: str, config: TrainConfig, start: Path | None = None) -> tuple[int, int]:
        """Put an adapter on the base and make it the active, trainable one.

        Args:
            key: what to know it by.
            config: the run's settings.
            start: the folder of a saved adapter to go on from; a fresh one otherwise.

        Returns:
            Trainable and total parameters, counted on the model; total has the adapter in it.

        Raises:
            LoraError: layers or biases the model does not have, a method its weights cannot take, or a saved
                adapter that does not fit.
        """

    def activate(self, key: str | None) -> None:
        """Answer with the adapter `key`, or with the bare base for None, exactly as either alone would."""

    def detach(self, key: str) -> None:
        """Take the adapter off and free its memory."""

    def save(self, key: str, folder: Path) -> None:
        """Write the adapter as peft does: adapter_config.json and adapter_model.safetensors, right in `folder`."""

    def trainer(self, key: str, **parts: Any) -> Any:
        """trl's SFTTrainer for the adapter `key`, its trainable weights in float32.

        Args:
            key: an attached adapter, which becomes the active one.
            parts: args, train_dataset, eval_dataset, data_collator and callbacks, as SFTTrainer takes them, and
                `stepper`, which computes the steps.
        """

    def combine(
        self, key: str, parts: Mapping[str, float], method: str, *, rank: int | None, density: float, seed: int
    ) -> None:
        """Put an adapter on the base that is a mixture of others, and make it active.

        Args:
            key: what to know it by.
            parts: weight by the key of each.
            method: one of `config.adapters.COMBINATIONS`.
            rank: of the new one, for "svd".
            density: share of each that "ties" and "dare" keep.
            seed: for what "dare" drops.

        Raises:
            LoraError: adapters of kinds or ranks that cannot be combined so.
        """

    def recompute(self, key: str, checkpointing: str, kept: int = 0, *, expanded: bool = False) -> None:
        """Have the next training steps of the adapter `key` recompute activations; costs nothing where they do already.

        Args:
            checkpointing: "off", "on", or "offload" (block inputs wait in the machine's memory; "on" where a backend
                has no such thing).
            kept: blocks that keep their activations all the same, evenly spread.
            expanded: 4-bit weights stand in 16 bits beside their packed form until training is over.
        """

    def after_training(self) -> None:
        """Take off what a trainer leaves on the model, so that answering and another training start clean."""

    def generate(
        self,
        prompts: Sequence[list[int]],
        decoding: Decoding,
        made: Callable[[int, Answer], None] | None = None,
        seeds: Sequence[int] | None = None,
        heard: Callable[[int, str], None] | None = None,
    ) -> list[Answer]:
        """Answers of whatever is active, in the prompts' order.

        Args:
            prompts: token ids of each prompt, special tokens and generation prompt in them.
            decoding: see there.
            made: called with a prompt's place and its answer, once each, soon after the answer has ended.
            seeds: for sampling, one a prompt; a prompt's place goes with `decoding.seed` unless given. What a
                prompt is answered does not depend on the prompts beside it.
            heard: called with a prompt's place and the beginning of its answer, every now and then while it is made,
                and once more where an interrupt ends it.

        Raises:
            LoraError: memory does not hold a single prompt with its answer.
        """

    def losses(self, rows: Sequence[Row], progress: Callable[[int], None] | None = None) -> list[tuple[float, int]]:
        """What rows cost whatever is active.

        Args:
            rows: tokens and labels, as in training.
            progress: called with the number of rows that are done.

        Returns:
            Of each row, its loss in nats summed over its trained tokens, and their number.

        Raises:
            LoraError: memory does not hold a single row.
        """

    def logits(self, row: list[int]) -> Any:
        """Next-token logits of whatever is active: float32 tensor of shape (tokens, vocabulary) on the CPU."""

    def free(self) -> None:
        """Let go of every tensor."""


class Loader(Protocol):
    """A backend's way in."""

    def __call__(self, config: LoadConfig, path: str, phases: Phases) -> Base:
        """Load the base that `config` names from `path`, a folder or a Hub id that is on this disk.

        Raises:
            LoraError: not found, not a model, or not loadable here; nothing stays in memory.
        """
