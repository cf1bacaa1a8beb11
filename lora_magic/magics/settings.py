"""`%config LoraMagic.train_rank = 16`: defaults that last, in a session or in IPython's configuration file."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from traitlets import TraitError, TraitType
from traitlets.config import Config as Traits
from traitlets.config import Configurable

from lora_magic.config import (
    ChatConfig,
    CompareConfig,
    DataConfig,
    DataOptions,
    LoadConfig,
    MergeConfig,
    TrainConfig,
    defaults,
)
from lora_magic.config.fields import Config, checked, converted_field
from lora_magic.config.plan import PlanConfig
from lora_magic.errors import LoraError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    Trait = TraitType[Any, Any]
else:
    Trait = TraitType  # traitlets 5.7 cannot be subscripted

NAME = "LoraMagic"
_KINDS: dict[str, type[Config]] = {
    "load": LoadConfig, "train": TrainConfig, "data": DataConfig, "compare": CompareConfig, "chat": ChatConfig,
    "merge": MergeConfig,
}  # fmt: skip
_PLANNED = {"load_bits", "load_backend", *(f"train_{name}" for name in PlanConfig.__dataclass_fields__)}
ASKED_EACH_TIME = {
    "data", "eval_data", "prompts", "general", "from_run", "continue_from", "fix", "overwrite", "trust_remote_code",
    "blind", "scores", "votes", "say",
}  # fmt: skip


class Option(Trait):
    """One option of a magic, checked as on the magic's line."""

    def __init__(
        self, field: dataclasses.Field[Any], config_class: type[Config], also: tuple[type[Config], ...]
    ) -> None:
        super().__init__(field.default, allow_none=True, help=field.metadata["help"])
        self.tag(config=True)
        self.field, self.config_class = field, config_class
        self.targets = (config_class, *also)

    def validate(self, obj: Any, value: Any) -> Any:
        """The value as the config takes it.

        Raises:
            TraitError: the config's own complaint.
        """
        try:
            made = converted_field(self.config_class, self.field, value)
            checked(self.field, made)
        except LoraError as error:
            raise TraitError(str(error)) from None
        return made


def _options() -> dict[str, Option]:
    """Every option that can have a default of the user's own, as `train_rank`.

    What `%lora_data` and `%lora_plan` share with `%%lora_train` is set once, as `train_…`, and holds for all.
    """
    shared = set(DataOptions.__dataclass_fields__)
    found = {}
    for kind, config_class in _KINDS.items():
        for field in dataclasses.fields(config_class):
            name = f"{kind}_{field.name}"
            asked = field.default is dataclasses.MISSING or field.metadata["positional"]
            if asked or field.name in ASKED_EACH_TIME or (kind == "data" and field.name in shared):
                continue
            data = (DataConfig,) if kind == "train" and field.name in shared else ()
            found[name] = Option(field, config_class, (*data, *((PlanConfig,) if name in _PLANNED else ())))
    return found


def _made(kind: Any, shell: InteractiveShell) -> Any:
    """The configurable with the shell's values; one that cannot be is left out, which is said."""
    section = shell.config.get(NAME, {})
    for name, value in list(section.items()):
        try:
            kind(config=Traits({NAME: {name: value}}))
        except TraitError as error:
            print(f"{NAME}.{name} = {value!r} is not used: {error}", file=sys.stderr)
            del section[name]
    return kind(parent=shell)


class Settings:
    """The `LoraMagic` that `%config` lists and changes.

    Args:
        shell: whose configuration file may hold values already.
        changed: called after every change.
    """

    def __init__(self, shell: InteractiveShell, changed: Callable[[], None]) -> None:
        options = _options()
        self._shell, self._changed = shell, changed
        self.configurable = _made(type(NAME, (Configurable,), dict(options)), shell)
        for name, option in options.items():
            value = getattr(self.configurable, name)
            if value != option.field.default:
                self._put(option, value)
        self.configurable.observe(lambda change: self._put(options[change["name"]], change["new"]), list(options))

    def _put(self, option: Option, value: Any) -> None:
        for config_class in option.targets:
            if value == option.field.default:
                defaults.take_back(config_class.__name__, option.field.name)
            else:
                defaults.put(config_class.__name__, option.field.name, value)
        self._changed()

    def install(self) -> None:
        """Show it to `%config`."""
        self._shell.configurables.append(self.configurable)

    def remove(self) -> None:
        """Take it away, and the values with it."""
        if self.configurable in self._shell.configurables:
            self._shell.configurables.remove(self.configurable)
        self.configurable.unobserve_all()
        defaults.clear()
