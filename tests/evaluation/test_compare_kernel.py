"""A comparison in a real kernel: what the stop button leaves."""

from pathlib import Path

from tests.kernel.kernels import Kernel
from tests.models import rows

ASKED = [f"What is {number} and {number}?" for number in range(160)]


def test_the_stop_button_keeps_the_rows_that_are_whole(tiny_folder: Path, tmp_path: Path) -> None:
    with Kernel(tmp_path) as kernel:
        kernel.run("%load_ext lora_magic\nimport lora_magic\nfrom lora_magic.display import progress")
        kernel.run("progress._LEAST_SECONDS = 0")
        kernel.run(f"rows, asked = {rows(60)!r}, {ASKED!r}")
        assert kernel.run(f'%lora_load "{tiny_folder}" --bits 32').status == "ok"
        assert kernel.run("%lora_train mine --data rows --max-steps 4 --lr 2e-2").status == "ok"
        line = "%lora_compare --prompts asked --rows 160 --max-new-tokens 100 --adapters base,mine"
        whole = kernel.run(f"whole = {line}")
        assert whole.status == "ok", whole.everything
        stopped = kernel.run(line, when=r"mine: \d\d of 160", then=kernel.interrupt)
        assert stopped.status == "ok", stopped.everything
        assert "interrupted:" in stopped.text and "of 160 rows were answered" in stopped.text
        told = kernel.run(
            "made = _\n"
            "print(made.interrupted, 0 < len(made.rows) < 160, made.measures is not None)\n"
            "answers = {row.prompt: row.outputs for row in whole.rows}\n"
            "print(all(row.outputs == answers[row.prompt] for row in made.rows))\n"
            "print(lora_magic.status().active)"
        )
        assert told.stream.splitlines() == ["True True True", "True", "mine"], told.everything
        again = kernel.run(f"again = {line}\nprint([r.outputs for r in again.rows] == [r.outputs for r in whole.rows])")
        assert again.stream.splitlines()[-1] == "True"
