"""The shapes of a decoder model that its memory and its time depend on, read from config.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_magic.errors import LoraError

GEMMA = ("gemma", "gemma2", "gemma3_text")
KNOWN = ("llama", "mistral", "qwen2", "qwen3", "phi3", *GEMMA)
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj")

# What transformers 5.17's config classes stand in with where a published config.json leaves a key out.
DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma": {"tie_word_embeddings": True, "head_dim": 256},
    "gemma2": {"tie_word_embeddings": True, "head_dim": 256},
    "gemma3_text": {
        "tie_word_embeddings": True, "head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4,
        "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    },
    "qwen3": {"head_dim": 128},
}  # fmt: skip

SPELLINGS = {
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "num_heads"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim"),
    "vocab_size": ("vocab_size",),
}


@dataclass(frozen=True)
class Projection:
    """One linear layer of a decoder block.

    Attributes:
        name: its last name, such as "q_proj".
        inputs, outputs: features in and out.
        bias: it has one.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Elements of its weight."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Architecture:
    """A decoder model's shapes; counts are of elements.

    Attributes:
        family: config.json's `model_type`.
        layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary: as the family calls them.
        tied: the output head is the embedding.
        projections: the linear layers of one block, in order.
        stream_norms: norms over the residual stream in one block: 2, in Gemma 2 and 3 4.
        head_norms: queries and keys are normalised a head.
        capped: attention scores are capped, which few fast kernels do.
        by_layer: elements of the embeddings that each block has of its own, as in Gemma 3n and 4.
        known: the family's parameter count is exact; else the block is taken to be like Llama's.
    """

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    projections: tuple[Projection, ...]
    stream_norms: int = 2
    head_norms: bool = False
    capped: bool = False
    by_layer: int = 0
    known: bool = True

    @property
    def queries(self) -> int:
        """Width of all heads' queries."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all heads' keys, which is that of the values."""
        return self.kv_heads * self.head_dim

    @property
    def norms(self) -> int:
        """Elements of one block's norms."""
        return self.stream_norms * self.hidden + (2 * self.head_dim if self.head_norms else 0)

    @property
    def linear(self) -> int:
        """Weights of all blocks' linear layers: what is quantised."""
        return self.layers * sum(p.weights for p in self.projections)

    @property
    def embedding(self) -> int:
        """Elements of the embedding, of the blocks' own and, where it is not tied, of the output head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.by_layer

    @property
    def small(self) -> int:
        """Elements of norms and biases."""
        return self.layers * (self.norms + sum(p.outputs for p in self.projections if p.bias)) + self.hidden

    @property
    def parameters(self) -> int:
        """All of them, tied ones once."""
        return self.linear + self.embedding + self.small

    @property
    def largest(self) -> int:
        """Weights of the largest linear layer of a block."""
        return max(p.weights for p in self.projections)

    def targets(self, target: str = "all-linear") -> tuple[Projection, ...]:
        """The projections that `target` names, as `%%lora_train --target` does.

        Args:
            target: "all-linear", "attention", or names with commas or spaces.

        Raises:
            LoraError: a name that the block does not have.
        """
        if target == "all-linear":
            return self.projections
        names = ATTENTION if target == "attention" else tuple(target.replace(",", " ").split())
        found = tuple(p for p in self.projections if p.name in names)
        missing = set(names) - {p.name for p in self.projections}
        if not found or (missing and target != "attention"):
            known = ", ".join(p.name for p in self.projections)
            raise LoraError(f'No layer is called "{sorted(missing)[0] if missing else target}".', f"Layers: {known}.")
        return found

    def adapter(self, rank: int, target: str = "all-linear") -> int:
        """Elements of a LoRA adapter of `rank` on `target`, in all blocks."""
        return self.layers * rank * sum(p.inputs + p.outputs for p in self.targets(target))


def read(config: Mapping[str, Any]) -> Architecture:
    """The shapes that a config.json tells.

    A model of text and images counts with its text part alone.

    Args:
        config: the file's content.

    Raises:
        LoraError: a size is missing or is no positive whole number, or the model is a mixture of experts.
    """
    text = config.get("text_config")
    if isinstance(text, Mapping):
        inherited = {k: config[k] for k in ("tie_word_embeddings",) if k in config}
        return read({**inherited, **text})
    family = str(config.get("model_type", "")) or "unknown"
    if any(_most(config.get(k)) > 1 for k in EXPERTS):
        raise LoraError(
            f"{family} is a mixture of experts, for which there is no plan yet.", "Choose a dense model, or train it."
        )
    values = {**DEFAULTS.get(family, {}), **{k: v for k, v in config.items() if v is not None}}
    sizes = {name: _size(values, name, family) for name in SPELLINGS if name != "intermediate_size"}
    hidden, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    intermediate = _size(values, "intermediate_size", family, default=4 * hidden)
    kv_heads = _size(values, "num_key_value_heads", family, default=heads)
    head_dim = _size(values, "head_dim", family, default=hidden // heads)
    if heads % kv_heads:
        raise LoraError(f"{heads} heads cannot share {kv_heads} key and value heads.", "Check config.json.")
    return Architecture(
        family, sizes["num_hidden_layers"], hidden, heads, kv_heads, head_dim, intermediate, sizes["vocab_size"],
        bool(values.get("tie_word_embeddings", False)),
        _projections(family, values, hidden, heads * head_dim, kv_heads * head_dim, intermediate),
        stream_norms=4 if family in ("gemma2", "gemma3_text") else 2,
        head_norms=family in ("qwen3", "gemma3_text"),
        by_layer=_by_layer(values, sizes["num_hidden_layers"], sizes["vocab_size"]),
        capped=family == "gemma2" and values.get("attn_logit_softcapping", 50.0) is not None,
        known=family in KNOWN,
    )  # fmt: skip


def _most(count: Any) -> int:
    """A count, or the largest of those of each layer."""
    return max((int(one or 0) for one in count), default=0) if isinstance(count, list) else int(count or 0)


def _size(values: Mapping[str, Any], name: str, family: str, default: int | None = None) -> int:
    found = next((values[k] for k in SPELLINGS.get(name, (name,)) if k in values), default)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise LoraError(f"config.json of a {family} model has {name} {found!r}.", "It must be a positive whole number.")
    return found


def _by_layer(values: Mapping[str, Any], layers: int, vocabulary: int) -> int:
    width = int(values.get("hidden_size_per_layer_input") or 0)
    return layers * width * int(values.get("vocab_size_per_layer_input") or vocabulary)


def _projections(
    family: str, values: Mapping[str, Any], hidden: int, queries: int, keys: int, intermediate: int
) -> tuple[Projection, ...]:
    if family == "phi3":
        return (
            Projection("qkv_proj", hidden, queries + 2 * keys),
            Projection("o_proj", queries, hidden),
            Projection("gate_up_proj", hidden, 2 * intermediate),
            Projection("down_proj", intermediate, hidden),
        )
    bias = family == "qwen2" or bool(values.get("attention_bias", False))
    out_bias = bias and family != "qwen2"
    mlp_bias = family == "llama" and bool(values.get("mlp_bias", False))
    return (
        Projection("q_proj", hidden, queries, bias),
        Projection("k_proj", hidden, keys, bias),
        Projection("v_proj", hidden, keys, bias),
        Projection("o_proj", queries, hidden, out_bias),
        Projection("gate_proj", hidden, intermediate, mlp_bias),
        Projection("up_proj", hidden, intermediate, mlp_bias),
        Projection("down_proj", intermediate, hidden, mlp_bias),
    )
