"""transformers' own code of an architecture, whatever another library has put into it in this process.

Unsloth replaces the functions of transformers' classes with its own, which want a model that Unsloth has loaded:
2026.10.7 runs them on every model of the process. What verifies a merge must not be what trained it, so the
architecture's file is run once more, as a module of its own. Parts that an architecture takes from another one's file,
such as the text model inside a model that sees, still come from there.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any


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
    module = _copy(type(config).__module__.replace(".configuration_", ".modeling_"))
    return getattr(module, _get_model_class(config, mapping).__name__, None)


def _copy(name: str) -> Any:
    """A second module from the file of the module `name`, or None where there is none."""
    own = f"{name}_untouched"
    if own in sys.modules:
        return sys.modules[own]
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None or not name.startswith("transformers.models."):
        return None
    spec = importlib.util.spec_from_file_location(own, found.origin)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own]
        raise
    return module
