"""Similarity by a sentence embedding model that is at hand, and only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_magic.config import CompareConfig
from lora_magic.display.progress import Progress
from lora_magic.errors import LoraError
from lora_magic.evaluation.measures import Scored, measure
from lora_magic.results import Comparison
from tests.session.test_session import loaded

library: Any = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
WORDS = "[PAD] [UNK] [CLS] [SEP] the cat sat on a mat dog ran far away".split()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence embedding model with random weights, as small as can be."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("embedder")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(parts)
    ]
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir()
    for name, content in (
        ("modules.json", modules),
        ("sentence_bert_config.json", {"max_seq_length": 16}),
        ("1_Pooling/config.json", pooling),
    ):
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def rows(answers: list[str], reference: str = "the cat sat on a mat") -> list[Scored]:
    return [Scored("", reference, {"base": answer}) for answer in answers]


def test_similarity_is_the_cosine_of_the_models_embeddings(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answers = ["the cat sat on a mat", "the dog ran far away", "", "mat a on sat cat the far"]
    found = measure(rows(answers), ["base"], baseline="base", wanted=["similarity"], embedder=str(model))
    assert capfd.readouterr() == ("", "")
    vectors = library.SentenceTransformer(str(model), device="cpu").encode(
        [answers[0], answers[1], answers[3]], normalize_embeddings=True
    )
    wanted = [max(0.0, float(vectors[0] @ vector)) for vector in vectors]
    (one,) = found.measures
    assert one.values["base"].mean == pytest.approx(sum(wanted) / 4, abs=1e-5) and wanted[0] == pytest.approx(1)
    assert model.name in one.note and "16 tokens" in one.note


def test_a_model_in_the_hubs_cache_is_taken_and_named(model: Path, cache: Path) -> None:
    snapshot = cache / "models--someone--tiny-embedder" / "snapshots" / "0123"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(model)
    (found,) = measure(rows(["the cat"] * 3), ["base"], baseline="base", wanted=["similarity"]).measures
    assert "someone/tiny-embedder" in found.note


def test_without_a_model_similarity_is_left_out_and_nothing_is_downloaded(cache: Path) -> None:
    found = measure(rows(["the cat"] * 3), ["base"], baseline="base", wanted=["similarity"])
    assert found.measures == ()
    assert "no sentence embedding model is in the Hub's cache" in found.notes[0]
    with pytest.raises(LoraError, match="someone/else is neither a folder") as raised:
        measure(rows(["the cat"]), ["base"], baseline="base", wanted=["similarity"], embedder="someone/else")
    assert raised.value.remedy == "Download it first: hf download someone/else"
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("kind", ["custom_code.Model", "sentence_transformers.models.Dense"])
def test_a_model_with_parts_that_may_run_code_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(LoraError, match="is not a sentence embedding model of Transformer"):
        measure(rows(["x"]), ["base"], baseline="base", wanted=["similarity"], embedder=str(tmp_path))


def test_the_comparison_takes_a_folder_by_name(
    model: Path, cache: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    session = loaded(tiny_folder, bits=32)
    asked = [{"question": "Where is the cat?", "answer": f"the cat sat on a mat {word}"} for word in WORDS[4:]]

    def compared(**options: Any) -> Comparison:
        settings = {"prompts": asked, "adapters": "base", "max_new_tokens": 4, "measures": "similarity"} | options
        return session.compare(CompareConfig.of(settings), Progress("comparing"), {})

    told = compared(embedder=str(model)).measures
    assert told is not None
    (found,) = told.measures
    assert found.name == "similarity" and found.values["base"].rows == len(asked) and model.name in found.note
    without = compared().measures
    assert without is not None and without.measures == ()
    assert "no sentence embedding model is in the Hub's cache" in without.notes[0]
    chosen = compared(embedder=str(model), measures=None).measures
    assert chosen is not None and "similarity" in [one.name for one in chosen.measures], "naming a model asks for it"
    monkeypatch.setattr(type(session.base), "generate", None)
    with pytest.raises(LoraError, match="is not a sentence embedding model"):
        compared(embedder=str(tiny_folder), measures=None)
