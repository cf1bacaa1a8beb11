"""A peft adapter folder: its settings and where its tensors lie."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lora_magic.errors import LoraError
from lora_magic.merging.originals import read_json, require_inside
from lora_magic.merging.tensors import FLOATING, Reader, Stored, listing

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
SUPPORTED = "adapters whose change peft can add to the base's own weights, LoRA and its relatives among them"

_PREFIX = "base_model.model."
_FACTOR = re.compile(
    r"(?P<module>.+)\.(?:lora_(?P<linear>[AB])\.weight|lora_embedding_(?P<embedding>[AB])"
    r"|(?P<magnitude>lora_magnitude_vector)(?:\.weight)?|lora_B\.(?P<bias>bias))"
)
_PART = re.compile(r"\.lora_(?:A|B|embedding_A|embedding_B|magnitude_vector)\.")
_WRAPPERS = re.compile(r"\.(?:base_layer|modules_to_save)(?=\.)")

_REFUSED_SETTINGS = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "monteclora_config", "use_bdlora",
    "use_qalora", "velora_config",
)  # fmt: skip

_PEFTS_SETTINGS = ("target_parameters", "trainable_token_indices")

_REFUSED_KINDS = frozenset({
    "ADAPTION_PROMPT", "CARTRIDGE", "CPT", "MULTITASK_PROMPT_TUNING", "POLY", "PREFIX_TUNING", "PROMPT_TUNING",
    "P_TUNING", "XLORA",
})  # fmt: skip

_TITLES = {
    "IA3": "IA³", "LN_TUNING": "LayerNorm tuning", "LOHA": "LoHa", "LOKR": "LoKr", "LORA": "LoRA", "MISS": "MiSS",
    "RANDLORA": "RandLoRA", "TRAINABLE_TOKENS": "trained tokens", "VERA": "VeRA",
}  # fmt: skip

_REFUSED_STARTS = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")


@dataclass(frozen=True)
class Factors:
    """The tensors that the adapter holds for one module.

    Attributes:
        a: A, (rank, inputs); of an embedding (rank, tokens).
        b: B, (outputs, rank); of an embedding (width, rank).
        embedding: True when the module is an embedding.
        magnitude: DoRA's m, one value an output (of an embedding: a column), or None.
        bias: what is added to the module's bias after scaling, (outputs,), or None.
    """

    a: Stored
    b: Stored
    embedding: bool = False
    magnitude: Stored | None = None
    bias: Stored | None = None


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on disk.

    Attributes:
        folder: where it lies.
        base: the model it says it was trained on; may be empty.
        rank, alpha: for modules that no pattern names.
        rank_pattern, alpha_pattern: exceptions, by regular expression over module names.
        use_rslora, use_dora: the variants.
        fan_in_fan_out: weights lie as (inputs, outputs), as in GPT-2.
        bias: "none", "all" or "lora_only".
        modules_to_save: modules trained whole.
        factors: by module, named as in the model.
        replaced: whole tensors that take an original's place, by parameter name.
        by_peft: the kind's name where peft itself merges it, layer by layer; else empty. Then `factors` and
            `replaced` are empty.
        unknown: settings that say something and that the installed peft does not have.
        saved_by: the version of peft that saved it; may be empty.
    """

    folder: Path
    base: str
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    use_rslora: bool
    use_dora: bool
    fan_in_fan_out: bool
    bias: str
    modules_to_save: tuple[str, ...]
    factors: Mapping[str, Factors]
    replaced: Mapping[str, Stored]
    by_peft: str = ""
    unknown: tuple[str, ...] = ()
    saved_by: str = ""

    @property
    def method(self) -> str:
        """The variant's name."""
        if self.by_peft and self.by_peft != "LoRA":
            return self.by_peft
        plain = "DoRA" if self.use_dora else "LoRA"
        return f"rs{plain}" if self.use_rslora else plain

    def scaling(self, module: str) -> float:
        """What B·A is multiplied with: alpha / rank, or alpha / √rank (rsLoRA, arXiv:2312.03732).

        Args:
            module: its name in the model, which the patterns are matched against as peft does: the pattern
                must cover the end of the name, from a dot or from the start.
        """
        rank = _by_pattern(self.rank_pattern, module, self.rank)
        alpha = _by_pattern(self.alpha_pattern, module, self.alpha)
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank

    def rank_of(self, module: str) -> int:
        """The rank that the settings give this module."""
        return int(_by_pattern(self.rank_pattern, module, self.rank))


