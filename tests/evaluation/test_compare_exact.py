"""Each column is what its model says by itself: whatever was trained, switched, failed or merged before."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.backends.base import Decoding
from lora_magic.config import CompareConfig, MergeConfig, UseConfig
from lora_magic.display.progress import Progress
from lora_magic.errors import LoraError
from lora_magic.results import Comparison
from lora_magic.session import Session
from tests.models import rows
from tests.session import test_session
from tests.session.test_session import trained

BACKEND = os.environ.get("LORA_MAGIC_BACKEND", "transformers")
PROMPTS = ["What is 3 and 3?", "Name a colour.", "How many days has a week, and which is the last one?", "Why?"]
FRESH = """
import json, sys
from pathlib import Path
from tests.evaluation.test_compare_exact import compared, loaded
session = loaded(Path(sys.argv[1]), bits=int(sys.argv[2]))
print(json.dumps([row.outputs["base"] for row in compared(session, "base").rows]))
"""


def loaded(model: Path, **options: Any) -> Session:
    """A session with the backend under test; see `make test-unsloth`."""
    return test_session.loaded(model, backend=BACKEND, **options)


def compared(session: Session, adapters: str, prompts: Any = PROMPTS, **options: Any) -> Comparison:
    settings = {"prompts": prompts, "adapters": adapters, "max_new_tokens": 24, "measures": "none"} | options
    return session.compare(CompareConfig.of(settings), Progress("comparing"), {})


def column(session: Session, name: str = "base", **options: Any) -> list[str]:
    return [row.outputs[name] for row in compared(session, name, **options).rows]


def alone(model: Path, bits: int) -> list[str]:
    """The base's answers in a process that never saw an adapter."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(model), str(bits)], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("bits", [4, 16])
def test_the_base_column_is_the_base_alone_whatever_came_before(tiny_folder: Path, tmp_path: Path, bits: int) -> None:
    expected = alone(tiny_folder, bits)
    session = loaded(tiny_folder, bits=bits)
    assert column(session) == expected
    trained(session, "first", lr=2e-2, max_steps=8)
    assert column(session) == expected
    trained(session, "second", seed=3, rank=4, lr=2e-2)
    for name in ("first", "base", "second"):
        session.use(UseConfig(name))
        assert column(session) == expected
    with pytest.raises(LoraError, match=r"not finite|loss is"):
        trained(session, "bad", lr=10, max_steps=80, max_grad_norm=0, optimizer="sgd", warmup=0, alpha=1e30)
    assert column(session) == expected
    session.merge(MergeConfig("first", str(tmp_path / "merged"), dtype="float32"), lambda share, what: None)
    assert column(session) == expected
    both = compared(session, "second,base,first").rows
    assert [row.outputs["base"] for row in both] == expected
    assert any(row.outputs["first"] != row.outputs["base"] for row in both)


@pytest.mark.parametrize("bits", [4, 32])
def test_an_adapter_s_column_is_peft_s_own_generation_from_its_folder(tiny_folder: Path, bits: int) -> None:
    from peft import PeftModel

    session = loaded(tiny_folder, bits=bits)
    result = trained(session, "mine", lr=2e-2, max_steps=8)
    trained(session, "other", seed=3)
    ours = [row.outputs["mine"] for row in compared(session, "base,other,mine").rows]
    fresh = loaded(tiny_folder, bits=bits).base
    model = PeftModel.from_pretrained(fresh._model, str(result.adapter_path)).eval()  # type: ignore[attr-defined]
    for prompt, answer in zip(PROMPTS, ours, strict=True):
        turns = [{"role": "user", "content": prompt}]
        text = fresh.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = fresh.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        made = model.generate(input_ids=ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
        assert fresh.tokenizer.decode(made, skip_special_tokens=True).strip() == answer


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_a_row_s_answer_does_not_depend_on_its_company(tiny_folder: Path, temperature: float) -> None:
    session = loaded(tiny_folder, bits=32)
    trained(session, "mine", lr=2e-2, max_steps=8)
    ids = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 17], [20]] * 3
    base, seeds = session.base, list(range(40, 52))
    base.activate(session.adapters["mine"].key)
    one = Decoding(10, temperature, top_p=0.95)
    together = base.generate(ids, one, seeds=seeds)
    by_fives = base.generate(ids, Decoding(10, temperature, top_p=0.95, rows_at_once=5), seeds=seeds)
    by_itself = [base.generate([row], one, seeds=[seed])[0] for row, seed in zip(ids, seeds, strict=True)]
    assert together == by_fives == by_itself


