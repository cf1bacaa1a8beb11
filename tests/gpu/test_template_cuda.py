"""The T4 template on a card, with a random 3B model and no more memory than a T4 has.

`python -m pytest -m gpu tests/gpu/test_template_cuda.py`; needs 7 GB of disk twice over, and no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from lora_magic.results import Comparison, LoadResult, MergeResult, TrainResult
from tests.models import write_tokenizer
from tests.planning.configs import LLAMA_3B

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
T4_GIB = 14.56
TEMPLATE = Path(__file__).parents[2] / "notebooks" / "first_run_t4.ipynb"
MODEL = '"unsloth/Llama-3.2-3B-Instruct"'


def write_random(folder: Path, shape: dict[str, Any], device: str) -> None:
    """A Llama of this shape with random weights in 16 bits, and a small tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**{**shape, "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None})
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
    model.save_pretrained(folder, max_shard_size="2GB")
    write_tokenizer(folder)


def run_template(model: Path) -> dict[str, Any]:
    """Every code cell in a fresh shell, with the model's field filled in; each magic's result by name."""
    cells = json.loads(TEMPLATE.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sum(source.count(MODEL) for source in sources) == 1
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    results: dict[str, Any] = {}
    for source in sources:
        done = shell.run_cell(source.replace(MODEL, repr(str(model))))
        done.raise_error()
        results[type(done.result).__name__] = done.result
    return results


@pytest.fixture
def as_large_as_a_t4() -> Iterator[None]:
    """Allocations beyond a T4's memory fail."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, T4_GIB * 2**30 / total))
    torch.cuda.reset_peak_memory_stats()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    InteractiveShell.instance().run_line_magic("unload_ext", "lora_magic")
    InteractiveShell.clear_instance()


def test_the_t4_template_runs_to_its_end_inside_a_t4_s_memory(tmp_path: Path, as_large_as_a_t4: None) -> None:
    write_random(tmp_path / "random 3b", LLAMA_3B, "cuda")
    torch.cuda.empty_cache()
    results = run_template(tmp_path / "random 3b")
    loaded, trained, merged = (results[kind.__name__] for kind in (LoadResult, TrainResult, MergeResult))
    assert loaded.bits == 4 and loaded.parameters > 3e9
    assert trained.reason == "completed"
    assert set(results[Comparison.__name__].adapters) == {"base", "support"}
    assert merged.bytes_written > 6e9 and (tmp_path / "merged" / "config.json").is_file()
    assert torch.cuda.max_memory_reserved() <= T4_GIB * 2**30
