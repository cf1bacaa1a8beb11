"""Which weight each part of an adapter changes, and the arithmetic of the change."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from lora_magic.errors import LoraError
from lora_magic.merging.adapter import Adapter, Factors
from lora_magic.merging.originals import Originals
from lora_magic.merging.tensors import Stored

if TYPE_CHECKING:
    import torch

    from lora_magic.merging.through_peft import PeftLayers

T = TypeVar("T")

_INPUT_EMBEDDINGS = ("embed_tokens", "wte", "embed_in", "word_embeddings", "tok_embeddings")
_OUTPUT_HEADS = ("lm_head", "embed_out")
_ONE_EXPERT = re.compile(r"\.experts\.\d+\.")
_CONTAINERS = frozenset({"model", "transformer", "language_model", "text_model", "base_model", "gpt_neox"})


@dataclass(frozen=True)
class Update:
    """What an adapter does to one weight.

    Attributes:
        factors: A and B to add, or None.
        scaling: what B·A, or the added bias, is multiplied with.
        transposed: the weight lies as (inputs, outputs).
        replacement: a whole tensor that takes the original's place first, or None.
        added: a vector that is added after scaling (a bias), or None.
        layers: what peft itself merges, for kinds of adapter that have no factors; or None.
    """

    factors: Factors | None = None
    scaling: float = 1.0
    transposed: bool = False
    replacement: Stored | None = None
    added: Stored | None = None
    layers: PeftLayers | None = None


@dataclass(frozen=True)
class Output:
    """One tensor of the merged model.

    Attributes:
        name: its key in the written files.
        parameter: its name in the model, where that is known (for changed weights it is).
        source: the original that it starts from.
        update: what the adapter does to it; None leaves it as it is.
    """

    name: str
    parameter: str
    source: Stored
    update: Update | None = None

    @property
    def changed(self) -> bool:
        """True when the value differs from the original, or when the original has no tensor of this name."""
        return self.update is not None or self.name != self.source.name


@dataclass(frozen=True)
class Plan:
    """The merged model's tensors.

    Attributes:
        outputs: in the order in which they are made.
        untied: the output head was tied to the embedding and is written apart, because the adapter changes
            only one of them.
    """

    outputs: tuple[Output, ...]
    untied: bool

    @property
    def changed(self) -> tuple[Output, ...]:
        """The outputs that differ from the originals."""
        return tuple(output for output in self.outputs if output.changed)


def _essence(name: str) -> str:
    """A weight's name without the containers that models and checkpoints put in different orders."""
    return ".".join(part for part in name.split(".") if part not in _CONTAINERS)


def finder(weights: Mapping[str, T]) -> Callable[[str], T | None]:
    """A function that finds what `weights` has for a parameter: by its name, else by its name without containers."""
    similar: dict[str, list[T]] = {}
    for name, found in weights.items():
        similar.setdefault(_essence(name), []).append(found)

    def find(parameter: str) -> T | None:
        exact = weights.get(parameter)
        found = similar.get(_essence(parameter), [])
        return exact or (found[0] if len(found) == 1 else None)

    return find


def _module(parameter: str) -> str:
    """The last part of the name of the module that owns `parameter`."""
    return parameter.split(".")[-2] if "." in parameter else ""


def _is_weight_of(parameter: str, modules: tuple[str, ...]) -> bool:
    return parameter.endswith(".weight") and _module(parameter) in modules


def _updates(adapter: Adapter, originals: Originals, trust_remote_code: bool) -> dict[str, Update]:
    """Every change that the adapter makes, by parameter name in the model."""
    if adapter.by_peft:
        from lora_magic.merging.through_peft import PeftLayers

        layers = PeftLayers(originals, adapter, trust_remote_code)
        return {name: Update(layers=layers) for name in layers.changed}
    updates = {name: Update(replacement=stored) for name, stored in adapter.replaced.items()}
    for module, factors in adapter.factors.items():
        weight, scaling = f"{module}.weight", adapter.scaling(module)
        before = updates.get(weight, Update())
        updates[weight] = replace(
            before, factors=factors, scaling=scaling, transposed=factors.embedding or adapter.fan_in_fan_out
        )
        if factors.bias is not None:
            before = updates.get(f"{module}.bias", Update())
            updates[f"{module}.bias"] = replace(before, added=factors.bias, scaling=scaling)
    return updates


