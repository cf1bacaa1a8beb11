"""The session on a small model: what is exact, what is kept, what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.backends.base import Decoding
from lora_magic.config import CompareConfig, LoadConfig, MergeConfig, TrainConfig, UseConfig
from lora_magic.display.progress import Progress
from lora_magic.errors import LoraError
from lora_magic.events import Evaluated, Event, Finished, Started, Stepped
from lora_magic.session import Session
from tests.models import rows, write_model

PROMPTS = ["What is 3 and 3?", "Name a colour.", "How many days has a week, and which is the last one?"]


def loaded(model: Path | str, **options: Any) -> Session:
    session = Session()
    session.load(LoadConfig(str(model), **({"backend": "transformers"} | options)), Progress("loading"))
    return session


def trained(session: Session, name: str = "default", **options: Any) -> Any:
    settings = {"data": rows(), "max_steps": 4, "lr": 5e-3} | options
    return session.train(TrainConfig(name=name, **settings), [], {}, lambda line: None)


def asked(session: Session, adapters: str = "base") -> Any:
    config = CompareConfig(prompts=PROMPTS, adapters=adapters, max_new_tokens=24)
    return session.compare(config, Progress("comparing"))


def adapter_weights(result: Any) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(result.adapter_path / "adapter_model.safetensors"))


FRESH = """
import json, sys
from tests.session.test_session import asked, loaded, trained
model, task = sys.argv[1:]
session = loaded(model)
if task == "base":
    print(json.dumps([row.outputs["base"] for row in asked(session).rows]))
else:
    print(trained(session, "second", seed=7, rank=4).adapter_path)
