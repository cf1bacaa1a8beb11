"""The view of a plan: figures as bar and words, on any width, whatever the model is called."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import pytest
from wcwidth import wcswidth

from lora_magic.display import bundle
from lora_magic.display.plan import plan_text
from lora_magic.display.plan_bar import Bar
from lora_magic.display.safe import unsafe
from lora_magic.planning.architecture import read
from lora_magic.planning.plan import choose
from lora_magic.planning.speed import card
from lora_magic.results import PlanResult
from tests.planning.configs import LLAMA_3B, LLAMA_8B


def result(config: dict[str, Any] = LLAMA_3B, model: str = "llama", **asked: Any) -> PlanResult:
    price = asked.get("price_an_hour")
    estimate = choose(read(config), card(asked.pop("on", "t4")), **{"tokens_per_row": 170, **asked})
    return PlanResult(
        model, "T4", "llama", 3_212_749_824, 24_313_856, 8, asked.get("rows"), 170, 2048, estimate, "Memory: fitted.",
        ("a note",), price,
    )  # fmt: skip


def words(fragment: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", fragment)).split())


def shown(made: PlanResult) -> tuple[str, str]:
    return words(bundle(made)["text/html"]), " ".join(plan_text(made, 140).split())


def test_both_views_tell_peak_parts_choice_time_cost_and_other_ways() -> None:
    made = result(rows=1001, epochs=2, price_an_hour=0.35)
    for view in shown(made):
        assert "llama fits a T4" in view and f"Memory at the peak: {made.peak_gib:.1f} GiB" in view
        for name, size in made.parts.items():
            assert (f"{name} {size:.2f} GiB" in view) == (size > 0)
        assert "micro-batch 8 (one pass a step)" in view and "checkpointing off" in view
        assert "steps 252" in view and "at 0.35 an hour" in view
        assert "An estimate" in view and "Memory: fitted." in view and "a note" in view
        assert "16-bit LoRA: " in view and "full fine-tuning: " in view
        assert all(f"{way.choice.title} " in view for way in made.alternatives)


def test_without_a_length_the_time_of_a_thousand_rows_is_told() -> None:
    made = result()
    for view in shown(made):
        time = view.split("Time")[1].split("other ways")[0]
        assert "1,000 rows" in time and "steps" not in time and "cost" not in time


def test_pinned_parts_are_said_to_be_so() -> None:
    for view in shown(result(micro_batch=2, checkpointing="offload")):
        assert "as asked: micro-batch, checkpointing" in view
        assert "micro-batch 2 (4 passes a step)" in view and "every block, offloaded" in view
    some = result(LLAMA_8B, tokens_per_row=400, micro_batch=8)
    assert some.choice.checkpointing == "some"
    for view in shown(some):
        assert f"checkpointing {some.choice.recomputed} blocks, the others not" in view


def test_where_nothing_fits_the_first_thing_is_what_to_lower() -> None:
    made = result(LLAMA_8B, bits=16)
    for view in shown(made):
        assert "does not fit a T4" in view and "The smallest plan" in view
        assert view.index(made.estimate.lower[0]) < view.index("Memory at the peak")


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    made = result(LLAMA_8B, tokens_per_row=400)
    widths = [float(found) for found in re.findall(r"(?<!-)width:([\d.]+)%", bundle(made)["text/html"])]
    parts = [size for size in made.parts.values() if size]
    assert widths[: len(parts)] == pytest.approx([100 * size / 14.56 for size in parts], abs=0.01)
    assert sum(widths[len(parts) :]) == pytest.approx(100, abs=0.1) and sum(widths[len(parts) :]) <= 100
    drawn, ruler = plan_text(made, 80).split("Memory at the peak")[1].splitlines()[1:3]
    assert drawn.count("1") == pytest.approx(made.parts["weights"] / 14.56 * 64, abs=1)
    assert len(drawn) == len(ruler) == 64 and ruler.count("─") == pytest.approx(13.68 / 14.56 * 64, abs=1)


def test_a_peak_beyond_the_card_is_drawn_beyond_it() -> None:
    made = result(LLAMA_8B, bits=16)
    assert Bar.of(made.estimate).scale == made.peak_gib > made.estimate.card_gib
    drawn, ruler = plan_text(made, 80).split("Memory at the peak")[1].splitlines()[1:3]
    assert "·" not in drawn and len(ruler) < len(drawn) == 64


def test_what_others_take_of_the_card_is_drawn() -> None:
    for view in shown(result(free_gib=8.0)):
        assert "in use by others 6.26 GiB" in view


def test_every_part_has_its_number_in_bar_and_legend() -> None:
    made = result(LLAMA_8B, tokens_per_row=400, micro_batch=4)
    drawn = words(bundle(made)["text/html"]).split("Memory at the peak")[1].split("the card:")[0]
    legend = re.findall(r"(\d) (\w+) [\d.]+ GiB", drawn)
    assert [name for _, name in legend[: len(Bar.of(made.estimate).parts)]] == [n for n, s in made.parts.items() if s]
    assert [number for number, _ in legend] == [str(place + 1) for place in range(len(legend))]


def test_hostile_names_are_text(hostile: str) -> None:
    for made in (result(model=hostile), replace(result(), notes=(hostile,), memory_basis=hostile, card=hostile)):
        page = bundle(made)["text/html"]
        assert not unsafe(page), unsafe(page)
        assert "<script" not in page and "alert(1)" in words(page)
        assert "\x1b" not in plan_text(made, 100) and "\u202e" not in plan_text(made, 100)


@pytest.mark.parametrize("width", [40, 64, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for made in (result(rows=100, price_an_hour=2), result(LLAMA_8B, bits=16), result(model="名前" * 60)):
        assert max(wcswidth(text) for text in plan_text(made, width).splitlines()) <= width
