"""What `%lora_data` reports: numbers against counts made here, tokens against the tokenizer's own."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from lora_magic.config import DataConfig
from lora_magic.dataset import report as module
from lora_magic.dataset.report import report, spelled
from lora_magic.demo import DATASETS, MODEL_DIR
from lora_magic.errors import LoraError
from lora_magic.results import DataReport

TOKENIZER = AutoTokenizer.from_pretrained(MODEL_DIR)


def sums(count: int) -> list[dict[str, str]]:
    return [
        {"question": f"What is {i} and {i}?", "answer": f"It is {2 * i}.", "kind": "ab"[i % 2]} for i in range(count)
    ]


def looked(data: Any, max_length: int = 2048, **options: Any) -> DataReport:
    return report(DataConfig.of({"data": data, **options}), TOKENIZER, "demo", max_length, {}, DATASETS)


def test_counts_are_those_of_the_model_s_own_template() -> None:
    made = looked(sums(40))
    lengths = []
    for row in sums(40):
        turns = [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]
        lengths.append(
            len(TOKENIZER(TOKENIZER.apply_chat_template(turns, tokenize=False), add_special_tokens=False)["input_ids"])
        )
    assert list(made.token_counts) == lengths
    assert (made.rows, made.training_rows, made.held_out_rows, made.looked_at) == (40, 32, 8, 40)
    assert (made.format, made.columns, made.unused) == (
        "question/answer", (("prompt", "question"), ("completion", "answer")), ("kind",)
    )  # fmt: skip
    trained = sum(sum(example.trained) for example in made.examples)
    assert made.trained_fraction == pytest.approx(trained / sum(lengths))


def test_each_example_has_its_turns_tokens_and_mask_in_the_source_s_order() -> None:
    made = looked(sums(40))
    assert [example.row for example in made.examples] == list(range(1, 41))
    for example, row in zip(made.examples, sums(40), strict=True):
        assert example.turns == (("user", row["question"]), ("assistant", row["answer"]))
        assert len(example.token_ids) == len(example.trained) == len(example.tokens) == len(example.special)
        kept = [token for token, trained in zip(example.token_ids, example.trained, strict=True) if trained]
        assert TOKENIZER.decode(kept) == f"{row['answer']}<|end|>"
        assert "".join(example.tokens) == TOKENIZER.decode(list(example.token_ids))
    assert made.examples[-1].row == 40 and [e.row for e in made.examples[3:5]] == [4, 5]


def test_what_the_longest_row_cuts_is_counted() -> None:
    rows = [{"prompt": "Say it.", "completion": "word " * n} for n in (2, 4, 8, 200)] * 5
    made = looked(rows, max_length=64, eval_split=0)
    whole = looked(rows, max_length=4096, eval_split=0)
    assert (made.cut_rows, whole.cut_rows) == (5, 0)
    lost = sum(sum(e.trained) for e in whole.examples) - sum(sum(e.trained) for e in made.examples)
    assert made.lost_tokens == lost > 0
    assert made.examples[3].cut == len(whole.examples[3].token_ids) - 64
    assert max(made.token_counts) == max(whole.token_counts)


def test_tasks_are_broken_down_and_issues_found() -> None:
    made = looked([*sums(40), *sums(3)], eval_split=0)
    assert [(value, rows) for value, rows, _ in made.tasks] == [("a", 22), ("b", 21)]
    assert [(issue.kind, issue.count) for issue in made.issues if "duplicate" in issue.kind] == [
        ("exact duplicates", 3)
    ]


def test_own_held_out_rows_are_told_apart_from_rows_of_the_same_number() -> None:
    made = looked(sums(20), eval_data=[{"question": f"Why {i}?", "answer": "Because."} for i in range(5)])
    assert (made.rows, made.training_rows, made.held_out_rows, made.looked_at) == (20, 20, 5, 25)
    assert [example.row for example in made.examples] == [*range(1, 21), *range(1, 6)]
    assert [(value, rows) for value, rows, _ in made.tasks] == [("a", 10), ("b", 10)]


def test_a_large_source_is_sampled_from_its_first_rows_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 50)
    monkeypatch.setattr(module, "FIRST", 5)
    made = looked(sums(1000))
    assert 50 <= made.looked_at <= 130 and made.rows == 1000
    assert any(f"{made.looked_at:,} rows" in note for note in made.notes)
    numbers = [example.row for example in made.examples]
    assert numbers == sorted(numbers) and numbers[:3] == [1, 2, 3] and numbers[-1] > 900


def test_the_cleaned_copy_goes_beside_the_source_and_never_over_it(tmp_path: Path) -> None:
    source = tmp_path / "sums.jsonl.gz"
    source.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in [*sums(30), *sums(2)]).encode()))
    before = source.read_bytes()
    made = looked(str(source), fix="")
    assert made.fixed is not None and made.fixed.path == tmp_path / "sums.fixed.jsonl" and made.fixed.rows == 30
    assert source.read_bytes() == before
    changes = [json.loads(line) for line in made.fixed.changes_path.read_text().splitlines()]
    assert [change["row"] for change in changes] == [31, 32]
    with pytest.raises(LoraError, match=r"sums\.fixed\.jsonl"):
        looked(str(source), fix="")
    assert looked(str(source), fix="", overwrite=True).fixed is not None
    with pytest.raises(LoraError, match="needs a name"):
        looked(sums(30), fix="")


def test_characters_of_several_tokens_are_spelled_once() -> None:
    text = "naïve 東京 🦎 end"
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > len(text.split())
    assert "".join(spelled(TOKENIZER, ids)) == text


@pytest.mark.parametrize("name", list(DATASETS))
def test_the_embedded_sets_are_clean(name: str) -> None:
    assert [issue for issue in looked(name).issues if issue.severity != "note"] == []
