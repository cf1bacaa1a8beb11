"""transformers' own code of an architecture, whatever another library has put into it in this process.

Unsloth replaces the functions of transformers' classes with its own, which want a model that Unsloth has loaded:
2026.10.7 runs them on every model of the process. What verifies a merge must not be what trained it, so the
architecture's file is run once more, as a module of its own, and so is the one that makes attention masks, whose
functions Unsloth compiles. Parts that an architecture takes from another one's file, such as the text model inside a
model that sees, still come from there.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

_MASKS = "transformers.masking_utils"


def model_class(config: Any) -> Any:
    """The causal language model's class for a configuration, as transformers' file has it; None where that is not told.

    Args:
        config: a configuration of transformers' own, not of a model's remote code.
    """
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.auto_factory import _get_model_class

    mapping = AutoModelForCausalLM._model_mapping
    if type(config) not in mapping:
        return None
    name = type(config).__module__.replace(".configuration_", ".modeling_")
    module = _copy(name, mends=_own_masks) if name.startswith("transformers.models.") else None
    return getattr(module, _get_model_class(config, mapping).__name__, None)


def _own_masks(module: Any) -> None:
    """Give a module transformers' own functions that make masks in place of those that stand in this process."""
    standing = vars(sys.modules[_MASKS])
    for name, own in vars(_copy(_MASKS)).items():
        if isinstance(own, FunctionType) and name in vars(module) and vars(module)[name] is standing.get(name):
            setattr(module, name, own)


def _copy(name: str, mends: Callable[[Any], None] = lambda module: None) -> Any:
    """A second module from the file of the module `name`, after `mends` saw it, or None where there is none."""
    own = f"{name}_untouched"
    if own in sys.modules:
        return sys.modules[own]
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None:
        return None
    spec = importlib.util.spec_from_file_location(own, found.origin)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module
    try:
        spec.loader.exec_module(module)
        mends(module)
    except BaseException:
        del sys.modules[own]
        raise
    return module
