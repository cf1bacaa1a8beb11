"""Merging adapters into the base's original weights: streamed, verified, atomic."""

from lora_magic.merging.adapter import Adapter, read_adapter
from lora_magic.merging.merge import DTYPES, Settings, merge
from lora_magic.merging.originals import Originals, find_originals
from lora_magic.merging.outlook import outlook
from lora_magic.merging.stream import merged_tensors
from lora_magic.merging.verify import LogitSource

__all__ = [
    "DTYPES", "Adapter", "LogitSource", "Originals", "Settings", "find_originals", "merge", "merged_tensors",
    "outlook", "read_adapter",
]  # fmt: skip
