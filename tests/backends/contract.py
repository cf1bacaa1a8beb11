"""What every backend promises, as tests; imported by the modules that run them, on a CPU and on a card.

A process keeps the backend that it has, so LORA_MAGIC_BACKEND names the one under test; see `make test-unsloth`.
"""

import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.backends.base import Decoding
from lora_magic.backends.stack import unsloth_version
from lora_magic.config import AdaptersConfig, CompareConfig, LoadConfig, MergeConfig, TrainConfig
from lora_magic.display.progress import Progress
from lora_magic.errors import LoraError
from lora_magic.planning.run_plan import Plan, Way
from lora_magic.session import Session
from tests.models import rows, write_model

BACKEND = os.environ.get("LORA_MAGIC_BACKEND", "transformers")
CUDA = torch.cuda.is_available()
ROW = [5, 6, 7, 8, 9, 10, 11, 12]
PROMPTS = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 17, 18, 19], [20]]
# A T4's precision on a card: what most users have, and the harder one.
PRECISION: dict[str, Any] = {"dtype": "float16"} if CUDA else {}
WIDTHS = [4, 8, 16, 32] if BACKEND == "transformers" else [4, 16] if CUDA else [4, 16, 32]
# A gradient scaler may leave out its first steps.
STEPS = 12 if CUDA else 4

UNEVEN = [{"question": f"What is {i}?" * (1 + i % 5), "answer": "one " * (1 + i % 7)} for i in range(40)]

needs_backend = pytest.mark.skipif(
    BACKEND == "unsloth" and unsloth_version() is None, reason="Unsloth is not installed here: make test-unsloth"
)


def loaded(model: Path | str, **options: Any) -> Session:
    session = Session()
    precision = PRECISION if options.get("bits", 4) != 32 else {}
    session.load(LoadConfig(str(model), **({"backend": BACKEND} | precision | options)), Progress("loading"))
    return session


def trained(session: Session, name: str = "default", **options: Any) -> Any:
    settings = {"data": rows(), "max_steps": STEPS, "lr": 5e-3} | options
    return session.train(TrainConfig(name=name, **settings), [], {}, lambda line: None)


def answered(session: Session, key: str | None = None) -> list[tuple[int, ...]]:
    session.base.activate(key)
    return [answer.token_ids for answer in session.base.generate(PROMPTS, Decoding(max_new_tokens=12))]


def bare(session: Session) -> torch.Tensor:
    session.base.activate(None)
    logits: torch.Tensor = session.base.logits(ROW)
    return logits


def weights(result: Any) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(result.adapter_path / "adapter_model.safetensors"))