def _fitted(parameter: str, source: Stored, update: Update) -> Update:
    """`update` with its orientation settled, after holding its shapes against the weight's.

    peft takes `fan_in_fan_out` back for plain linear layers of such a model, so a weight that fits only the
    usual way round is taken that way.
    """
    shape = source.shape
    for vector in (update.replacement, update.added):
        if vector is not None and vector.shape != shape:
            raise _other_shape(parameter, shape, vector.shape)
    if update.factors is None:
        return update
    factors = update.factors
    change = (factors.b.shape[0], factors.a.shape[1])
    fits, fits_transposed = shape == change, shape == change[::-1]
    transposed = update.transposed and (fits_transposed or not fits)
    if not (fits_transposed if transposed else fits):
        raise _other_shape(parameter, shape, change[::-1] if factors.embedding else change)
    if factors.magnitude is not None and factors.magnitude.values != change[0]:
        raise _other_shape(f"{parameter}, DoRA's magnitude", (change[0],), factors.magnitude.shape)
    return replace(update, transposed=transposed)


def _other_shape(parameter: str, base: tuple[int, ...], adapter: tuple[int, ...]) -> LoraError:
    return LoraError(
        f"The adapter does not fit this base: {parameter} is {list(base)} in the base and {list(adapter)} in "
        "the adapter.",
        "Name the base that the adapter was trained on.",
    )


def _no_weight(originals: Originals, adapter: Adapter, parameter: str) -> LoraError:
    """What is said of a part of the adapter that finds no weight."""
    if any(_ONE_EXPERT.search(name) for name in originals.weights):
        return LoraError(
            f"{originals.source} stores its experts one by one, so that {parameter} has other names in its files; "
            "an adapter of it is not merged here.",
            "Use the adapter on its base, unmerged.",
        )
    return LoraError(
        f"The adapter does not fit this base: {originals.source} has no weight {parameter}.",
        f"Name the base that the adapter was trained on ({adapter.base or 'it does not say which'}).",
    )


def _tied(originals: Originals) -> bool:
    """True when the output head shares the embedding's weight: the files hold no head of its own."""
    has_head = any(_is_weight_of(name, _OUTPUT_HEADS) for name in originals.weights)
    nested = originals.config.get("text_config")
    inner = nested.get("tie_word_embeddings", True) if isinstance(nested, dict) else True
    return not has_head and bool(originals.config.get("tie_word_embeddings", inner))


def _same_change(embedding: Update, head: Update) -> bool:
    """True when both changes give the same weight, as adapters trained with tied weights save them."""
    import torch

    from lora_magic.merging.tensors import Reader

    def equal(one: Stored | None, other: Stored | None, transposed: bool = False) -> bool:
        if one is None or other is None:
            return one is other
        with Reader() as reader:
            first, second = reader.read(one), reader.read(other)
        return bool(torch.equal(first, second.T if transposed else second))

    if embedding.layers is not None:
        return embedding.layers.ends_are_one
    if not equal(embedding.replacement, head.replacement):
        return False
    if embedding.factors is None or head.factors is None:
        return embedding.factors is head.factors
    plain = embedding.factors.magnitude is None and head.factors.magnitude is None
    return (
        plain
        and embedding.scaling == head.scaling
        and equal(embedding.factors.a, head.factors.b, transposed=True)
        and equal(embedding.factors.b, head.factors.a, transposed=True)
    )