"""


def fresh_process(model: Path, task: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(model), task],
        capture_output=True, text=True, check=True, cwd=Path.cwd(),
        env={**__import__("os").environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("options", [{}, {"method": "dora"}, {"method": "rslora", "dropout": 0.3}])
def test_the_base_column_equals_a_fresh_process_that_never_saw_the_adapter(
    tiny_folder: Path, options: dict[str, Any]
) -> None:
    session = loaded(tiny_folder)
    trained(session, "changed", **options)
    after = asked(session, "base,changed")
    assert [row.outputs["base"] for row in after.rows] == json.loads(fresh_process(tiny_folder, "base"))
    assert any(row.outputs["base"] != row.outputs["changed"] for row in after.rows)


def test_a_second_adapter_equals_one_trained_in_a_fresh_process(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    trained(session, "first", dropout=0.2)
    session.use(UseConfig("base"))
    second = adapter_weights(trained(session, "second", seed=7, rank=4))
    from safetensors.torch import load_file

    alone = load_file(Path(fresh_process(tiny_folder, "train")) / "adapter_model.safetensors")
    assert second.keys() == alone.keys()
    assert all(torch.equal(second[name], alone[name]) for name in alone)


def test_the_adapter_s_column_equals_peft_s_own_generation(tiny_folder: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    session = loaded(tiny_folder, bits=32)
    result = trained(session, "mine")
    trained(session, "other", seed=3)
    ours = [row.outputs["mine"] for row in asked(session, "base,other,mine").rows]
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32), str(result.adapter_path)
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    for prompt, answer in zip(PROMPTS, ours, strict=True):
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        made = model.generate(input_ids=ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
        assert tokenizer.decode(made, skip_special_tokens=True).strip() == answer


def test_one_seed_gives_one_curve_and_another_seed_another(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    first = trained(session, dropout=0.1)
    torch.manual_seed(99)
    again = trained(session, dropout=0.1)
    other = trained(session, dropout=0.1, seed=1)
    assert first.losses == again.losses
    assert first.eval_losses == again.eval_losses
    assert first.losses != other.losses


@pytest.mark.parametrize("bits", [4, 16])
def test_a_later_run_computes_in_the_same_precision_as_the_first(tiny_folder: Path, bits: int) -> None:
    session = loaded(tiny_folder, bits=bits, dtype="bfloat16")
    first, second, third = (trained(session, name, max_steps=3) for name in ("first", "second", "second"))
    assert first.losses == second.losses == third.losses


def test_training_again_under_a_name_never_overwrites_a_run(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    first, again = trained(session, "twice"), trained(session, "twice", seed=1)
    assert first.run_dir != again.run_dir
    assert (first.adapter_path / "adapter_model.safetensors").is_file()
    assert [adapter[0] for adapter in session.status().adapters] == ["twice"]


def test_biases_that_train_along_are_swapped_and_put_back(tmp_path: Path) -> None:
    write_model(tmp_path / "qwen", family="qwen2")
    session = loaded(tmp_path / "qwen")
    base = [row.outputs["base"] for row in asked(session).rows]
    ids = [[7, 8, 9, 10, 11]]
    bare = session.base.logits(ids[0])
    first = trained(session, "first", bias="all", lr=5e-2)
    with_first = session.base.logits(ids[0])
    trained(session, "second", bias="lora_only", lr=5e-2, seed=1)
    with_second = session.base.logits(ids[0])
    trained(session, "plain")
    assert any("bias" in name for name in adapter_weights(first))
    session.use(UseConfig("first"))
    assert torch.equal(session.base.logits(ids[0]), with_first)
    session.use(UseConfig("second"))
    assert torch.equal(session.base.logits(ids[0]), with_second)
    session.use(UseConfig("base"))
    assert torch.equal(session.base.logits(ids[0]), bare)
    assert [row.outputs["base"] for row in asked(session).rows] == base


def test_a_reloaded_adapter_answers_as_the_one_in_memory(tiny_folder: Path) -> None:
    from peft import PeftModel

    session = loaded(tiny_folder)
    result = trained(session, "kept", method="dora")
    row = [5, 6, 7, 8, 9, 10]
    ours = session.base.logits(row)
    other = loaded(tiny_folder)
    model = PeftModel.from_pretrained(other.base._model, str(result.adapter_path)).eval()  # type: ignore[attr-defined]
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([row])).logits[0]
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_events_tell_the_run_in_order_and_a_broken_listener_does_not_stop_it(tiny_folder: Path) -> None:
    heard: list[Event] = []

    def breaks(event: Event) -> None:
        raise RuntimeError("no screen")

    session = loaded(tiny_folder)
    config = TrainConfig(name="told", data=rows(), max_steps=3, lr=1e-3)
    with pytest.warns(UserWarning, match="no screen"):
        result = session.train(config, [breaks, heard.append], {}, lambda line: None)
    assert [type(e) for e in heard if not isinstance(e, Evaluated)] == [Started, Stepped, Stepped, Stepped, Finished]
    assert [e.step for e in heard if isinstance(e, Evaluated)] == [0, 1, 2, 3]
    started = next(e for e in heard if isinstance(e, Started))
    peft_counts = session.base._model.get_nb_trainable_parameters()  # type: ignore[attr-defined]
    assert (started.trainable_parameters, started.total_parameters) == peft_counts
    lines = [json.loads(line) for line in (result.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == [type(e).__name__.lower() for e in heard]
    assert [line["loss"] for line in lines if line["event"] == "stepped"] == [loss for _, loss in result.losses]


def test_the_held_out_loss_is_the_mean_over_trained_tokens(tiny_folder: Path) -> None:
    session = loaded(tiny_folder, bits=32)
    uneven = [{"question": "Count.", "answer": "one " * n} for n in range(1, 41)]
    result = trained(session, data=uneven, max_steps=1)
    held_out = session.last.held_out  # type: ignore[union-attr]
    from lora_magic.dataset.tokens import tokenise

    session.use(UseConfig("base"))
    total, count = 0.0, 0
    for row in tokenise(list(held_out), session.base.tokenizer, max_length=512).rows:
        logits = session.base.logits(row.input_ids)[:-1]
        labels = torch.tensor(row.labels[1:])
        total += float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
        count += int((labels != -100).sum())
    assert result.eval_losses[0] == (0, pytest.approx(total / count, rel=1e-5))


def test_early_stopping_keeps_the_adapter_of_the_lowest_held_out_loss(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    result = trained(session, data=rows(60), max_steps=60, lr=0.1, eval_every=1, early_stop=2)
    assert result.reason == "early stop"
    lowest_step, lowest = min(result.eval_losses[1:], key=lambda pair: pair[1])
    assert result.eval_losses[-1][0] == lowest_step + 2
    assert f"step {lowest_step}" in " ".join(result.notes)
    from lora_magic.dataset.tokens import tokenise

    held_out = tokenise(list(session.last.held_out), session.base.tokenizer, max_length=512).rows  # type: ignore[union-attr]
    total = 0.0
    for row in held_out:
        logits, labels = session.base.logits(row.input_ids)[:-1], torch.tensor(row.labels[1:])
        total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
    count = sum(label != -100 for r in held_out for label in r.labels)
    assert total / count == pytest.approx(lowest, rel=1e-3)


def test_a_loss_that_is_not_finite_fails_the_run_and_keeps_the_others(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    trained(session, "good")
    before = session.base.logits([5, 6, 7])
    with pytest.raises(LoraError, match="not finite at step 1") as caught:
        trained(
            session, "bad", lr=10, max_steps=80, max_grad_norm=0, optimizer="sgd", warmup=0, weight_decay=0, alpha=1e30
        )
    assert "--lr" in caught.value.remedy
    assert session.active == "good"
    assert "bad" not in session.adapters
    assert torch.equal(session.base.logits([5, 6, 7]), before)


def test_merging_through_the_session_reports_each_difference(tiny_folder: Path, tmp_path: Path) -> None:
    session = loaded(tiny_folder)
    trained(session, "merged")
    config = MergeConfig("merged", str(tmp_path / "out"), dtype="float32")
    result = session.merge(config, lambda share, what: None)
    assert result.max_logit_difference is not None and result.max_logit_difference <= 1e-3
    assert result.quantisation is not None and result.quantisation.largest > 1e-3
    assert result.trained is not None
    assert session.active == "merged"
    row = [5, 6, 7, 8]
    alone = loaded(tmp_path / "out", bits=32)
    plain = loaded(tiny_folder, bits=32)
    from peft import PeftModel

    model = PeftModel.from_pretrained(plain.base._model, str(session.adapters["merged"].path)).eval()  # type: ignore[attr-defined]
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([row])).logits[0]
    assert torch.allclose(alone.base.logits(row), theirs, atol=1e-3)


def test_an_adapter_s_folder_merges_without_a_loaded_base(tiny_folder: Path, tmp_path: Path) -> None:
    result = trained(loaded(tiny_folder), "folder")
    merged = Session().merge(MergeConfig(str(result.adapter_path), str(tmp_path / "out")), lambda share, what: None)
    assert merged.max_logit_difference is not None and merged.max_logit_difference <= 1e-3


def test_sampling_is_the_same_for_the_same_seed(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    prompts = [[5, 6, 7], [8, 9]]
    draw = [session.base.generate(prompts, Decoding(12, temperature=1.5, seed=s)) for s in (1, 1, 2)]
    assert draw[0] == draw[1]
    assert draw[0] != draw[2]
