"""How close answers and references are in meaning, where a sentence embedding model is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lora_magic.errors import LoraError
from lora_magic.evaluation.intervals import Floats
from lora_magic.evaluation.measures.overlap import referenced
from lora_magic.evaluation.measures.table import Asked, LeftOut, by_rows
from lora_magic.results.measures import Measure

# Others may run the repository's own code or read pickles.
_SAFE_PARTS = ("Transformer", "Pooling", "Normalize")
_EXAMPLE = "sentence-transformers/all-MiniLM-L6-v2"


def similarity(asked: Asked) -> Measure:
    """The cosine between the embeddings of answer and reference; 0 of a blank answer and below 0.

    Raises:
        LeftOut: no model is at hand.
        LoraError: the model that was named is not.
    """
    rows = referenced(asked)
    folder = _folder(asked.embedder)
    by_column = [[row.outputs[column] for row in rows] for column in asked.columns]
    texts = sorted({text for of in by_column for text in of} | {row.reference or "" for row in rows})
    places = {text: place for place, text in enumerate(texts)}
    vectors, longest = _embedded(folder, texts)
    wanted = vectors[[places[row.reference or ""] for row in rows]]
    scores = {
        column: np.where(
            [bool(text.strip()) for text in of],
            np.clip((vectors[[places[text] for text in of]] * wanted).sum(axis=1), 0, 1),
            0.0,
        )
        for column, of in zip(asked.columns, by_column, strict=True)
    }
    note = f"Cosine by {_called(folder)}, of the first {longest:,} tokens."
    return by_rows(asked, "similarity", scores, note, rows=rows)


def _folder(named: str) -> Path:
    """Where the model is: the named one, or the smallest in the Hub's cache."""
    if named:
        return named_model(named)
    found = sorted(filter(_usable, _cached("*")), key=_size)
    if not found:
        raise LeftOut(f"no sentence embedding model is in the Hub's cache (hf download {_EXAMPLE})")
    return found[0]


def named_model(name: str) -> Path:
    """Where the model of this name is: a folder, or an id in the Hub's cache; nothing is downloaded.

    Raises:
        LoraError: it is not here, or is none that is used.
    """
    here = Path(name).expanduser()
    found = [here] if here.is_dir() else _cached(name.replace("/", "--"))
    if not found:
        raise LoraError(f"{name} is neither a folder nor in the Hub's cache.", f"Download it first: hf download {name}")
    usable = [folder for folder in found if _usable(folder)]
    if not usable:
        parts = ", ".join(_SAFE_PARTS)
        raise LoraError(
            f"{name} is not a sentence embedding model of {parts} with safetensors.",
            f"Take another, such as {_EXAMPLE}.",
        )
    return usable[0]


def _cached(pattern: str) -> list[Path]:
    from huggingface_hub.constants import HF_HUB_CACHE

    return sorted(path.parent for path in Path(HF_HUB_CACHE).glob(f"models--{pattern}/snapshots/*/modules.json"))


def _usable(folder: Path) -> bool:
    """Whether it holds safetensors and nothing but the library's own parts."""
    try:
        parts = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = [str(part["type"]).split(".") for part in parts]
    except (OSError, ValueError, TypeError, KeyError):
        return False
    own = all(kind[0] == "sentence_transformers" and kind[-1] in _SAFE_PARTS for kind in kinds)
    return own and bool(kinds) and any(folder.rglob("*.safetensors"))


def _size(folder: Path) -> tuple[int, str]:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")), str(folder)


def _called(folder: Path) -> str:
    """The model's id where it is in the Hub's cache, else the folder's name."""
    owner = folder.parent.parent.name
    return owner.removeprefix("models--").replace("--", "/") if owner.startswith("models--") else folder.name


def _embedded(folder: Path, texts: list[str]) -> tuple[Floats, int]:
    """A unit vector a text, computed on the CPU so that the base keeps the GPU, and the longest text in tokens."""
    from sentence_transformers import SentenceTransformer

    with _without_bars():
        model = SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )  # fmt: skip
    vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float64), int(model.max_seq_length or 0)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep transformers' progress bars out of the notebook."""
    from transformers.utils import logging

    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