@pytest.mark.parametrize("temperature", [0.0, 1.3])
@pytest.mark.parametrize("pad", [0, 1])
def test_a_checkpoint_s_own_generation_settings_change_nothing(
    tiny_folder: Path, tmp_path: Path, temperature: float, pad: int
) -> None:
    folder = tmp_path / "opinionated"
    shutil.copytree(tiny_folder, folder)
    own = folder / "generation_config.json"
    settings = {
        "repetition_penalty": 1.6, "num_beams": 3, "min_new_tokens": 20, "suppress_tokens": list(range(5, 300)),
        "no_repeat_ngram_size": 1, "do_sample": True, "top_k": 3, "pad_token_id": pad, "stop_strings": ["a"],
    }  # fmt: skip
    own.write_text(json.dumps({**json.loads(own.read_text()), **settings}))
    plain, opinionated = (column(loaded(one, bits=32), temperature=temperature) for one in (tiny_folder, folder))
    assert opinionated == plain
    session = loaded(folder, bits=32)
    trained(session, "mine", lr=2e-2, max_steps=8)
    assert column(session, temperature=temperature) == plain
    assert session.base._model.generation_config.repetition_penalty == 1.6  # type: ignore[attr-defined]
    together = column(session, "mine", temperature=temperature)
    assert together[0] == column(session, "mine", prompts=PROMPTS[:1], temperature=temperature)[0]


def test_sampling_is_the_row_s_and_the_seed_s_and_no_column_s(tiny_folder: Path) -> None:
    session = loaded(tiny_folder, bits=32)
    trained(session, "mine", lr=2e-2, max_steps=8)
    hot = {"temperature": 1.5, "top_p": 0.9}
    first = column(session, seed=1, **hot)
    torch.manual_seed(99)
    again = compared(session, "mine,base", seed=1, **hot).rows
    assert [row.outputs["base"] for row in again] == first
    assert column(session, seed=2, **hot) != first
    assert column(session, seed=1, prompts=PROMPTS[:2], **hot) == first[:2]


def test_sampled_tokens_follow_the_model_s_distribution(tiny_folder: Path) -> None:
    base = loaded(tiny_folder, bits=32).base
    prompt, draws = [5, 6, 7, 8], 3000
    chances = torch.softmax(base.logits(prompt)[-1] / 0.7, -1)
    made = base.generate([prompt] * draws, Decoding(1, temperature=0.7, rows_at_once=draws), seeds=range(draws))
    found = torch.zeros_like(chances)
    for answer in made:
        found[answer.token_ids[0] if answer.token_ids else 1] += 1 / draws
    assert (found - chances).abs().max() < 4 * (0.25 / draws) ** 0.5
    nucleus = base.generate([prompt] * 200, Decoding(1, 0.7, top_p=1e-6), seeds=range(200))
    assert {answer.token_ids for answer in nucleus} <= {(int(chances.argmax()),), ()}