def _by_pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _refuse_unsupported(settings: Mapping[str, Any], folder: Path) -> None:
    import peft

    kind = str(settings.get("peft_type") or "")
    if not kind:
        raise LoraError(
            f"{folder / CONFIG} does not say its peft_type.", "Use the file that was saved with the weights."
        )
    if kind in _REFUSED_KINDS:
        raise LoraError(f"{folder} has peft_type {kind}, which has no merged form.", f"Supported: {SUPPORTED}.")
    if kind not in peft.PeftType.__members__:
        raise LoraError(
            f"{folder} has peft_type {kind}, which peft {peft.__version__} does not know.", f"Supported: {SUPPORTED}."
        )
    used = [name for name in _REFUSED_SETTINGS if settings.get(name)]
    if used:
        raise LoraError(f"{folder} uses {used[0]}, which is not supported here.", f"Supported: {SUPPORTED}.")
    start = str(settings.get("init_lora_weights", True)).lower()
    if start.startswith(_REFUSED_STARTS):
        raise LoraError(
            f"{folder} was started with init_lora_weights={start}, which also changes the base's weights.",
            "Save it as a plain LoRA: save_pretrained with path_initial_model_for_weight_conversion.",
        )


def _unknown(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings that say something and that the installed peft does not have."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config: Any = PEFT_TYPE_TO_CONFIG_MAPPING[str(settings["peft_type"])]
    known = {field.name for field in fields(config)}
    return tuple(sorted(name for name, value in settings.items() if value and name not in known))


def _weights_file(folder: Path) -> Path:
    if (folder / WEIGHTS).exists():
        require_inside(folder / WEIGHTS, folder)
        return folder / WEIGHTS
    pickles = sorted(folder.glob("*.bin"))
    if pickles:
        raise LoraError(
            f"{pickles[0]} is a pickle, which can run code and is never loaded here.",
            f"Save the adapter as {WEIGHTS}.",
        )
    raise LoraError(f"{folder} has no {WEIGHTS}.", "Name a folder that peft saved an adapter to.")


def _refuse_broken_values(tensors: Mapping[str, Stored]) -> None:
    import torch

    with Reader() as reader:
        for stored in tensors.values():
            values = reader.read(stored)
            if values.is_floating_point() and not bool(torch.isfinite(values).all()):
                raise LoraError(
                    f"{stored.file} holds NaN or infinity in {stored.name}.",
                    "Use an earlier checkpoint, or train again with a lower learning rate.",
                )


def _factors(module: str, parts: Mapping[str, Stored], folder: Path) -> Factors:
    kind = "embedding" if "embedding_A" in parts else "linear"
    a, b = parts.get(f"{kind}_A"), parts.get(f"{kind}_B")
    if a is None or b is None:
        raise LoraError(f"{folder / WEIGHTS} has only a part of {module}.", "Save the adapter again.")
    for stored in (a, b):
        if stored.dtype not in FLOATING:
            raise LoraError(
                f"{folder / WEIGHTS} holds {stored.name} in {stored.dtype}; factors are fractions.",
                "Save the adapter again, unquantised.",
            )
    return Factors(a, b, kind == "embedding", parts.get("magnitude"), parts.get("bias"))


def _sorted_tensors(tensors: Mapping[str, Stored], folder: Path) -> tuple[dict[str, Factors], dict[str, Stored]]:
    """Split the file's tensors into factors by module and whole tensors by parameter."""
    parts: dict[str, dict[str, Stored]] = {}
    replaced = {}
    for key, stored in tensors.items():
        if not key.startswith(_PREFIX):
            raise LoraError(f"{folder / WEIGHTS} holds {key}, which is no name that peft gives.", "Save it with peft.")
        name = key.removeprefix(_PREFIX)
        found = _FACTOR.fullmatch(name)
        if not found and _PART.search(name):
            raise LoraError(
                f"{folder / WEIGHTS} holds {name}, which is no name that peft gives.",
                "Save it with peft's save_pretrained.",
            )
        if found:
            kind, letter = next(
                (kind, value) for kind, value in found.groupdict().items() if kind != "module" and value
            )
            part = f"{kind}_{letter}" if kind in ("linear", "embedding") else kind
            parts.setdefault(found["module"], {})[part] = stored
        else:
            replaced[_WRAPPERS.sub("", name)] = stored
    return {module: _factors(module, found, folder) for module, found in parts.items()}, replaced


def _check_ranks(adapter: Adapter) -> None:
    for module, factors in adapter.factors.items():
        rank = adapter.rank_of(module)
        if rank < 1 or (factors.a.shape[0], factors.b.shape[1]) != (rank, rank):
            raise LoraError(
                f"{module} has factors of shape {list(factors.a.shape)} and {list(factors.b.shape)}, "
                f"but {CONFIG} says rank {rank}.",
                "Use the adapter_config.json that was saved with these weights.",
            )


def _adapter(folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Stored]) -> Adapter:
    factors, replaced = _sorted_tensors(tensors, folder)
    try:
        adapter = Adapter(
            folder=folder,
            base=str(settings.get("base_model_name_or_path") or ""),
            rank=int(settings["r"]),
            alpha=float(settings["lora_alpha"]),
            rank_pattern={key: int(value) for key, value in (settings.get("rank_pattern") or {}).items()},
            alpha_pattern={key: float(value) for key, value in (settings.get("alpha_pattern") or {}).items()},
            use_rslora=bool(settings.get("use_rslora")),
            use_dora=bool(settings.get("use_dora")),
            fan_in_fan_out=bool(settings.get("fan_in_fan_out")),
            bias=str(settings.get("bias") or "none"),
            modules_to_save=tuple(settings.get("modules_to_save") or ()),
            factors=factors,
            replaced=replaced,
        )
        _check_ranks(adapter)
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise LoraError(f"{folder / CONFIG} is not usable ({error!r}).", "Save the adapter again.") from error
    return adapter


