"""Which backend loads a model, and what a user reads when it cannot; Unsloth itself is a stand-in here."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_magic.backends import choose as choosing
from lora_magic.backends import stack as stacks
from lora_magic.config import LoadConfig
from lora_magic.display.progress import Progress
from lora_magic.errors import LoraError

Decide = Callable[..., tuple[str, str]]


@pytest.fixture
def decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decide:
    """What is decided for a model on a machine of this kind."""

    def made(
        version: str | None = "2026.10.9",
        card: bool = True,
        running: str | None = None,
        model: Any = None,
        **given: Any,
    ) -> tuple[str, str]:
        monkeypatch.setattr(stacks, "unsloth_version", lambda: version)
        monkeypatch.setattr(stacks, "running", lambda: running)
        monkeypatch.setattr(choosing, "_has_card", lambda: card)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"} | (model or {})))
        return choosing._decided(LoadConfig("mine", **given), str(tmp_path))

    return made


def test_auto_takes_unsloth_on_a_card_and_transformers_elsewhere(decide: Decide) -> None:
    assert decide() == ("unsloth", "")
    assert decide(card=False) == ("transformers", "")
    assert decide(card=False, backend="unsloth") == ("unsloth", "")
    assert decide(backend="transformers") == ("transformers", "")
    assert decide(version="2026.10.7")[0] == decide(version="2027.1.0")[0] == "unsloth"


@pytest.mark.parametrize(
    ("situation", "said"),
    [
        ({"version": None}, "not installed"),
        ({"version": "2026.10.6"}, "2026.10.6"),
        ({"model": {"model_type": "phi3"}}, "phi3"),
        ({"model": {"auto_map": {"AutoModel": "x.Y"}}}, "Python of its own"),
        ({"model": {"quantization_config": {"load_in_8bit": True}}}, "8-bit"),
        ({"bits": 8}, "8-bit"),
        ({"bits": 32}, "float32"),
        ({"dtype": "float32"}, "float32"),
    ],
)
def test_what_unsloth_cannot_do_transformers_does_and_says_what_it_costs(
    decide: Decide, situation: dict[str, Any], said: str
) -> None:
    backend, why = decide(**situation)
    assert backend == "transformers"
    assert said in why and "slower" in why
    with pytest.raises(LoraError) as caught:
        decide(backend="unsloth", **situation)
    assert said in caught.value.problem
    assert "pip install" in caught.value.remedy or "--backend transformers" in caught.value.remedy


def test_a_process_keeps_the_backend_that_it_has(decide: Decide) -> None:
    assert decide(running="unsloth") == ("unsloth", "")
    assert decide(running="unsloth", card=False) == ("unsloth", "")
    backend, why = decide(running="transformers")
    assert backend == "transformers" and "restart" in why
    for running, asked in (("unsloth", "transformers"), ("transformers", "unsloth")):
        with pytest.raises(LoraError, match=f"already has the backend {running}") as caught:
            decide(running=running, backend=asked)
        assert caught.value.remedy == f"Restart the kernel, then load with --backend {asked}."
    with pytest.raises(LoraError, match="phi3") as caught:
        decide(running="unsloth", model={"model_type": "phi3"})
    assert "Restart the kernel" in caught.value.remedy and "--backend transformers" in caught.value.remedy


def test_where_unsloth_does_not_import_transformers_does_its_work(
    decide: Decide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide()

    def broken(backend: str = "", began: object = None) -> SimpleNamespace:
        if backend == "unsloth":
            raise stacks._not_imported(ImportError("libcudart.so.12: cannot open, see bitsandbytes"))
        return SimpleNamespace(name=backend)

    monkeypatch.setattr(stacks, "import_stack", broken)
    loader: Any = choosing.choose(LoadConfig("mine"), str(tmp_path), Progress("loading"))
    assert loader.args[0].name == "transformers"
    assert "libcudart.so.12" in loader.keywords["why"] and "slower" in loader.keywords["why"]
    with pytest.raises(LoraError, match="libcudart") as caught:
        choosing.choose(LoadConfig("mine", backend="unsloth"), str(tmp_path), Progress("loading"))
    assert caught.value.remedy.startswith("pip install -U bitsandbytes")


def test_where_cuda_keeps_unsloth_from_importing_installing_it_again_is_not_the_advice() -> None:
    told = stacks._not_imported(RuntimeError("CUDA call failed lazily at initialization: device < num_gpus"))
    assert told.remedy.startswith("Run %lora_doctor") and "pip" not in told.remedy


def test_a_bitsandbytes_without_a_library_for_this_cuda_is_refused() -> None:
    class ErrorHandlerMock:
        pass

    def stack(library: object, card: bool = True) -> SimpleNamespace:
        torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: card), version=SimpleNamespace(cuda="13.0"))
        native = SimpleNamespace(lib=library)
        return SimpleNamespace(torch=torch, bitsandbytes=SimpleNamespace(cextension=native, __version__="0.49.0"))

    stacks.check_bitsandbytes(stack(object()))
    stacks.check_bitsandbytes(stack(ErrorHandlerMock(), card=False))
    with pytest.raises(LoraError, match=r"0\.49\.0 has no library for this torch's CUDA 13\.0") as caught:
        stacks.check_bitsandbytes(stack(ErrorHandlerMock()))
    assert "pip install -U bitsandbytes" in caught.value.remedy and "--bits 16" in caught.value.remedy


STAND_IN = """
import logging, os, sys, warnings
print("a banner")
print("and a warning", file=sys.stdout)
warnings.warn("import me first")
logging.basicConfig(level=logging.WARNING)
FIRST = not any(name in sys.modules for name in ("transformers", "trl", "peft"))
STATISTICS = os.environ.get("UNSLOTH_DISABLE_STATISTICS")
COMPILED = os.environ["UNSLOTH_COMPILE_LOCATION"]
def later():
    print("more of it")
"""
IMPORTING = """
import json, logging, os, sys
from lora_magic.backends.stack import import_stack, running
heard = []
stack = import_stack("unsloth", heard.append)
stack.unsloth.later()
from unsloth.models import _block_compile
_block_compile.wrap()
again = import_stack()
print(json.dumps({
    "first": stack.unsloth.FIRST, "statistics": stack.unsloth.STATISTICS, "compiled": stack.unsloth.COMPILED,
    "handlers": len(logging.getLogger().handlers), "running": running(), "again": again.unsloth is stack.unsloth,
    "heard": sorted(set(heard) & {"unsloth", "torch", "transformers", "trl"}),
    "left": [str(one) for one in sys.meta_path if "lora_magic" in str(type(one))],
}))
"""


def test_unsloth_is_imported_first_and_in_silence(tmp_path: Path) -> None:
    stand_in = tmp_path / "site"
    (stand_in / "unsloth").mkdir(parents=True)
    (stand_in / "unsloth" / "__init__.py").write_text(STAND_IN)
    (stand_in / "unsloth" / "models").mkdir()
    (stand_in / "unsloth" / "models" / "_block_compile.py").write_text("def wrap():\n    print('compiling')\n")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**__import__("os").environ, "PYTHONPATH": f"{stand_in}:{Path(__file__).parents[2]}",
             "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert "import me first" not in done.stderr
    found = json.loads(done.stdout)
    assert found["first"] and found["again"] and found["running"] == "unsloth"
    assert found["statistics"] == "1"
    assert Path(found["compiled"]).is_relative_to(tmp_path / "cache")
    assert found["handlers"] == 0 and found["left"] == []
    assert found["heard"] == ["torch", "transformers", "trl", "unsloth"]
