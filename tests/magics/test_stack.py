"""The shell of these tests is that of the stack under test."""

import importlib

from tests.kernel.stack import DISTRIBUTIONS, assert_in_force


def test_the_shell_is_of_the_stack_under_test() -> None:
    assert_in_force({name: importlib.import_module(name).__version__ for name in DISTRIBUTIONS})
