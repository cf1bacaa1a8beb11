"""What completion and forms offer in a notebook, asked for when it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from lora_magic.magics.completion import Offers, data_names


def offers(variables: Callable[[], Mapping[str, Any]]) -> Offers:
    """The adapters of the session, the recorded runs, and the variables that could be data.

    Args:
        variables: the notebook's.
    """

    def adapters() -> list[str]:
        api = sys.modules.get("lora_magic.api")  # without which there is none
        return list(api.session().adapters) if api is not None else []

    def runs() -> list[str]:
        from lora_magic.training.runs import run_names

        return run_names()

    def data() -> list[str]:
        return [name for name in data_names(variables()) if name != "In"]  # IPython's own list of inputs

    return Offers(adapters, data, runs)
