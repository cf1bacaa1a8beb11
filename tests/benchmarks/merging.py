"""What a merge takes: `python -m tests.benchmarks.merging [1b|3b|8b] [FOLDER] [WAY ...]`.

Writes a random bfloat16 Llama and a random rank 16 LoRA on all its projections into FOLDER (a temporary one unless
given), then goes through the WAYs in order, each in a process of its own and with its output deleted before the next:
`copy` copies and syncs the base's files, `ours` is the streamed merge to float16, `bfloat16` the same to the base's
own dtype, `verify` is `ours` with its verification on 4 prompts, `4bit` writes NF4, and `peft` is `merge_and_unload`
in bfloat16 and `save_pretrained`. A way that is named several times gets a line of medians at the end; name `copy`
and `ours` in turn, since what else happens on the machine touches both.

A line has seconds, those of all processors (which tell more where others work on the machine), and the peak of the
process's anonymous memory above what it was after the imports, sampled every 5 ms. On a card, its context is made
before the clock starts, and the memory that it takes is said as a part of the peak.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from math import prod
from pathlib import Path
from typing import Any

SHAPES = {"1b": (2048, 8192, 16, 32, 8), "3b": (3072, 8192, 28, 24, 8), "8b": (4096, 14336, 32, 32, 8)}
VOCABULARY, RANK, SHARD = 128_256, 16, 4_000_000_000
WAYS = ("copy", "ours", "verify", "peft")
LONGEST_SECONDS = 240


def _config(size: str) -> Any:
    from transformers import LlamaConfig

    hidden, inner, layers, heads, kv = SHAPES[size]
    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv, max_position_embeddings=8192, dtype="bfloat16",
        tie_word_embeddings=size != "8b", architectures=["LlamaForCausalLM"],
    )  # fmt: skip


def make(size: str, base: Path, adapter: Path) -> None:
    """Write the model, all its matrices from the same 2^24 random values, and the adapter."""
    import torch
    from accelerate import init_empty_weights
    from peft import LoraConfig
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    config = _config(size)
    with init_empty_weights():
        shapes = {name: tuple(p.shape) for name, p in AutoModelForCausalLM.from_config(config).named_parameters()}
    if config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    config.save_pretrained(base)
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(2**24, generator=random).mul_(0.02).bfloat16()
    places: dict[str, str] = {}
    for number, names in enumerate(_shards(shapes), 1):
        file = base / f"model-{number:05d}.safetensors"
        _write_values(file, {name: shapes[name] for name in names}, noise)
        places.update(dict.fromkeys(names, file.name))
    (base / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    factors = {}
    for name, shape in shapes.items():
        if "_proj" in name:
            module = f"base_model.model.{name.removesuffix('.weight')}"
            factors[f"{module}.lora_A.weight"] = torch.randn(RANK, shape[1], generator=random) * 0.02
            factors[f"{module}.lora_B.weight"] = torch.randn(shape[0], RANK, generator=random) * 0.02
    adapter.mkdir()
    save_file(factors, adapter / "adapter_model.safetensors")
    targets = sorted({name.split(".")[-3] for name in factors})
    LoraConfig(
        r=RANK, lora_alpha=RANK, target_modules=targets, task_type="CAUSAL_LM", base_model_name_or_path=str(base)
    ).save_pretrained(str(adapter))


def _shards(shapes: dict[str, tuple[int, ...]]) -> list[list[str]]:
    """Names of the tensors of each file."""
    shards: list[list[str]] = [[]]
    held = 0
    for name, shape in shapes.items():
        held += 2 * prod(shape)
        if held > SHARD:
            shards.append([])
            held = 2 * prod(shape)
        shards[-1].append(name)
    return shards


def _write_values(file: Path, shapes: dict[str, tuple[int, ...]], noise: Any) -> None:
    """A safetensors file of random matrices and of vectors of ones."""
    import torch

    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            values = torch.ones(shape, dtype=torch.bfloat16) if len(shape) == 1 else noise
            for start in range(0, prod(shape), len(values)):
                stream.write(values[: prod(shape) - start].view(torch.uint8).numpy().data)


def _anonymous_bytes() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024


class Peak:
    """The peak of anonymous memory while the block runs, above what it was at its start."""

    def __enter__(self) -> "Peak":
        self.start, self.peak, self.stop = _anonymous_bytes(), 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def start_clock(self) -> None:
        """Count the time from here, and keep what memory was taken before."""
        self.context, self.cpu, self.began = _anonymous_bytes() - self.start, time.process_time(), time.monotonic()

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


def _ours(base: Path, adapter: Path, out: Path, way: str) -> dict[str, Any]:
    from lora_magic.merging import Settings, merge

    prompts = 4 if way in ("verify", "4bit") else 0
    probes = [list(range(10 + 40 * number, 60 + 40 * number)) for number in range(prompts)]
    settings = Settings("bfloat16" if way == "bfloat16" else "float16", packed=way == "4bit")
    result = merge(adapter, str(base), out, settings, probes=probes)
    measured = result.merged or result.stored
    said = f"largest difference {measured.largest:.2g}" if measured else ""
    if way == "4bit" and result.stored:
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
        import torch
        import transformers  # noqa: F401
    found: dict[str, Any] = {}
    with Peak() as peak:
        if way != "copy" and torch.cuda.is_available():
            torch.zeros(1, device="cuda")
        peak.start_clock()
        if way == "copy":
            _copy(base, out)
        elif way == "peft":
            _peft(base, adapter, out)
        else:
            found = _ours(base, adapter, out, way)
    taken = {"seconds": peak.seconds, "cpu": peak.cpu, "gib": peak.peak / 2**30, "context": peak.context / 2**30}
    print(json.dumps({**found, **taken}))


def _measured(way: str, root: Path) -> float | None:
    """Go one way in a process of its own, print its line, and leave nothing of it: its seconds, None if it failed."""
    work = root / way
    work.mkdir()
    paths = (str(root / "base"), str(root / "adapter"), str(work / "out"))
    command = [sys.executable, "-m", "tests.benchmarks.merging", "--one", way, *paths]
    problem = f"took longer than {LONGEST_SECONDS} s"
    found = None
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)
        if run.returncode:
            problem = f"failed: {(run.stderr.strip() or 'no word').splitlines()[-1]}"
        else:
            found = json.loads(run.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        pass
    shutil.rmtree(work)
    if found is None:
        print(f"{way:8s} {problem}", flush=True)
        return None
    figures = f"{found['seconds']:7.1f} s, {found['cpu']:6.1f} s of processors, {found['gib']:5.2f} GiB"
    context = f", {found['context']:.2f} of them the card's context" if found["context"] > 0.01 else ""
    print(f"{way:8s} {figures}{context}  {found.get('said', '')}", flush=True)
    return float(found["seconds"])


def _print_medians(seconds: dict[str, list[float]]) -> None:
    copying = statistics.median(seconds.get("copy") or [0.0])
    for way, found in seconds.items():
        if len(found) > 1:
            median = statistics.median(found)
            share = f", {median / copying:.2f} x copying" if copying and way != "copy" else ""
            print(
                f"{way:8s} {median:7.1f} s in the median of {len(found)}, {min(found):.1f} to {max(found):.1f}{share}"
            )


def main(size: str = "1b", folder: str = "", *ways: str) -> None:
    """Make a model, measure each way, print a line for each as it is done."""
    with tempfile.TemporaryDirectory(dir=folder or None) as work:
        root, began = Path(work), time.monotonic()
        make(size, root / "base", root / "adapter")
        os.sync()
        total = sum(file.stat().st_size for file in (root / "base").glob("*.safetensors"))
        took = time.monotonic() - began
        print(f"{size}: {total / 2**30:.1f} GiB in bfloat16, made in {took:.0f} s", flush=True)
        seconds: dict[str, list[float]] = {}
        for way in ways or WAYS:
            found = _measured(way, root)
            if found is not None:
                seconds.setdefault(way, []).append(found)
        _print_medians(seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], *map(Path, sys.argv[3:6]))
    else:
        main(*sys.argv[1:])
