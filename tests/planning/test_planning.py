"""What a machine computes in, and how a step is cut for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_magic.backends.trainer import learning_rate_share
from lora_magic.config import TrainConfig
from lora_magic.planning.hardware import Hardware, compute_dtype
from lora_magic.planning.micro_batches import plan
from lora_magic.training.loop import schedule

T4 = Hardware("cuda", "Tesla T4", (7, 5), 15 * 2**30, 14 * 2**30, 2)
L4 = Hardware("cuda", "NVIDIA L4", (8, 9), 23 * 2**30, 22 * 2**30, 8)
CPU = Hardware("cpu", "CPU", (0, 0), 16 * 2**30, 12 * 2**30, 2)


@pytest.mark.parametrize(
    ("machine", "wanted", "bits", "expected"),
    [
        (T4, "auto", 4, ("float16", "T4: no bfloat16")),
        (L4, "auto", 4, ("bfloat16", "L4: has bfloat16")),
        (CPU, "auto", 4, ("float32", "CPU")),
        (CPU, "auto", 16, ("bfloat16", "16 bits a weight")),
        (L4, "float16", 4, ("float16", "as asked")),
        (T4, "auto", 32, ("float32", "32 bits a weight")),
    ],
)
def test_capability_decides_the_dtype(machine: Hardware, wanted: str, bits: int, expected: tuple[str, str]) -> None:
    assert compute_dtype(machine, wanted, bits) == expected


@given(st.integers(1, 200), st.sampled_from([T4, CPU]), st.sampled_from(["standard", "memory", "quality"]))
def test_micro_batches_always_make_up_the_batch(batch: int, machine: Hardware, preset: str) -> None:
    cut = plan(TrainConfig(data="x", batch=batch, preset=preset).with_preset(), machine)
    assert cut.micro_batch * cut.accumulation == batch
    assert machine is T4 or "8bit" not in cut.optimizer


@given(st.integers(1, 5000), st.integers(1, 64), st.floats(0.1, 20), st.integers(0, 256))
def test_a_schedule_covers_the_rows_and_measures_within_the_run(rows: int, batch: int, epochs: float, out: int) -> None:
    length = schedule(TrainConfig(data="x", batch=batch, epochs=epochs), rows, out)
    assert length.epochs >= epochs or length.steps == 1
    assert length.epochs < epochs + 1 + batch / rows
    assert (length.eval_every == 0) == (out == 0)
    assert length.eval_every <= length.steps
    assert length.warmup <= length.steps


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_learning_rates_equal_transformers_one_step_into_the_warm_up(kind: str) -> None:
    import torch
    from transformers import get_scheduler

    steps, warmup = 60, 6
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if kind == "constant" else kind
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    reference = []
    for _ in range(steps):
        reference.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    ours = [learning_rate_share(step, steps, warmup, kind) for step in range(steps)]
    assert ours[0] == pytest.approx(1 / warmup)
    assert ours[: warmup - 1] == pytest.approx(reference[1:warmup])
    assert ours[warmup:] == pytest.approx(reference[warmup:])
