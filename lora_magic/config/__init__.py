"""What can be chosen: frozen dataclasses that options, forms, YAML keys and documentation are made from."""

from lora_magic.config.compare import CompareConfig
from lora_magic.config.data import DataConfig, DataOptions
from lora_magic.config.load import LoadConfig
from lora_magic.config.merge import MergeConfig
from lora_magic.config.plan import PlanConfig
from lora_magic.config.runs import RunsConfig
from lora_magic.config.train import TrainConfig
from lora_magic.config.use import StatusConfig, UseConfig

__all__ = [
    "CompareConfig",
    "DataConfig",
    "DataOptions",
    "LoadConfig",
    "MergeConfig",
    "PlanConfig",
    "RunsConfig",
    "StatusConfig",
    "TrainConfig",
    "UseConfig",
]
