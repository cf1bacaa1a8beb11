"""What can be chosen: frozen dataclasses that options, forms, YAML keys and documentation are made from."""

from lora_magic.config.compare import CompareConfig
from lora_magic.config.load import LoadConfig
from lora_magic.config.merge import MergeConfig
from lora_magic.config.train import TrainConfig
from lora_magic.config.use import StatusConfig, UseConfig

__all__ = ["CompareConfig", "LoadConfig", "MergeConfig", "StatusConfig", "TrainConfig", "UseConfig"]
