"""The contract of backends, held on a CPU by the backend that LORA_MAGIC_BACKEND names."""

import pytest

from tests.backends import contract
from tests.backends.contract import *  # noqa: F403  its tests and fixtures become this module's

pytestmark = [
    contract.needs_backend,
    pytest.mark.skipif(contract.CUDA, reason="on a card: tests/gpu/test_contract_cuda.py"),
]
