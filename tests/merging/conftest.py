"""Tiny bases and adapters, made once each, with peft's own merge to hold ours against."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VOCABULARY = 96
PROBES = [[1, 5, 9, 33, 2, 70], [3, 4], list(range(20, 44))]


class Workshop:
    """Makes bases and adapters in a folder of its own, the bases once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def base(self, kind: str = "llama", *, tie: bool = False, dtype: str = "float32", shard: str = "1GB") -> Path:
        """A saved base: `llama`, `qwen` (query, key and value have biases) or `gpt2` (transposed weights)."""
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, Qwen2Config
        from transformers import LlamaForCausalLM as Llama
        from transformers import Qwen2ForCausalLM as Qwen2

        folder = self.root / f"{kind}-{tie}-{dtype}-{shard}"
        if folder.exists():
            return folder
        torch.manual_seed(7)
        sizes: dict[str, Any] = {
            "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": tie,
        }  # fmt: skip
        ends: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2}
        model: Any
        if kind == "gpt2":
            model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, **ends))
        else:
            model = Llama(LlamaConfig(**sizes, **ends)) if kind == "llama" else Qwen2(Qwen2Config(**sizes, **ends))
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard)
        (folder / "tokenizer.json").write_text('{"version": "1.0"}')
        (folder / "chat_template.jinja").write_text("{{ messages }}")
        return folder

    def load(self, base: Path) -> Any:
        """A base in float32."""
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)

    def adapter(self, base: Path, config: Any = None, **settings: Any) -> Path:
        """A saved adapter, LoRA by `settings` unless a `config` is given, every trained value moved from its start."""
        import torch
        from peft import LoraConfig, get_peft_model

        self.count += 1
        folder = self.root / f"adapter-{self.count}"
        torch.manual_seed(self.count)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], **settings}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = config or LoraConfig(task_type="CAUSAL_LM", **settings)
            model = get_peft_model(self.load(base), made)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data += 0.05 * torch.randn_like(parameter)
            model.save_pretrained(str(folder))
        return folder

    def adapted(self, base: Path, adapter: Path) -> Any:
        """The float32 base with the adapter on it, as peft loads it."""
        from peft import PeftModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PeftModel.from_pretrained(self.load(base), str(adapter)).eval()

    def merged_by_peft(self, base: Path, adapter: Path) -> dict[str, Any]:
        """The state of peft's `merge_and_unload` on the float32 base."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state: dict[str, Any] = self.adapted(base, adapter).merge_and_unload().state_dict()
        return state

    def logits(self, model: Any, prompt: list[int]) -> Any:
        """Logits of one prompt, (positions, vocabulary)."""
        import torch

        with torch.no_grad():
            return model.eval()(input_ids=torch.tensor([prompt])).logits[0]

    def copy(self, folder: Path) -> Path:
        """A copy that a test may damage."""
        self.count += 1
        return Path(shutil.copytree(folder, self.root / f"{folder.name}-copy-{self.count}"))


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The workshop of this test session."""
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def probes() -> list[list[int]]:
    """Prompts of several lengths."""
    return PROBES


@pytest.fixture
def read_folder() -> Callable[[Path], dict[str, Any]]:
    """Reads every tensor of a folder through safetensors alone."""

    def read(folder: Path) -> dict[str, Any]:
        from safetensors.torch import load_file

        return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}

    return read
