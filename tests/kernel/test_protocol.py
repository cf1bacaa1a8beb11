"""What a front end asks a kernel for: its versions, completions and help; and what the extension leaves in it."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_magic.config import TrainConfig
from lora_magic.config.fields import label
from tests.kernel.kernels import Kernel
from tests.kernel.stack import VERSIONS, assert_in_force

# A text on every place of the shell where an extension can leave something.
STATE = """
import gc, sys, threading
def state():
    shell = get_ipython()
    completer, events, formatters = shell.Completer, shell.events, shell.display_formatter.formatters
    return {
        "magics": {kind: sorted(names) for kind, names in shell.magics_manager.magics.items()},
        "lines": list(map(repr, shell.input_transformers_cleanup + shell.input_transformers_post)),
        "trees": list(map(repr, shell.ast_transformers)),
        "matchers": list(map(repr, completer.custom_matchers + getattr(completer, "magic_arg_matchers", []))),
        "hooks": {name: repr(hook) for name, hook in shell.hooks.items()},
        "callbacks": {name: list(map(repr, calls)) for name, calls in events.callbacks.items()},
        "printers": {kind: sorted(map(repr, f.type_printers)) for kind, f in formatters.items()},
        "later printers": {kind: sorted(map(repr, f.deferred_printers)) for kind, f in formatters.items()},
        "configurables": sorted(type(c).__name__ for c in shell.configurables),
        "exceptions": repr(shell.custom_exceptions),
        "names": sorted(name for name in shell.user_ns if not name.startswith("_")),
        "hooks of Python": [repr(sys.excepthook), repr(sys.displayhook), repr(sys.meta_path)],
        "threads": sorted(thread.name for thread in threading.enumerate()),
    }
before = after = changed = None
before = state()
"""
COMPARED = """
after = state()
print("changed:", {what: (before[what], after[what]) for what in before if before[what] != after[what]})
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("notebook")) as running:
        running.run("import lora_magic\nrows = [{'prompt': 'a', 'completion': 'b'}]\nrows_of_numbers = 3")
        assert running.run("%load_ext lora_magic").status == "ok"
        yield running


def test_the_kernel_is_of_the_stack_under_test(kernel: Kernel) -> None:
    versions = json.loads(kernel.run(VERSIONS).stream)
    assert_in_force(versions)
    assert kernel.client.kernel_info(reply=True, timeout=60)["content"]["implementation_version"] == versions["IPython"]


@pytest.mark.parametrize("jedi", [True, False])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("%lora_load demo --bits ", [f"%lora_load demo --bits {bits}" for bits in (4, 8, 16, 32, "auto")]),
        ("%lora_train --ra", ["%lora_train --rank"]),
        ("%%lora_train --data ro", ["%%lora_train --data rows"]),
        ("x = 1\n%lora_train --method do", ["x = 1\n%lora_train --method dora"]),
        ("%lora_compare --measures parr", ["%lora_compare --measures parroting"]),
    ],
)
def test_a_front_end_is_offered_ours_alone(kernel: Kernel, code: str, expected: list[str], jedi: bool) -> None:
    kernel.run(f"get_ipython().Completer.use_jedi = {jedi}")
    assert sorted(kernel.complete(code)) == sorted(expected)


@pytest.mark.parametrize("jedi", [True, False])
def test_other_lines_complete_as_ever(kernel: Kernel, jedi: bool) -> None:
    kernel.run(f"get_ipython().Completer.use_jedi = {jedi}")
    assert {"rows", "rows_of_numbers"} <= set(kernel.complete("row"))
    assert "lora_magic.train" in kernel.complete("lora_magic.tra")
    assert {"%lora_load", "%lora_train", "%lora_compare"} <= set(kernel.complete("%lora_"))


def test_a_front_end_is_shown_a_magic_s_help(kernel: Kernel) -> None:
    for shown in (kernel.inspect("%lora_train"), kernel.inspect("%lora_train demo --data rows", 6)):
        for field in dataclasses.fields(TrainConfig):
            assert field.name == "name" or f"--{label(field)}" in shown
    asked = kernel.run("%lora_train?")
    assert [("--rank" in page, "Example: " in page) for page in asked.pages] == [(True, True)]
    assert "rank" in kernel.inspect("lora_magic.train(", len("lora_magic.train"))
    assert kernel.inspect("%lora_nothing") == ""


def test_reloading_and_unloading_leave_nothing(tmp_path: Path) -> None:
    with Kernel(tmp_path) as fresh:
        fresh.run("import lora_magic.magics\n%load_ext storemagic")  # what IPython itself keeps of the first %load_ext
        fresh.run(STATE)
        for line in ("%load_ext", "%reload_ext", "%reload_ext", "%reload_ext"):
            assert fresh.run(f"{line} lora_magic").everything.strip() == ""
            assert fresh.complete("%lora_train --ra") == ["%lora_train --rank"]
        assert fresh.run("%lora_status").status == "ok"
        assert fresh.run("%unload_ext lora_magic").status == "ok"
        assert fresh.run(COMPARED).stream.strip() == "changed: {}"
        gone = fresh.run("%lora_status")
        assert gone.status == "error"
        assert "`%lora_status` not found" in gone.everything
        assert "%lora_train --rank" not in fresh.complete("%lora_train --ra")
        fresh.run("%load_ext lora_magic")
        assert fresh.run("%lora_status").status == "ok"
