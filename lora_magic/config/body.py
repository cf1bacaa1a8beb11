"""What a cell's body holds: nothing, settings in YAML, or examples as JSON Lines."""

from __future__ import annotations

import json
import re
from typing import Any

from lora_magic.errors import LoraError

_NUMBER = re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?$")


def holds_examples(body: str) -> bool:
    """True when the first line that is not blank starts a JSON object with a quoted key, as examples do."""
    first = next((line.strip() for line in body.splitlines() if line.strip()), "")
    return bool(re.match(r'(\[\s*)?\{\s*"|\[$', first))


def settings(body: str) -> dict[str, Any]:
    """The YAML mapping in `body`, with `2e-4` read as the number it is.

    PyYAML follows YAML 1.1, where a float needs a dot; here YAML 1.2's rule holds.

    Raises:
        LoraError: broken YAML, with its line; or a body that is not a mapping.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe loading with YAML 1.2's floats."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789."))
    try:
        found = yaml.load(body, Loader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}" if mark else "the body"
        text = body.splitlines()[mark.line].strip() if mark and mark.line < len(body.splitlines()) else ""
        raise LoraError(
            f"The settings are not YAML, {where}: {text!r} ({error.problem}).", "Write `option: value`."
        ) from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise LoraError(f"The settings are not YAML ({first}).", "Write `option: value`, one a line.") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        shown = json.dumps(found, default=str)[:80]
        raise LoraError(f"The body is neither settings nor examples: {shown}.", "Write `option: value`, one a line.")
    return {str(key): value for key, value in found.items()}