def _apart(originals: Originals, updates: dict[str, Update]) -> tuple[Stored | None, dict[str, Update], bool]:
    """Settle tied embeddings: (the shared weight, the updates to make, whether the tie is broken).

    An unmerged adapter on one of two tied modules leaves the other alone. Merging it into the shared weight
    would change both, so the head is then written on its own.
    """
    shared = next((w for name, w in originals.weights.items() if _is_weight_of(name, _INPUT_EMBEDDINGS)), None)
    inputs = [name for name in updates if _is_weight_of(name, _INPUT_EMBEDDINGS)]
    heads = [name for name in updates if _is_weight_of(name, _OUTPUT_HEADS)]
    if not (inputs or heads) or shared is None:
        return None, updates, False
    if not _tied(originals):
        return None, updates, bool(originals.config.get("tie_word_embeddings"))
    if inputs and heads and _same_change(updates[inputs[0]], updates[heads[0]]):
        return None, {name: update for name, update in updates.items() if name != heads[0]}, False
    return shared, updates, True


def plan_merge(originals: Originals, adapter: Adapter, trust_remote_code: bool = False) -> Plan:
    """Match every part of the adapter to a weight of the base.

    Args:
        originals: the base.
        adapter: every tensor of which must find its weight.
        trust_remote_code: let transformers run code from the base's folder, where peft merges.

    Raises:
        LoraError: a part matches no weight (an adapter of another base), or the shapes differ.
    """
    shared, updates, untied = _apart(originals, _updates(adapter, originals, trust_remote_code))
    find = finder(originals.weights)
    changed: dict[str, Output] = {}
    for parameter, update in updates.items():
        head = shared is not None and _is_weight_of(parameter, _OUTPUT_HEADS)
        source = shared if head else find(parameter)
        if source is None:
            raise _no_weight(originals, adapter, parameter)
        name = parameter if head else source.name
        changed[name] = Output(name, parameter, source, _fitted(parameter, source, update))
    if shared is not None and not any(_is_weight_of(name, _OUTPUT_HEADS) for name in changed):
        changed["lm_head.weight"] = Output("lm_head.weight", "lm_head.weight", shared)
    return Plan(_ordered(originals, changed), untied)


def _ordered(originals: Originals, changed: Mapping[str, Output]) -> tuple[Output, ...]:
    """The originals in their order, changed where they are, with new tensors right after their source."""
    outputs = []
    for name, stored in originals.weights.items():
        outputs.append(changed.get(name) or Output(name, name, stored))
        outputs += [extra for extra in changed.values() if extra.source is stored and extra.name != name]
    return tuple(outputs)


def apply_factors(
    weight: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scaling: float,
    *,
    transposed: bool = False,
    magnitude: torch.Tensor | None = None,
    norm: torch.Tensor | None = None,
) -> torch.Tensor:
    """Change `weight` in place: W + s·B·A, and with DoRA m ⊙ (W + s·B·A) / ‖W + s·B·A‖.

    LoRA: arXiv:2106.09685, section 4.1. DoRA: arXiv:2402.09353, equation 5; the norm is taken over the
    inputs of each output, as peft does for linear layers, and over the tokens of each column of an embedding.

    Args:
        weight: float32, (outputs, inputs), or (inputs, outputs) when `transposed`; an embedding's
            (tokens, width) counts as transposed.
        a: (rank, inputs).
        b: (outputs, rank).
        scaling: s.
        transposed: the weight's orientation.
        magnitude: m, (outputs,).
        norm: ‖W + s·B·A‖ of each output, where `weight` is only some rows of a transposed one.

    Returns:
        `weight` itself.
    """
    import torch

    a, b = a.to(weight.dtype), b.to(weight.dtype)
    left, right = (a.T, b.T) if transposed else (b, a)
    weight.addmm_(left, right, alpha=scaling)
    if magnitude is not None:
        if norm is None:
            norm = torch.linalg.vector_norm(weight, dim=0 if transposed else 1)
        factor = magnitude.to(weight.dtype).reshape(-1) / norm
        weight.mul_(factor if transposed else factor[:, None])
    return weight
