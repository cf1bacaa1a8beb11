"""The whole job in a real kernel: what is shown, what interrupts and errors leave behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.kernels import Kernel
from tests.models import rows

TENSORS = """
def alive(holders):
    import collections, gc, torch
    gc.collect()
    weights = [p for p in gc.get_objects() if isinstance(p, torch.nn.Parameter)]
    if holders:
        return [(p.shape, [repr(r)[:80] for r in gc.get_referrers(p) if r is not weights]) for p in weights]
    count = collections.Counter((type(p).__name__, tuple(p.shape), str(p.dtype), str(p.device)) for p in weights)
    return sorted(count.items())
print("weights:", alive(holders=False))
"""
CHANCES = 5


def weights_alive(kernel: Kernel) -> str:
    """Every weight that some object of the kernel still holds, counted by kind and shape."""
    return kernel.run(TENSORS).stream.partition("weights: ")[2]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("notebook")) as running:
        running.run("%load_ext lora_magic\nimport lora_magic")
        running.run(f"rows = {rows(60)!r}")
        assert running.run(f'%lora_load "{tiny_folder}"').status == "ok"
        yield running


def test_interrupting_keeps_the_adapter_as_of_the_last_step(kernel: Kernel) -> None:
    code = "%lora_train stopped --data rows --max-steps 100000 --eval-every 50"
    seen = kernel.run(code, when=r"step [3-9]", then=kernel.interrupt)
    assert seen.status == "ok", seen.everything
    assert "adapter as of that step is kept" in seen.everything
    assert any("data:image/png" in html for html in seen.html)
    checked = kernel.run(
        "import json, lora_magic\n"
        "from safetensors.torch import load_file\n"
        "r = lora_magic.api.session().last\n"
        "saved = load_file(r.path / 'adapter_model.safetensors')\n"
        "print(len(saved) > 0, all(t.abs().sum() > 0 for n, t in saved.items() if 'lora_B' in n))\n"
        "last = [json.loads(l) for l in open(r.path.parent / 'metrics.jsonl')][-1]\n"
        "print(last['event'], last['reason'])"
    )
    assert checked.stream.splitlines() == ["True True", "finished interrupted"]
    compared = kernel.run("c = %lora_compare --rows 2 --max-new-tokens 4\nprint(c.adapters)")
    assert "('base', 'stopped')" in compared.stream


def test_a_magic_s_result_can_be_kept(kernel: Kernel) -> None:
    seen = kernel.run(
        "r = %lora_train kept --data rows --max-steps 2\nprint(type(r).__name__, len(r.losses), r.reason)"
    )
    assert "TrainResult 2 completed" in seen.stream


def test_an_error_is_one_line_fails_the_cell_and_keeps_no_tensor(kernel: Kernel) -> None:
    seen = kernel.run("%lora_train --data rows --target nonsense")
    assert seen.status == "error"
    assert len(seen.error) == 2
    assert 'No layer is called "nonsense"' in seen.error[0]
    assert kernel.run("%lora_status").status == "ok"


def test_loading_again_frees_the_old_model(kernel: Kernel, tiny_folder: Path) -> None:
    kernel.run(f'%lora_load "{tiny_folder}"')
    before = weights_alive(kernel)
    kernel.run("%lora_train one --data rows --max-steps 2")
    kernel.run("%lora_compare --rows 2 --max-new-tokens 4")
    kernel.run("_, Out")
    kernel.run("%lora_train two --data rows --max-steps 2 --lr 9.9", when=r"step", then=lambda: None)
    kernel.run("%lora_train bad --data rows --target nonsense")
    # The stack's threads may let go of a tensor a moment later: what loading again and again does not free is a leak.
    for _ in range(CHANCES):
        kernel.run(f'%lora_load "{tiny_folder}"')
        if weights_alive(kernel) == before:
            return
    pytest.fail(kernel.run("print(alive(holders=True))").stream)


def test_a_result_is_short_below_its_picture_and_full_later(kernel: Kernel) -> None:
    first = kernel.run("%lora_train twice --data rows --max-steps 2")
    frozen = next(d for d in first.displays.values() if "data:image/png" in d.get("text/html", ""))
    assert "Next: %lora_compare" in frozen["text/html"]
    later = kernel.run("_")
    assert len(first.text.splitlines()) < 4 < len(later.text.splitlines())


def test_generation_and_merging_can_be_interrupted(kernel: Kernel, tiny_folder: Path) -> None:
    kernel.run(f'%lora_load "{tiny_folder}"')
    kernel.run("%lora_train spare --data rows --max-steps 2")
    before = kernel.run("print([r.outputs for r in lora_magic.compare('One?', max_new_tokens=8).rows])").stream
    long = "%lora_compare --max-new-tokens 480 --temperature 1 --rows 12"
    seen = kernel.run(long, when="base", then=kernel.interrupt)
    assert (seen.status, len(seen.error)) == ("error", 2)
    assert "as they were" in seen.error[1]
    assert kernel.run("print([r.outputs for r in lora_magic.compare('One?', max_new_tokens=8).rows])").stream == before
    seen = kernel.run("%lora_merge spare out/one", when="Merging", then=kernel.interrupt)
    if seen.status == "error":  # so small a merge may be done before the interrupt lands
        assert "out/one is as it was" in seen.error[1]
        assert kernel.run("import os; print(os.path.exists('out/one'))").stream.strip() == "False"
    assert kernel.run("%lora_merge spare out/two").status == "ok"


def test_an_interrupt_while_the_stack_imports_leaves_it_importable(tmp_path: Path, tiny_folder: Path) -> None:
    with Kernel(tmp_path) as fresh:
        fresh.run("%load_ext lora_magic")
        seen = fresh.run(f'%lora_load "{tiny_folder}"', when="imports", then=fresh.interrupt)
        assert seen.status == "error"
        assert "No model is loaded now" in seen.everything
        assert fresh.run(f'%lora_load "{tiny_folder}"').status == "ok"