def digest(base: Any) -> dict[str, str]:
    """Of every tensor of the base itself, packed or not."""
    own = {n: p for n, p in base._model.named_parameters() if "lora_" not in n}
    return {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): hashlib.sha256(
            p.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, p in own.items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit by bit on a CPU; on a card, where sums may run in another order, up to that."""
    if one.keys() != other.keys():
        return False
    if not CUDA:
        return all(torch.equal(one[name], other[name]) for name in one)
    flat = [torch.cat([tensors[name].float().flatten() for name in sorted(one)]) for tensors in (one, other)]
    return bool(torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.999)


FRESH = """
import json, sys
from pathlib import Path
import tests.backends.contract as contract
model, backend, out = sys.argv[1:]
contract.BACKEND = backend
session = contract.loaded(model)
found = {"base": contract.answered(session), "logits": contract.bare(session).tolist()}
result = contract.trained(session, "second", **contract.SECOND)
found |= {"losses": result.losses, "adapter": str(result.adapter_path), "backend": session.base.facts.backend}
Path(out).write_text(json.dumps(found))
"""
# The first adapter differs from the second in all that a backend keeps apart: layers, method, rank, dropout.
FIRST: dict[str, Any] = {"method": "dora", "dropout": 0.2, "rank": 8}
SECOND: dict[str, Any] = {"seed": 7, "rank": 4, "target": "q_proj,v_proj,gate_proj,up_proj,down_proj"}


def in_a_fresh_process(model: Path, folder: Path, backend: str = "") -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "found.json"
    roots = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(model), backend or BACKEND, str(out)],
        cwd=folder, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture(scope="module")
def fresh(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process says that never had another adapter than the second."""
    return in_a_fresh_process(tiny_folder, tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "qwen"
    write_model(folder, family="qwen2")
    return folder


OF_EMBEDDINGS = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
plain = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
model = get_peft_model(plain, LoraConfig(r=4, target_modules=["embed_tokens", "q_proj"], task_type="CAUSAL_LM"))
for parameter in model.parameters():
    parameter.data += 0.1 * torch.randn_like(parameter) * parameter.requires_grad
model.save_pretrained(sys.argv[2])
"""


@pytest.mark.parametrize("bits", WIDTHS)
def test_training_learns_and_leaves_the_base_as_it_was(tiny_folder: Path, bits: int) -> None:
    session = loaded(tiny_folder, bits=bits)
    facts = session.base.facts
    assert (facts.backend, facts.bits, facts.architecture) == (BACKEND, bits, "LlamaForCausalLM")
    before, logits, answers = digest(session.base), bare(session), answered(session)
    assert torch.equal(bare(session), logits)
    result = trained(session, max_steps=3 * STEPS, lr=2e-2, eval_every=3 * STEPS)
    (_, start), (_, end) = result.eval_losses
    assert end < 0.8 * start
    assert not torch.equal(session.base.logits(ROW), logits)
    assert digest(session.base) == before
    assert torch.equal(bare(session), logits)
    assert answered(session) == answers


def test_the_base_is_what_its_file_says_whatever_is_thought_of_it(tiny_folder: Path, tmp_path: Path) -> None:
    """Rows of zeros are taken for untrained by some, and written over."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "models" / "untrained"
    shutil.copytree(tiny_folder, folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.embed_tokens.weight"][[0, 3, 4]] = 0.0  # pad, and what begins each turn
    save_file(tensors, file, {"format": "pt"})
    session = loaded(folder, bits=16)
    base: Any = session.base
    for _ in range(2):
        ours = base._model.get_input_embeddings().weight.detach().cpu()
        assert torch.equal(ours, tensors["model.embed_tokens.weight"].to(ours.dtype))
        trained(session)


def test_the_base_equals_one_that_never_had_an_adapter(tiny_folder: Path, fresh: dict[str, Any]) -> None:
    session = loaded(tiny_folder)
    for name, options in (("first", FIRST), ("second", SECOND)):
        trained(session, name, **options)
        assert [list(ids) for ids in answered(session)] == fresh["base"]
        assert torch.equal(bare(session), torch.tensor(fresh["logits"]))
    for adapter in list(session.adapters.values()):
        session.base.detach(adapter.key)
        assert torch.equal(bare(session), torch.tensor(fresh["logits"]))
    assert [list(ids) for ids in answered(session)] == fresh["base"]


def test_a_second_adapter_equals_one_of_a_fresh_process(tiny_folder: Path, fresh: dict[str, Any]) -> None:
    from safetensors.torch import load_file

    session = loaded(tiny_folder)
    trained(session, "first", **FIRST)
    answered(session)
    second = trained(session, "second", **SECOND)
    assert same(weights(second), dict(load_file(Path(fresh["adapter"]) / "adapter_model.safetensors")))
    assert [loss for _, loss in second.losses] == pytest.approx([x for _, x in fresh["losses"]], rel=1e-3 * CUDA)


def test_both_backends_learn_the_same(tiny_folder: Path, tmp_path: Path, fresh: dict[str, Any]) -> None:
    if BACKEND == "transformers":
        pytest.skip("the backend that others are held against")
    plain = in_a_fresh_process(tiny_folder, tmp_path / "plain", "transformers")
    assert (plain["backend"], fresh["backend"]) == ("transformers", BACKEND)
    losses = [[loss for _, loss in found["losses"]][:4] for found in (plain, fresh)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2 if CUDA else 1e-5)


def test_one_seed_gives_one_curve_and_another_seed_another(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    first = trained(session, dropout=0.1)
    torch.manual_seed(99)
    again, other = trained(session, dropout=0.1), trained(session, dropout=0.1, seed=1)
    losses = [[loss for _, loss in run.losses] for run in (first, again, other)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 * CUDA)
    assert losses[2] != pytest.approx(losses[0], rel=1e-3)


def test_training_draws_nothing_from_the_notebook_s_own_randomness(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    trained(session)
    answered(session)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("bits", WIDTHS)
def test_gradients_after_an_evaluation_equal_those_before_it(tiny_folder: Path, bits: int) -> None:
    base: Any = loaded(tiny_folder, bits=bits).base
    base.attach("adapter1", TrainConfig(data=[], rank=4))
    for name, parameter in base._model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)

    def gradients() -> dict[str, torch.Tensor]:
        base._model.zero_grad(set_to_none=True)
        base._model.train()
        ids = torch.tensor([ROW], device=base._model.device)
        base._model(input_ids=ids, labels=ids).loss.backward()
        base._model.eval()
        return {n: p.grad.clone() for n, p in base._model.named_parameters() if p.requires_grad}

    before = gradients()
    base.logits(ROW)
    base.generate(PROMPTS, Decoding(max_new_tokens=4))
    after = gradients()
    assert before and same(before, after)


@pytest.mark.parametrize("checkpointing", ["on", "off"])
def test_training_leaves_nothing_on_the_model(tiny_folder: Path, checkpointing: str) -> None:
    session = loaded(tiny_folder)
    base: Any = session.base
    trained(session, "left", checkpointing=checkpointing)
    model = base._model
    assert not {"_original_forward", "forward", "zero_grad"} & vars(model).keys()
    assert not any(module.training for module in model.modules())
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    assert not any(vars(module).get("_flag_for_generation") for module in model.modules())
    assert not any(vars(module).get("accelerator_scaler") for module in model.modules())
    assert not model.get_input_embeddings()._forward_hooks
    assert all(p.grad is None for p in model.parameters())
    assert gc.get_freeze_count() in (0, FROZEN)
    trainable = {n: p.dtype for n, p in model.named_parameters() if p.requires_grad}
    assert trainable and all("lora_" in name and dtype is torch.float32 for name, dtype in trainable.items())


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_adapter_trains_in_float32_from_its_exact_start(tiny_folder: Path, tmp_path: Path, bits: int) -> None:
    """trl casts a quantised model's adapter to bfloat16, which rounds its start and breaks float16's scaler."""
    from datasets import Dataset

    from lora_magic.backends.stack import import_stack

    base: Any = loaded(tiny_folder, bits=bits).base
    base.attach("adapter1", TrainConfig(data=[], rank=4))
    before = {n: p.detach().clone() for n, p in base._model.named_parameters() if p.requires_grad}
    how = import_stack().SFTConfig(
        output_dir=str(tmp_path), use_cpu=not CUDA, fp16=CUDA, bf16=False, report_to="none",
        dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    rows_given = Dataset.from_dict({"input_ids": [ROW], "labels": [ROW]})
    base.trainer("adapter1", args=how, train_dataset=rows_given, stepper=None)
    after = {n: p for n, p in base._model.named_parameters() if p.requires_grad}
    assert before.keys() == after.keys()
    assert all(p.dtype is torch.float32 for p in after.values())
    assert all(torch.equal(before[n], after[n]) for n in before)


def test_switching_is_exact_in_any_order(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    made = {
        "one": {"rank": 2}, "two": FIRST, "three": {"rank": 4, "target": "attention", "seed": 2},
        "four": {"rank": 3, "target": "q_proj,down_proj", "method": "rslora", "dropout": 0.1},
    }  # fmt: skip
    seen: dict[str, tuple[torch.Tensor, list[tuple[int, ...]]]] = {}
    for name, options in made.items():
        trained(session, name, **options)
        key = session.adapters[name].key
        seen[name] = session.base.logits(ROW), answered(session, key)
    seen["base"] = bare(session), answered(session)
    assert len({tuple(logits.flatten().tolist()) for logits, _ in seen.values()}) == 5
    for name in ("two", "base", "one", "four", "three", "base", "four", "two", "three", "one"):
        session._activate(name)
        assert torch.equal(session.base.logits(ROW), seen[name][0]), name
        assert answered(session, None if name == "base" else session.adapters[name].key) == seen[name][1]
    session.base.detach(session.adapters.pop("two").key)
    session._activate("three")
    assert torch.equal(session.base.logits(ROW), seen["three"][0])


def test_a_saved_adapter_comes_back_and_trains_on(tiny_folder: Path, tmp_path: Path) -> None:
    session = loaded(tiny_folder)
    result = trained(session, "kept", **SECOND)
    logits = session.base.logits(ROW)
    session.base.save(session.adapters["kept"].key, tmp_path / "copy")
    assert same(weights(result), weights_in(tmp_path / "copy"))
    other = loaded(tiny_folder)
    trained(other, "before", **FIRST)
    assert other.base.attach("again", TrainConfig(data=[], **SECOND), tmp_path / "copy")[0] > 0
    assert torch.equal(other.base.logits(ROW), logits)
    further = [
        trained(one, "on", continue_from=str(tmp_path / "copy"), max_steps=2, lr=1e-3) for one in (session, other)
    ]
    assert same(weights(further[0]), weights(further[1]))
    assert not same(weights(further[0]), weights(result))


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def test_a_saved_adapter_is_peft_s(tiny_folder: Path) -> None:
    """What transformers and peft make of the folder alone answers like what is in memory."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    session = loaded(tiny_folder, bits=16)
    result = trained(session, "mine", lr=2e-2)
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).to("cuda" if CUDA else "cpu")
    model = PeftModel.from_pretrained(plain, str(result.adapter_path)).eval()
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([ROW], device=model.device), use_cache=False).logits[0].float().cpu()
    ours = session.base.logits(ROW)
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=-1).min() > 0.999


def test_answers_come_in_order_and_do_not_depend_on_their_company(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    trained(session, "asked", lr=2e-2, max_steps=8)
    base = session.base
    told: dict[int, Any] = {}
    together = base.generate(PROMPTS, Decoding(max_new_tokens=8, rows_at_once=3), told.__setitem__)
    alone = [base.generate([prompt], Decoding(max_new_tokens=8))[0] for prompt in PROMPTS]
    assert [told[place] for place in range(len(PROMPTS))] == together
    if not CUDA:
        assert together == alone
    assert [len(answer.token_ids) for answer in together] == [len(answer.token_ids) for answer in alone] or CUDA
    draws = [base.generate(PROMPTS, Decoding(12, temperature=1.5, seed=seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_listening_to_an_answer_changes_nothing_and_an_interrupt_leaves_its_beginning(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_magic.backends.streaming.LEAST_SECONDS", 0)
    session = loaded(tiny_folder)
    trained(session, "asked", lr=2e-2, max_steps=8)
    base, decoding, told = session.base, Decoding(max_new_tokens=10), []
    for key in (None, session.adapters["asked"].key):
        base.activate(key)
        plain = base.generate(PROMPTS[:1], decoding)
        told.clear()
        assert base.generate(PROMPTS[:1], decoding, heard=lambda _, said: told.append(said)) == plain
        assert told and all(plain[0].text.startswith(said) for said in told)

        def stop(_: int, said: str) -> None:
            told.append(said)
            if len(told) == 3:
                raise KeyboardInterrupt

        told.clear()
        with pytest.raises(KeyboardInterrupt):
            base.generate(PROMPTS[:1], decoding, heard=stop)
        assert len(told) == 4 and told[3] == told[2]
        assert base.generate(PROMPTS[:1], decoding) == plain


def test_losses_of_rows_do_not_depend_on_their_company(tiny_folder: Path) -> None:
    from lora_magic.dataset.store import Row

    session = loaded(tiny_folder)
    trained(session, "asked", lr=2e-2, max_steps=8)
    told = [Row(ids, [-100, *ids[1:]]) for ids in PROMPTS]
    together = session.base.losses(told)
    assert [tokens for _, tokens in together] == [len(ids) - 1 for ids in PROMPTS]
    expected = []
    for ids in PROMPTS:
        logits = session.base.logits(ids)[:-1]
        wanted = torch.tensor(ids[1:], dtype=torch.int64)
        expected.append(
            float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")) if len(wanted) else 0.0
        )
    assert [nats for nats, _ in together] == pytest.approx(expected, rel=2e-2 if CUDA else 1e-3)


def test_columns_of_a_comparison_are_the_base_s_and_the_adapter_s_own(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    trained(session, "tuned", lr=2e-2, max_steps=12)
    config = CompareConfig(prompts=["What is 3 and 3?", "Name a colour."], adapters="base,tuned", max_new_tokens=12)
    before, after = (session.compare(config, Progress("comparing")).rows for _ in range(2))
    assert [row.outputs for row in before] == [row.outputs for row in after]
    assert all(row.outputs["base"] != row.outputs["tuned"] for row in before)


@pytest.mark.parametrize("bits", [16] if CUDA else [4, 16])
def test_biases_that_train_along_are_swapped_and_put_back(qwen_folder: Path, bits: int) -> None:
    session = loaded(qwen_folder, bits=bits)
    base = bare(session)
    seen = {}
    for name, options in (("all", {"bias": "all"}), ("own", {"bias": "lora_only", "seed": 1}), ("none", {})):
        trained(session, name, lr=5e-2, **options)  # type: ignore[arg-type]
        seen[name] = session.base.logits(ROW)
    for name in ("own", "none", "all"):
        session._activate(name)
        assert torch.equal(session.base.logits(ROW), seen[name])
    assert torch.equal(bare(session), base)


def test_a_plain_adapter_after_one_with_biases_is_as_if_alone(qwen_folder: Path) -> None:
    alone = trained(loaded(qwen_folder, bits=16), "plain", lr=5e-2)
    own = trained(loaded(qwen_folder, bits=16), "own", lr=5e-2, bias="lora_only", target="q_proj")
    session = loaded(qwen_folder, bits=16)
    trained(session, "before", bias="all", seed=1)
    after = trained(session, "plain", lr=5e-2)
    assert after.trainable_parameters == alone.trainable_parameters and after.losses == alone.losses
    beside = trained(session, "own", lr=5e-2, bias="lora_only", target="q_proj")
    assert beside.trainable_parameters == own.trainable_parameters and beside.losses == own.losses


def test_an_adapter_of_the_embeddings_answers_as_its_merge(tiny_folder: Path, tmp_path: Path) -> None:
    theirs, merged = tmp_path / "theirs", tmp_path / "merged"
    command = [sys.executable, "-c", OF_EMBEDDINGS, str(tiny_folder), str(theirs)]
    subprocess.run(command, check=True, capture_output=True)
    session = loaded(tiny_folder, bits=32)
    before = bare(session)
    session.drawer(AdaptersConfig(import_from=str(theirs)), Progress("importing"))
    session.merge(MergeConfig("theirs", str(merged), dtype="float32"), lambda share, what: None)
    with_it = session.base.logits(ROW)
    assert not torch.allclose(with_it, before, atol=0.1) and torch.equal(bare(session), before)
    assert torch.allclose(loaded(merged, bits=32).base.logits(ROW), with_it, atol=1e-3)


def test_what_verifies_a_merge_is_transformers_own_code(tiny_folder: Path) -> None:
    from lora_magic.merging.skeleton import skeleton

    loaded(tiny_folder)
    import transformers

    model = skeleton(tiny_folder, trust_remote_code=False)
    files = {type(module).forward.__code__.co_filename for module in model.modules()}
    own = {Path(str(package.__file__)).parent for package in (torch, transformers)}
    assert files and all(own & set(Path(file).parents) for file in files), files


FROZEN = gc.get_freeze_count()
"""Objects that Python itself keeps from the collector: 375 in 3.12, none in other versions."""
WAYS = [
    Way("three rows at once", None, 3, "off"),
    Way("a few tokens at once", 60, None, "off"),
    Way("end to end", None, None, "off", padded=False),
    Way("end to end, a few tokens at once", 60, None, "on", padded=False),
    Way("one row at once, one block kept", None, 1, "on", kept=1),
    Way("offloaded", None, 4, "offload"),
    Way("weights dequantised once", None, 4, "off", expanded=True),
]


def delta(result: Any) -> torch.Tensor:
    """All updates of an adapter, flat: each B times its A."""
    found = weights(result)
    pairs = [(found[name.replace("lora_A", "lora_B")], found[name]) for name in sorted(found) if "lora_A" in name]
    return torch.cat([(b.double() @ a.double()).flatten() for b, a in pairs])


def test_how_a_step_is_computed_changes_nothing_that_is_learned(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by(way: Way) -> Any:
        monkeypatch.setattr(
            "lora_magic.training.run.plan", lambda config, *_, **__: Plan((way,), "adamw_torch", config.batch)
        )
        return trained(session, data=UNEVEN, max_steps=6, lr=1e-3)

    session = loaded(tiny_folder)
    plain = by(Way("all at once", None, None, "off"))
    for way in WAYS:
        other = by(way)
        for one, same_step in zip(plain.steps, other.steps, strict=True):
            assert same_step.loss == pytest.approx(one.loss, rel=1e-2 if CUDA else 1e-4), way
            assert same_step.gradient_norm == pytest.approx(one.gradient_norm, rel=2e-2 if CUDA else 1e-3), way
        cosine = torch.nn.functional.cosine_similarity(delta(plain), delta(other), dim=0)
        assert cosine > (0.99 if CUDA else 0.9999), way


def _as_an_8_bit_optimiser_does(base: Any) -> None:
    """The trainer exempts embeddings from 8-bit states, which bitsandbytes remembers for good; slow to do on a CPU."""
    from bitsandbytes.optim import GlobalOptimManager

    embeddings = base._model.get_input_embeddings()
    GlobalOptimManager.get_instance().register_module_override(embeddings, "weight", {"optim_bits": 32})
    base.after_training()


def test_freeing_lets_go_of_the_model(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    trained(session)
    answered(session)
    base: Any = session.base
    kept = [weakref.ref(p) for p in base._model.parameters()]
    _as_an_8_bit_optimiser_does(base)
    del base
    session.free()
    gc.collect()
    assert not any(reference() is not None for reference in kept)


def test_loading_and_training_print_nothing_and_leave_no_folder(
    tiny_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = loaded(tiny_folder)
    trained(session)
    answered(session)
    said = capfd.readouterr()
    assert said.out == ""
    assert "nsloth" not in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["lora_runs"]


def test_the_backend_is_chosen_once_a_process(tiny_folder: Path) -> None:
    session = loaded(tiny_folder)
    other = "transformers" if BACKEND == "unsloth" else "unsloth"
    with pytest.raises(LoraError, match="already has the backend") as caught:
        session.load(LoadConfig(str(tiny_folder), backend=other), Progress("loading"))
    assert "Restart the kernel" in caught.value.remedy and other in caught.value.remedy
    assert session.base.facts.backend == BACKEND
