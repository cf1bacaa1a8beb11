"""What can be chosen: frozen dataclasses that options, forms, YAML keys and documentation are made from."""

from lora_magic.config.adapters import AdaptersConfig
from lora_magic.config.chat import ChatConfig
from lora_magic.config.compare import CompareConfig
from lora_magic.config.data import DataConfig, DataOptions
from lora_magic.config.doctor import DoctorConfig
from lora_magic.config.load import LoadConfig
from lora_magic.config.merge import MergeConfig
from lora_magic.config.plan import PlanConfig
from lora_magic.config.runs import RunsConfig
from lora_magic.config.train import TrainConfig
from lora_magic.config.use import StatusConfig, UseConfig

__all__ = [
    "AdaptersConfig",
    "ChatConfig",
    "CompareConfig",
    "DataConfig",
    "DataOptions",
    "DoctorConfig",
    "LoadConfig",
    "MergeConfig",
    "PlanConfig",
    "RunsConfig",
    "StatusConfig",
    "TrainConfig",
    "UseConfig",
]
