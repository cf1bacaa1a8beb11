"""`python -m lora_magic doctor`: what works outside a notebook, also where half of the packages are missing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of the terminal.

    Args:
        arguments: the words after `python -m lora_magic`; the process's own unless given.

    Returns:
        0, or 1 when something would make a run fail.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lora_magic", description="Fine-tune language models in a notebook."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    doctor = commands.add_parser(
        "doctor",
        help="check GPU, driver, packages, disk, memory and token for what a run needs",
        description="Check GPU, driver, packages, disk, memory and token for what a run needs. Each is fine or comes "
        "with the one command that mends it. Ends with 1 when a run would fail. Imports no torch.",
    )
    doctor.set_defaults(run=_doctor)
    return int(parser.parse_args(arguments).run())


def _python_s_own_first() -> None:
    """Look for Python's modules in its own folders before the current one: a `random.py` there stops nothing then."""
    own = os.path.dirname(os.__file__)  # noqa: PTH120  pathlib imports what may be hidden by such a file
    sys.path.sort(key=lambda place: not place.startswith(own) or "site-packages" in place)


def _doctor() -> int:
    _python_s_own_first()
    from lora_magic.diagnosis import examine
    from lora_magic.display.doctor import doctor_text

    found = examine()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that knows no arrows
    sys.stdout.write(doctor_text(found) + "\n")
    return 0 if found.ok else 1


if __name__ == "__main__":
    sys.exit(main())