def _is_for_peft(settings: Mapping[str, Any], tensors: Mapping[str, Stored]) -> bool:
    """True for what is not two matrices a module: other kinds, adapted experts, single tokens, convolutions."""
    other = settings.get("peft_type") != "LORA" or any(settings.get(name) for name in _PEFTS_SETTINGS)
    return other or any(_FACTOR.fullmatch(name) and len(t.shape) > 2 for name, t in tensors.items())


def _for_peft(folder: Path, settings: Mapping[str, Any]) -> Adapter:
    kind = str(settings["peft_type"])
    rank, alpha = settings.get("r") or 0, settings.get("lora_alpha") or settings.get("alpha") or 0
    return Adapter(
        folder, str(settings.get("base_model_name_or_path") or ""), rank if isinstance(rank, int) else 0,
        float(alpha) if isinstance(alpha, int | float) else 0.0, {}, {}, bool(settings.get("use_rslora")),
        bool(settings.get("use_dora")), False, str(settings.get("bias") or "none"),
        tuple(settings.get("modules_to_save") or ()), {}, {}, by_peft=_TITLES.get(kind, kind),
    )  # fmt: skip


def read_adapter(folder: Path) -> Adapter:
    """Read a peft adapter's settings and list its tensors.

    Args:
        folder: with adapter_config.json and adapter_model.safetensors.

    Raises:
        LoraError: the folder is no adapter, is of a kind that is not merged here, is saved as a pickle, is
            damaged, disagrees with its own settings, or holds NaN.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise LoraError(f"There is no adapter folder {folder}.", "Name a folder that an adapter was saved to.")
    settings = read_json(folder / CONFIG)
    _refuse_unsupported(settings, folder)
    tensors = listing(_weights_file(folder))
    if not tensors:
        raise LoraError(f"{folder / WEIGHTS} is empty.", "Train or save the adapter again.")
    adapter = _for_peft(folder, settings) if _is_for_peft(settings, tensors) else _adapter(folder, settings, tensors)
    _refuse_broken_values(tensors)
    return replace(adapter, unknown=_unknown(settings), saved_by=str(settings.get("peft_version") or ""))
