"""What a merge takes: `python -m tests.benchmarks.merging [1b|3b|8b] [FOLDER] [WAY ...]`.

Writes a random bfloat16 Llama and a random rank 16 LoRA on all its projections into FOLDER (a temporary one unless
given), then merges it to float16, each WAY in a process of its own: `copy` copies and syncs the base's files, `ours`
is the streamed merge, `verify` the same with its verification on 4 prompts, `4bit` writes NF4, and `peft` is
`merge_and_unload` in bfloat16 and `save_pretrained`. Prints seconds, those of all processors (which tell more where
others work on the machine), and the peak of the process's anonymous memory above what it was after the imports,
sampled every 5 ms.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SHAPES = {"1b": (2048, 8192, 16, 32, 8), "3b": (3072, 8192, 28, 24, 8), "8b": (4096, 14336, 32, 32, 8)}
VOCABULARY, RANK, SHARD = 128_256, 16, 4_000_000_000
WAYS = ("copy", "ours", "verify", "peft")


def _config(size: str) -> Any:
    from transformers import LlamaConfig

    hidden, inner, layers, heads, kv = SHAPES[size]
    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv, max_position_embeddings=8192, dtype="bfloat16",
        tie_word_embeddings=size != "8b", architectures=["LlamaForCausalLM"],
    )  # fmt: skip


def make(size: str, base: Path, adapter: Path) -> None:
    """Write the model a tensor at a time, and the adapter."""
    import torch
    from accelerate import init_empty_weights
    from peft import LoraConfig
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    config = _config(size)
    base.mkdir(parents=True)
    with init_empty_weights():
        shapes = {name: tuple(p.shape) for name, p in AutoModelForCausalLM.from_config(config).named_parameters()}
    if config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    config.save_pretrained(base)
    random, shards, held = torch.Generator().manual_seed(0), [{}], 0
    factors = {}
    for name, shape in shapes.items():
        noise = torch.randn(2**16, generator=random).mul_(0.02).bfloat16()
        count = torch.Size(shape).numel()
        tensor = noise.repeat(-(-count // len(noise)))[:count].reshape(shape).clone()
        held += tensor.nbytes
        if held > SHARD:
            save_file(shards[-1], base / f"model-{len(shards):05d}.safetensors", {"format": "pt"})
            shards[-1] = dict.fromkeys(shards[-1])
            shards.append({})
            held = tensor.nbytes
        shards[-1][name] = tensor + 1 if "norm" in name else tensor
        if "_proj" in name:
            module = f"base_model.model.{name.removesuffix('.weight')}"
            factors[f"{module}.lora_A.weight"] = torch.randn(RANK, shape[1], generator=random) * 0.02
            factors[f"{module}.lora_B.weight"] = torch.randn(shape[0], RANK, generator=random) * 0.02
    save_file(shards[-1], base / f"model-{len(shards):05d}.safetensors", {"format": "pt"})
    places = {name: f"model-{number:05d}.safetensors" for number, shard in enumerate(shards, 1) for name in shard}
    (base / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    adapter.mkdir()
    save_file(factors, adapter / "adapter_model.safetensors")
    targets = sorted({name.split(".")[-3] for name in factors})
    LoraConfig(
        r=RANK, lora_alpha=RANK, target_modules=targets, task_type="CAUSAL_LM", base_model_name_or_path=str(base)
    ).save_pretrained(str(adapter))


def _anonymous_bytes() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024


class Peak:
    """The peak of anonymous memory while the block runs, above what it was at its start."""

    def __enter__(self) -> "Peak":
        self.cpu = time.process_time()
        self.began, self.start, self.peak, self.stop = time.monotonic(), _anonymous_bytes(), 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, _anonymous_bytes() - self.start)

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.seconds, self.cpu = time.monotonic() - self.began, time.process_time() - self.cpu


def _copy(base: Path, out: Path) -> None:
    out.mkdir()
    for file in sorted(base.glob("*.safetensors")):
        shutil.copyfile(file, out / file.name)
        with (out / file.name).open("rb") as stream:
            os.fsync(stream.fileno())


def _ours(base: Path, adapter: Path, out: Path, prompts: int, bits: str) -> dict[str, Any]:
    from lora_magic.merging import Settings, merge

    probes = [list(range(10 + 40 * number, 60 + 40 * number)) for number in range(prompts)]
    result = merge(adapter, str(base), out, Settings(packed=bits == "4bit"), probes=probes)
    measured = result.merged or result.stored
    said = f"largest difference {measured.largest:.2g}" if measured else ""
    if bits and result.stored:
        said = f"same top token {result.stored.same_top:.1%}, KL {result.stored.kl:.2g}"
    return {"said": said}


def _peft(base: Path, adapter: Path, out: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, device_map=device)
    PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().save_pretrained(out, max_shard_size="4GB")
    for file in out.glob("*.safetensors"):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def one(way: str, base: Path, adapter: Path, out: Path) -> None:
    """Do it one way and print the figures as JSON."""
    if way != "copy":
        import peft  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    found: dict[str, Any] = {}
    with Peak() as peak:
        if way == "copy":
            _copy(base, out)
        elif way == "peft":
            _peft(base, adapter, out)
        else:
            found = _ours(base, adapter, out, 0 if way == "ours" else 4, way if way == "4bit" else "")
    print(json.dumps({**found, "seconds": peak.seconds, "cpu": peak.cpu, "gib": peak.peak / 2**30}))


def main(size: str = "1b", folder: str = "", *ways: str) -> None:
    """Make what is not there, measure each way, print a table."""
    with tempfile.TemporaryDirectory(dir=folder or None) as work:
        root = Path(work)
        base, adapter = root / "base", root / "adapter"
        make(size, base, adapter)
        total = sum(file.stat().st_size for file in base.glob("*.safetensors"))
        print(f"{size}: {total / 2**30:.1f} GiB in bfloat16")
        for way in ways or WAYS:
            out = root / "out"
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.merging",
                "--one",
                way,
                str(base),
                str(adapter),
                str(out),
            ]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                print(f"{way:8s} failed: {run.stderr.strip().splitlines()[-1]}")
            else:
                found = json.loads(run.stdout.strip().splitlines()[-1])
                figures = f"{found['seconds']:7.1f} s, {found['cpu']:6.1f} s of processors, {found['gib']:5.2f} GiB"
                print(f"{way:8s} {figures}  {found.get('said', '')}", flush=True)
            shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], *map(Path, sys.argv[3:6]))
    else:
        main(*sys.argv[1:])
