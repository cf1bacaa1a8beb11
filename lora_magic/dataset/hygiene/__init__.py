"""What is wrong or worth knowing about rows before they are trained on, and a cleaned copy of them.

Nothing here evaluates, renders or follows a row's text; every pattern takes time linear in the text.
"""

from __future__ import annotations

from lora_magic.dataset.hygiene.check import check
from lora_magic.dataset.hygiene.fix import write_fixed
from lora_magic.dataset.hygiene.tasks import tasks

__all__ = ["check", "tasks", "write_fixed"]
