"""A shell of its own for every test, with the extension loaded."""

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "lora_magic")
    yield made
    made.run_line_magic("unload_ext", "lora_magic")
    InteractiveShell.clear_instance()
