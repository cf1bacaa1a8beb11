"""What a form draws, kept instead of shown."""

from __future__ import annotations

from typing import Any

import pytest

from lora_magic.forms.place import WIDGET_VIEW, Place


class Shown:
    """Both outputs of a form's place, as a page would have them now."""

    def __init__(self) -> None:
        self.plain: list[dict[str, Any]] = []
        self.form: list[dict[str, Any]] = []
        self.place = Place(self.plain.append, self.form.append)

    @property
    def html(self) -> str:
        """The plain output."""
        return str(self.plain[-1]["text/html"])

    @property
    def is_open(self) -> bool:
        """Whether the form stands."""
        return bool(self.form) and WIDGET_VIEW in self.form[-1]


@pytest.fixture
def shown() -> Shown:
    return Shown()
