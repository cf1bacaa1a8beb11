"""Loading a base's weights with transformers, and mending what would train wrongly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from lora_magic.backends.base import BaseFacts, Phases
from lora_magic.backends.fetch import stored_quantisation, weight_bytes
from lora_magic.backends.room import family
from lora_magic.config import LoadConfig
from lora_magic.errors import LoraError
from lora_magic.planning.architecture import Architecture, read
from lora_magic.planning.hardware import Hardware, compute_dtype

SIXTEEN_BIT_SHARE = 0.4


def choose_bits(config: LoadConfig, path: str, hardware: Hardware) -> tuple[int, str]:
    """Bits a weight and why: as stored, as asked, or the widest that leaves room to train.

    Raises:
        LoraError: a quantised folder asked for at other bits than it has.
    """
    stored = stored_quantisation(path, config)
    if stored is not None:
        bits = 4 if stored.get("load_in_4bit") else 8 if stored.get("load_in_8bit") else 0
        if not bits:
            kind = stored.get("quant_method", "unknown")
            raise LoraError(
                f"{config.model} is quantised as {kind}, which is not trained here.", "Load the 16-bit model."
            )
        return bits, "the folder is already quantised"
    if config.bits != "auto":
        return int(config.bits), "NF4, double quantisation" if config.bits == 4 else "as asked"
    size = weight_bytes(path, config)
    fits = size <= SIXTEEN_BIT_SHARE * hardware.free_bytes
    why = f"16-bit weights of {size / 2**30:.1f} GiB {'leave' if fits else 'do not leave'} room to train"
    return (16, why) if fits else (4, why)


def load_model(
    stack: SimpleNamespace, config: LoadConfig, path: str, hardware: Hardware, bits: int, phases: Phases
) -> Any:
    """A causal language model with frozen weights on `hardware`.

    Raises:
        LoraError: weights that cannot be read, do not fit, or whose architecture needs code of its own.
    """
    dtype = getattr(stack.torch, compute_dtype(hardware, config.dtype, bits, family(path, config))[0])
    plain = stored_quantisation(path, config) is None
    quantised = {"quantization_config": _quantisation(stack, bits, dtype)} if plain and bits in (4, 8) else {}
    try:
        with phases.phase("weights"), weight_progress(stack, phases):
            model = stack.transformers.AutoModelForCausalLM.from_pretrained(
                path, revision=config.revision, trust_remote_code=config.trust_remote_code, use_safetensors=True,
                local_files_only=not config.trust_remote_code,
                dtype=dtype, device_map={"": 0 if hardware.kind == "cuda" else "cpu"}, **quantised,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, stack.safetensors_error) as error:
        raise explained(config, error) from None
    model.requires_grad_(False)
    mend_quantised(stack, model.eval(), dtype)
    return model


def load_tokenizer(stack: SimpleNamespace, config: LoadConfig, path: str) -> Any:
    """The model's tokenizer, with a pad token.

    Raises:
        LoraError: there is none, or it cannot be read.
    """
    try:
        tokenizer = stack.transformers.AutoTokenizer.from_pretrained(
            path,
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            local_files_only=not config.trust_remote_code,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise explained(config, error) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def mend_quantised(stack: SimpleNamespace, model: Any, dtype: Any) -> None:
    """Set quantised layers up so that they compute in `dtype` and train exactly.

    bitsandbytes 0.50 repacks the weights of an evaluated `Linear4bit` on processors with AVX512-BF16 and then
    computes wrong gradients from them (relative error 0.83); its own switch turns the repacking off. A folder
    that was quantised elsewhere names its own compute dtype, which this device may not have.
    """
    for module in model.modules():
        if isinstance(module, stack.bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
            module.compute_dtype, module.compute_type_is_set = dtype, True


def unpacked_parameters(model: Any) -> int:
    """Parameters of `model`, those in packed 4-bit storage counted one by one and tied ones once."""
    total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += state.shape.numel() if state is not None else parameter.numel()
    return total


def _quantisation(stack: SimpleNamespace, bits: int, dtype: Any) -> Any:
    if bits == 8:
        return stack.transformers.BitsAndBytesConfig(load_in_8bit=True)
    return stack.transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def base_facts(
    backend: str,
    model: Any,
    config: LoadConfig,
    path: str,
    hardware: Hardware,
    bits: int,
    dtype: tuple[str, str],
    reasons: Sequence[tuple[str, str]],
) -> BaseFacts:
    """What the loaded `model` is; `dtype` is what it computes in and why."""
    longest = getattr(model.config, "max_position_embeddings", None) or config.max_length
    return BaseFacts(
        model=config.model, path=path, revision=config.revision, trust_remote_code=config.trust_remote_code,
        architecture=type(model).__name__, backend=backend, hardware=hardware, bits=bits, dtype=dtype[0],
        dtype_reason=dtype[1], reasons=tuple(reasons), parameters=unpacked_parameters(model),
        memory_bytes=model.get_memory_footprint(), max_length=min(config.max_length, longest),
        shapes=_shapes(model),
    )  # fmt: skip


def _shapes(model: Any) -> Architecture | None:
    try:
        return read(model.config.to_dict())
    except (LoraError, TypeError, ValueError, AttributeError):
        return None


def explained(config: LoadConfig, error: Exception) -> LoraError:
    """What a loader raised, as one line for the user."""
    text = " ".join(str(error).split())
    name = config.model
    if "trust_remote_code" in text:
        return LoraError(f"{name} brings Python of its own.", "Read it, then load with --trust-remote-code.")
    if "out of memory" in text:
        return LoraError(
            f"{name} does not fit into memory at {config.bits} bits.", "Load with --bits 4, or a smaller model."
        )
    if "safetensors" in type(error).__module__ or "safetensor" in text.lower():
        return LoraError(
            f"The weights of {name} cannot be read ({text[:160]}).", "They are damaged or incomplete: fetch again."
        )
    return LoraError(f"{name} could not be loaded ({text[:200]}).", "Check that it is a causal language model.")


@contextmanager
def weight_progress(stack: SimpleNamespace, phases: Phases) -> Iterator[None]:
    """Inside, transformers' bar of the weights is told to `phases` instead of drawn."""
    logging = stack.transformers.utils.logging

    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _Reported(phases, *args, **kwargs)

    before = logging.set_tqdm_hook(hook)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


class _Reported:
    """The part of tqdm that transformers uses, told to `phases` instead of drawn."""

    def __init__(self, phases: Phases, iterable: Any = None, total: int | None = None, **_: Any) -> None:
        self.phases, self.iterable, self.done = phases, iterable, 0
        self.total = total or (len(iterable) if hasattr(iterable, "__len__") else 0)

    def __iter__(self) -> Iterator[Any]:
        for item in self.iterable or ():
            yield item
            self.update()

    def update(self, n: int = 1) -> None:
        """`n` more are done."""
        self.done += n
        self.phases.update(self.done / self.total if self.total else None)

    def __enter__(self) -> _Reported:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def __getattr__(self, name: str) -> Any:
        return _nothing


def _nothing(*_: Any, **__: Any) -> None:
    """Stands for the parts of tqdm that draw."""
