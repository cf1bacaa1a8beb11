"""`%%lora_train` with nothing below it: IPython refuses a cell magic without a body, so it is given a blank one."""

from __future__ import annotations

import re

_FIRST_LINE = re.compile(r"%%lora_\w+(\s|$)")


def give_blank_body(lines: list[str]) -> list[str]:
    """IPython's cleanup transform: a cell's lines, with a blank one after a cell magic of ours that stands alone."""
    if len(lines) == 1 and _FIRST_LINE.match(lines[0]):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


# Left out where IPython asks whether a cell is complete: in a terminal a body may still be typed.
give_blank_body.has_side_effects = True  # type: ignore[attr-defined]
