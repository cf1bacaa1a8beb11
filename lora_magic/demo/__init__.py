"""The embedded `demo` model and its three small data sets: where they lie, and nothing else.

The model is an ordinary Hugging Face checkpoint, the sets are ordinary JSON Lines; no code here treats them
specially. The scripts that made them are in `lora_magic.demo.make`.
"""

from pathlib import Path

_HERE = Path(__file__).resolve().parent

MODEL_DIR: Path = _HERE / "model"
"""Folder of the embedded checkpoint."""

DATASETS: dict[str, Path] = {name: _HERE / "data" / name for name in ("demo-json", "demo-tone", "demo-sentiment")}
"""Name of a data set to its folder, which holds `train.jsonl` and the held-out `test.jsonl`."""

__all__ = ["DATASETS", "MODEL_DIR"]
