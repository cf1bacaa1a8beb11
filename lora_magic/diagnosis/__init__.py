"""What this machine and its packages lack for a run; answered without importing torch."""

from __future__ import annotations

from lora_magic.diagnosis import card, clashes, imports, machine, packages
from lora_magic.diagnosis.installed import Installed, normal
from lora_magic.results.doctor import FINE, Check, Diagnosis


def examine() -> Diagnosis:
    """Look at the machine and at what is installed where this process would import from.

    Nothing of it depends on a package that might be missing or broken; what cannot be found out is said to be so.
    """
    installed = Installed()
    cards = card.cards()
    own_names = tuple(clashes.own_names())
    checks: list[Check] = [
        *machine.checks(),
        *card.checks(cards),
        *packages.checks(installed, bool(cards)),
        *clashes.checks(installed, cards),
        *own_names,
        *(() if own_names else imports.checks(installed)),  # what fails beside such a file fails because of it
    ]
    return Diagnosis(_each_once(checks))


def _each_once(checks: list[Check]) -> tuple[Check, ...]:
    """One check a thing: the first that is not fine, since what comes after follows from it."""
    chosen: dict[str, Check] = {}
    for check in checks:
        name = normal(check.what)
        if name not in chosen or (chosen[name].state == FINE and check.state != FINE):
            chosen[name] = check
    return tuple(chosen.values())
