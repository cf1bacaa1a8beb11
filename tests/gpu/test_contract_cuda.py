"""The contract of backends on a card, and that what is fast about Unsloth is what ran.

One backend a process: LORA_MAGIC_BACKEND=unsloth pytest tests/gpu/test_contract_cuda.py, and again without.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.backends import contract
from tests.backends.contract import *  # noqa: F403  its tests and fixtures become this module's
from tests.backends.contract import FIRST, SECOND, answered, loaded, trained

pytestmark = [
    contract.needs_backend,
    pytest.mark.gpu,
    pytest.mark.skipif(not contract.CUDA, reason="needs CUDA"),
]
of_unsloth = pytest.mark.skipif(contract.BACKEND != "unsloth", reason="LORA_MAGIC_BACKEND is not unsloth")
LAYERS = 2


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of Unsloth's functions is called; blocks are not compiled, so that each call is seen."""
    monkeypatch.setenv("UNSLOTH_BLOCK_COMPILE", "0")
    from unsloth.kernels import fast_lora
    from unsloth.models import llama

    calls: Counter[str] = Counter()

    def counting(name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    for name in ("LoRA_QKV", "LoRA_MLP", "LoRA_W"):
        kernel = getattr(fast_lora, name)
        monkeypatch.setattr(kernel, "apply", staticmethod(counting(name, kernel.apply)))
    for name in ("fast_rope_embedding", "fast_rms_layernorm", "unsloth_fused_ce_loss"):
        monkeypatch.setattr(llama, name, counting(name, getattr(llama, name)))
    return calls


@of_unsloth
def test_training_runs_on_unsloth_s_kernels(tiny_folder: Path, counted: Counter[str]) -> None:
    session = loaded(tiny_folder)
    trained(session, "fast", eval_split=0)
    assert session.base.fused_functions(session.adapters["fast"].key) == 3 * LAYERS  # type: ignore[attr-defined]
    steps = contract.STEPS
    for name in ("LoRA_QKV", "LoRA_MLP", "LoRA_W", "fast_rope_embedding"):
        assert counted[name] >= LAYERS * steps, counted
    for name in ("fast_rms_layernorm", "unsloth_fused_ce_loss"):
        assert counted[name] >= steps, counted


@of_unsloth
def test_fused_functions_fit_each_adapter_whatever_came_before(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    for name, options in (
        ("dora", FIRST),
        ("some", SECOND),
        ("plain", {"rank": 4}),
        ("attention", {"target": "attention"}),
    ):
        trained(session, name, **options)  # type: ignore[arg-type]
    found = {name: session.base.fused_functions(a.key) for name, a in session.adapters.items()}  # type: ignore[attr-defined]
    assert found == {"dora": 0, "some": LAYERS, "plain": 3 * LAYERS, "attention": 2 * LAYERS}


@of_unsloth
def test_answers_of_the_bare_base_run_none_of_an_adapter_s_functions(tiny_folder: Path, counted: Counter[str]) -> None:
    session = loaded(tiny_folder)
    trained(session, "fast")
    counted.clear()
    answered(session)
    contract.bare(session)
    assert not any(counted[name] for name in ("LoRA_QKV", "LoRA_MLP", "LoRA_W"))
