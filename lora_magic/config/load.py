"""What `%lora_load` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.config.fields import REQUIRED, Config, option
from lora_magic.errors import LoraError

BITS = (4, 8, 16, 32, "auto")
BACKENDS = ("auto", "unsloth", "transformers")
DTYPES = ("auto", "float16", "bfloat16", "float32")


@dataclass(frozen=True)
class LoadConfig(Config):
    """Which base to load, and how."""

    model: str = option(
        REQUIRED,
        "demo (the embedded model), a model id on the Hub, or a folder",
        metavar="MODEL",
        positional=True,
        offers="model",
    )
    bits: int | str = option(
        4, "bits a weight: 4 is NF4 with double quantisation, auto is 16 where it fits", choices=BITS
    )
    max_length: int = option(2048, "longest row in tokens", metavar="N", low=8)
    dtype: str = option("auto", "what to compute in; auto is decided by the device", choices=DTYPES)
    backend: str = option(
        "auto", "what runs the model; auto is Unsloth on a CUDA card where it can, once a kernel", choices=BACKENDS
    )
    revision: str | None = option(None, "branch, tag or commit on the Hub", metavar="R")
    trust_remote_code: bool = option(False, "run the Python that comes with the model")

    def check(self) -> None:
        """Bits and dtype that do not contradict each other."""
        if (self.bits == 32 and self.dtype in ("float16", "bfloat16")) or (self.bits == 16 and self.dtype == "float32"):
            raise LoraError(
                f"bits {self.bits} and dtype {self.dtype} contradict each other.", "Leave --dtype out: bits decide it."
            )
