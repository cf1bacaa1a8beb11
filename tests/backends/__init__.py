"""Tests of the backends; what the contract's own asserts saw is told when they fail."""

import pytest

pytest.register_assert_rewrite("tests.backends.contract")