def test_the_session_is_as_it_was_after_a_comparison(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    trained(session, "mine", lr=2e-2, max_steps=8)
    trained(session, "other", seed=3)
    session.use(UseConfig("mine"))
    before = session.base.logits([5, 6, 7])
    compared(session, "base,other,base-16bit")
    assert session.active == "mine"
    assert torch.equal(session.base.logits([5, 6, 7]), before)


def test_the_16_bit_column_is_a_base_that_was_loaded_so(tiny_folder: Path) -> None:
    session = loaded(tiny_folder, bits=4)
    trained(session, "mine", lr=2e-2, max_steps=8)
    rows_of = compared(session, "base,base-16bit,mine").rows
    assert [row.outputs["base-16bit"] for row in rows_of] == column(loaded(tiny_folder, bits=16))
    assert list(rows_of[0].outputs) == ["base", "base-16bit", "mine"]


def test_what_does_not_fit_is_refused_with_figures_before_anything_is_made(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from lora_magic.planning import hardware

    small = replace(hardware.detect(), free_bytes=1 << 10)
    session = loaded(tiny_folder, bits=4)
    monkeypatch.setattr(hardware, "detect", lambda: small)
    with pytest.raises(LoraError, match=r"base-16bit needs \d+\.\d GiB .* 0\.0 GiB are free"):
        compared(session, "base,base-16bit")
    monkeypatch.undo()
    with pytest.raises(LoraError, match="at 16 bits already"):
        compared(loaded(tiny_folder, bits=16), "base,base-16bit")


def test_groups_are_halved_when_memory_runs_out_and_stay_so(tiny_folder: Path) -> None:
    base: Any = loaded(tiny_folder, bits=32).base
    ids = [[5 + i % 7, 6, 7][: 1 + i % 3] for i in range(16)]
    expected = base.generate(ids, Decoding(6))
    sizes: list[int] = []
    generate = base._model.generate

    def tight(input_ids: torch.Tensor, **how: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return generate(input_ids=input_ids, **how)

    base._model.generate = tight
    assert base.generate(ids, Decoding(6)) == expected
    assert sizes[:3] == [16, 8, 4] and max(sizes[2:]) <= 5
    sizes.clear()
    base.generate(ids, Decoding(6))
    assert max(sizes) <= 5


def test_memory_that_holds_no_single_row_says_so(tiny_folder: Path) -> None:
    base: Any = loaded(tiny_folder, bits=32).base

    def full(**how: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    base._model.generate = full
    with pytest.raises(LoraError, match="does not hold one row of 9 tokens"):
        base.generate([[5, 6, 7], [8]], Decoding(6))


def test_losses_are_those_of_training_by_row(tiny_folder: Path) -> None:
    from lora_magic.dataset.tokens import tokenise

    session = loaded(tiny_folder, bits=32)
    uneven = [{"question": "Count.", "answer": "one " * n} for n in range(1, 41)]
    result = trained(session, data=uneven, max_steps=2)
    made = tokenise(list(session.adapters["default"].held_out), session.base.tokenizer, max_length=512).rows
    for key, expected in (
        (None, result.eval_losses[0][1]),
        (session.adapters["default"].key, result.eval_losses[-1][1]),
    ):
        session.base.activate(key)
        losses = session.base.losses(made)
        assert sum(nats for nats, _ in losses) / sum(tokens for _, tokens in losses) == pytest.approx(
            expected, rel=1e-4
        )
        one_by_one = [session.base.losses([row])[0] for row in made]
        assert [tokens for _, tokens in losses] == [tokens for _, tokens in one_by_one]
        assert [nats for nats, _ in losses] == pytest.approx([nats for nats, _ in one_by_one], rel=1e-4)


def test_the_comparison_s_held_out_loss_is_that_of_the_run(tiny_folder: Path) -> None:
    session = loaded(tiny_folder, bits=32)
    result = trained(session, "mine", data=rows(60), lr=2e-2, max_steps=8)
    made = compared(session, "base,mine", prompts=None, measures=None)
    assert made.measures is not None
    loss = next(one for one in made.measures.measures if one.name == "held-out-loss")
    assert loss.values["base"].mean == pytest.approx(result.eval_losses[0][1], rel=1e-3)
    assert loss.values["mine"].mean == pytest.approx(result.eval_losses[-1][1], rel=1e-3)
    assert loss.differences["mine"].better > loss.differences["mine"].worse
