"""Several adapters on one base: listed, imported, combined, switched and taken off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.config import AdaptersConfig, CompareConfig, LoadConfig, TrainConfig, UseConfig
from lora_magic.display import bundle
from lora_magic.display.adapters import adapters_html
from lora_magic.display.progress import Progress
from lora_magic.drawer.spectrum import effective_rank
from lora_magic.errors import LoraError
from lora_magic.results import Adapters
from lora_magic.session import Session
from tests.models import rows, write_model, write_tokenizer
from tests.session.test_session import loaded

ROW = [5, 6, 7, 8, 9, 10]


def trained(session: Session, name: str, **options: Any) -> Any:
    settings = {"data": rows(), "max_steps": 3, "lr": 5e-3, "rank": 4} | options
    return session.train(TrainConfig(name=name, **settings), [], {}, lambda line: None)


def drawer(session: Session, **options: Any) -> Adapters:
    return session.drawer(AdaptersConfig(**options), Progress("the drawer"))


def delta(session: Session, name: str) -> dict[str, torch.Tensor]:
    """The whole update of each layer, as peft computes it from what is on the model."""
    base: Any = session.base
    key = session.adapters[name].key
    layers = {n: m for n, m in base._model.named_modules() if hasattr(m, "lora_A") and key in m.lora_A}
    return {name: layer.get_delta_weight(key).detach().double() for name, layer in layers.items()}


@pytest.fixture
def session(tiny_folder: Path) -> Iterator[Session]:
    made = loaded(tiny_folder, bits=32)
    trained(made, "first")
    trained(made, "second", seed=1)
    yield made
    made.free()


def test_the_list_tells_what_there_is(session: Session) -> None:
    trained(session, "wide", rank=8, method="rslora")
    session.use(UseConfig("second"))
    drawer(session, remove="wide")
    found = {entry.name: entry for entry in drawer(session).adapters}
    assert {name: entry.place for name, entry in found.items()} == {
        "first": "in memory", "second": "in use", "wide": "on disk",
    }  # fmt: skip
    assert [entry.kind for entry in found.values()] == ["lora, rank 4", "lora, rank 4", "rslora, rank 8"]
    for name, entry in found.items():
        assert entry.path is not None and entry.bytes == (entry.path / "adapter_model.safetensors").stat().st_size
        assert entry.run == name and entry.held_out is not None and entry.base == session.base.facts.path
        assert list(entry.effective_ranks) == [0, 1]
        assert all(1 <= rank <= entry.rank for rank in entry.effective_ranks.values())


def test_effective_ranks_are_those_of_the_whole_update(session: Session) -> None:
    expected: dict[int, list[float]] = {}
    for name, update in delta(session, "first").items():
        values = torch.linalg.svdvals(update)
        shares = values[values > 1e-9 * values[0]] / values.sum()
        expected.setdefault(int(name.split("layers.")[1][0]), []).append(float((-(shares * shares.log()).sum()).exp()))
    found = drawer(session).adapters[0].effective_ranks
    assert found == pytest.approx({block: np.mean(ranks) for block, ranks in expected.items()}, rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(rank=st.integers(1, 6), inputs=st.integers(6, 20), outputs=st.integers(6, 20), seed=st.integers(0, 99))
def test_effective_rank(rank: int, inputs: int, outputs: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    left, _ = np.linalg.qr(random.normal(size=(outputs, rank)))
    right, _ = np.linalg.qr(random.normal(size=(inputs, rank)))
    assert effective_rank(right.T, left) == pytest.approx(rank)
    one = np.zeros((rank, rank))
    one[0, 0] = 3.0
    assert effective_rank(one @ right.T, left) == pytest.approx(1)
    assert effective_rank(right.T, 0 * left) == 0


@pytest.mark.parametrize("methods", [("lora", "lora"), ("rslora", "lora"), ("rslora", "rslora")])
@pytest.mark.parametrize("method", ["cat", "svd"])
def test_a_sum_of_adapters_is_the_sum_of_their_updates(
    tiny_folder: Path, method: str, methods: tuple[str, str]
) -> None:
    session = loaded(tiny_folder, bits=32)
    trained(session, "one", method=methods[0])
    trained(session, "two", seed=1, rank=6, method=methods[1])
    one, two = delta(session, "one"), delta(session, "two")
    found = drawer(
        session, combine="one=0.7, two=-0.5", name="both", method=method, rank=10 if method == "svd" else None
    )
    assert session.active == "both" and "0.7 x one - 0.5 x two" in found.done
    both = delta(session, "both")
    for name in one:
        wanted = 0.7 * one[name] - 0.5 * two[name]
        assert torch.allclose(both[name], wanted, atol=1e-5 * float(wanted.abs().max()))
    logits = session.base.logits(ROW)
    fresh = loaded(tiny_folder, bits=32)
    drawer(fresh, import_from="both")
    assert torch.allclose(fresh.base.logits(ROW), logits, atol=1e-4)


@pytest.mark.parametrize("method", ["linear", "ties", "dare"])
def test_rougher_mixtures_are_peft_s_own(session: Session, method: str) -> None:
    drawer(session, combine="first,second", name="mixed", method=method, density=0.4, seed=3)
    drawer(session, combine="first,second", name="again", method=method, density=0.4, seed=3)
    mixed, again = delta(session, "mixed"), delta(session, "again")
    assert all(torch.equal(mixed[name], again[name]) for name in mixed)
    base: Any = session.base
    keys = [session.adapters[name].key for name in ("first", "second")]
    kind = {"dare": "dare_ties"}.get(method, method)
    torch.manual_seed(3)
    base._model.add_weighted_adapter(keys, [1.0, 1.0], "peft", combination_type=kind,
                                     density=None if method == "linear" else 0.4)  # fmt: skip
    layers = {n: m for n, m in base._model.named_modules() if hasattr(m, "lora_A")}
    assert all(torch.allclose(layers[n].get_delta_weight("peft").double(), mixed[n]) for n in mixed)


def test_adapters_that_do_not_mix_are_refused_and_nothing_stays(session: Session) -> None:
    trained(session, "dora", method="dora")
    trained(session, "wide", rank=8)
    before = (list(session.adapters), session.active)
    keys = set(session.base._model.peft_config)  # type: ignore[attr-defined]
    for combine, method, told in (
        ("first,dora", "cat", "Only plain LoRA"),
        ("first,wide", "linear", "4, 8"),
        ("first,nobody", "cat", 'no adapter "nobody"'),
    ):
        with pytest.raises(LoraError) as caught:
            drawer(session, combine=combine, method=method, name="mixed")
        assert told in caught.value.problem
        assert (list(session.adapters), session.active) == before
        assert set(session.base._model.peft_config) == keys  # type: ignore[attr-defined]


def test_an_imported_adapter_answers_as_the_one_that_was_saved(session: Session, tmp_path: Path) -> None:
    session.use(UseConfig("first"))
    logits, path = session.base.logits(ROW), session.adapters["first"].path
    assert path is not None
    shutil.copytree(path, tmp_path / "elsewhere")
    drawer(session, remove="first")
    assert "first" not in session.adapters and path.is_dir()
    found = drawer(session, import_from=str(tmp_path / "elsewhere"), name="back")
    assert session.active == "back" and str(tmp_path / "elsewhere") in found.done
    assert torch.equal(session.base.logits(ROW), logits)
    compared = session.compare(CompareConfig(["One?"], adapters="base,back", max_new_tokens=4), Progress("comparing"))
    assert list(compared.rows[0].outputs) == ["base", "back"]


def test_an_imported_run_brings_its_record(tiny_folder: Path, tmp_path: Path) -> None:
    before = loaded(tiny_folder, bits=32)
    (tmp_path / "mine.jinja").write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    data = [{"question": f"What is {i}?", "answer": f"It is {i}."} for i in range(24)]
    trained(before, "mine", data=data, system="Be brief.", template="mine.jinja")
    asked = CompareConfig(max_new_tokens=6, measures="held-out-loss")
    there = before.compare(asked, Progress("comparing"))
    after = loaded(tiny_folder, bits=32)
    with pytest.raises(LoraError, match="no adapter") as caught:
        after.use(UseConfig("mine"))
    assert caught.value.remedy == "It is on disk: %lora_adapters --import mine"
    drawer(after, import_from="mine")
    here = after.compare(asked, Progress("comparing"))
    assert [row.outputs for row in here.rows] == [row.outputs for row in there.rows] and here.source == there.source
    losses = [made.measures.measures[0].values["mine"].mean for made in (there, here) if made.measures]
    assert len(losses) == 2 and losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_an_imported_run_whose_rows_have_changed_says_so(tiny_folder: Path) -> None:
    data = [{"question": f"What is {i}?", "answer": f"It is {i}."} for i in range(24)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    trained(loaded(tiny_folder, bits=32), "mine", data="rows.jsonl", system="Be brief.")
    session = loaded(tiny_folder, bits=32)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data[1:]))
    assert "rows.jsonl has changed since" in drawer(session, import_from="mine").done
    made = session.adapters["mine"]
    assert (made.system, made.held_out) == ("Be brief.", ())
    Path("rows.jsonl").unlink()
    assert "what its run held out is not known" in drawer(session, import_from="mine").done


def test_of_two_runs_of_one_name_the_one_that_is_named_is_taken(session: Session) -> None:
    again = trained(session, "first", rank=2)
    assert again.run_dir.name == "first-2"
    more = session.train(
        TrainConfig.of({"name": "more", "from_run": "first", "continue_from": "", "max_steps": 1}), [], {},
        lambda line: None,
    )  # fmt: skip
    assert more.config["rank"] == 4
    drawer(session, import_from="first", name="old")
    assert session.adapters["old"].kind == "lora, rank 4" and session.adapters["first"].kind == "lora, rank 2"
    assert "first (run first-2)" in adapters_html(drawer(session))


def test_an_adapter_whose_files_are_gone_is_written_again_before_it_goes(session: Session, tiny_folder: Path) -> None:
    answers = session.base.logits(ROW)
    shutil.rmtree("lora_runs/second")
    done = drawer(session, remove="second").done
    assert done.startswith("second is off the base; its files were gone, and were written again to ")
    drawer(session, import_from="second")
    assert torch.allclose(session.base.logits(ROW), answers, atol=1e-6)
    shutil.rmtree("lora_runs/first")
    session.load(LoadConfig(str(tiny_folder), bits=32), Progress("loading"))
    assert not session.adapters
    assert "first is on the base now" in drawer(session, import_from="first").done


def test_the_list_tells_the_held_out_loss_of_what_was_kept(session: Session) -> None:
    last = trained(session, "last", max_steps=6, lr=0.3, data=rows(60))
    lowest = trained(session, "lowest", max_steps=6, lr=0.3, data=rows(60), early_stop=20)
    found = {entry.name: entry.held_out for entry in drawer(session).adapters}
    assert found["last"] == last.eval_losses[-1][1] > min(loss for _, loss in last.eval_losses)
    assert found["lowest"] == min(loss for step, loss in lowest.eval_losses if step)


def test_what_does_not_fit_or_is_no_safe_adapter_is_refused(session: Session, tmp_path: Path) -> None:
    path = session.adapters["first"].path
    assert path is not None
    other = tmp_path / "other"
    other.mkdir()
    write_model(other, layers=1)
    write_tokenizer(other)
    smaller = loaded(other, bits=32)
    before = smaller.base.logits(ROW)
    with pytest.raises(LoraError, match="does not fit this base"):
        drawer(smaller, import_from=str(path))
    assert not smaller.adapters and torch.equal(smaller.base.logits(ROW), before)

    pickled = tmp_path / "pickled"
    shutil.copytree(path, pickled)
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(LoraError, match="pickle"):
        drawer(session, import_from=str(pickled))

    cut = tmp_path / "cut"
    shutil.copytree(path, cut)
    whole = (cut / "adapter_model.safetensors").read_bytes()
    (cut / "adapter_model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LoraError, match="cut short or damaged"):
        drawer(session, import_from=str(cut))
    with pytest.raises(LoraError, match=r"no adapter or folder|not an adapter"):
        drawer(session, import_from="./nowhere")
    assert session.active == "second" and list(session.adapters) == ["first", "second"]


def test_five_adapters_have_one_base_between_them(session: Session) -> None:
    base: Any = session.base

    def size() -> int:
        return sum(p.numel() for p in {p.data_ptr(): p for p in base._model.parameters()}.values())

    two = size()
    for name in ("third", "fourth", "fifth"):
        trained(session, name)
    own = sum(p.numel() for n, p in base._model.named_parameters() if session.adapters["fifth"].key in n.split("."))
    assert size() == two + 3 * own


def test_many_are_listed_in_the_order_of_their_numbers_and_the_first_drawn(session: Session) -> None:
    path = session.adapters["first"].path
    assert path is not None
    for number in range(2, 20):
        shutil.copytree(path, path.parents[1] / f"copy-{number}" / "adapter")
    found = drawer(session)
    assert [entry.name for entry in found.adapters[2:]] == [f"copy-{number}" for number in range(2, 20)]
    shown = bundle(found)
    for view in (shown["text/plain"], shown["text/html"]):
        assert "copy-19" in view and "the ranks of 4 more are not drawn" in view
    assert sum(line.endswith(("█", "▇", "▆")) for line in shown["text/plain"].splitlines()) == 16


def test_a_damaged_adapter_is_listed_with_what_is_wrong(session: Session) -> None:
    path = session.adapters["first"].path
    assert path is not None
    drawer(session, remove="first")
    (path / "adapter_config.json").write_text("{")
    entry = next(e for e in drawer(session).adapters if e.name == "first")
    assert "cannot be read" in entry.note
    shown = bundle(drawer(session))
    assert "cannot be read" in shown["text/plain"] and "cannot be read" in shown["text/html"]


def test_hostile_names_are_text(session: Session) -> None:
    path = session.adapters["first"].path
    assert path is not None
    recorded = json.loads((path / "adapter_config.json").read_text())
    recorded["base_model_name_or_path"] = "<script>alert(1)</script>"
    (path / "adapter_config.json").write_text(json.dumps(recorded))
    html = bundle(drawer(session))["text/html"]
    assert "<script>" not in html and "&lt;script&gt;" in html


def test_without_a_model_what_is_on_disk_is_listed(session: Session) -> None:
    session.free()
    found = drawer(session)
    assert found.base is None and {entry.place for entry in found.adapters} == {"on disk"}
    with pytest.raises(LoraError, match="No model is loaded"):
        drawer(session, remove="first")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"combine": "a,b"}, "needs a name"),
        ({"combine": "a", "name": "c"}, "two adapters"),
        ({"combine": "a=x,b", "name": "c"}, "no number"),
        ({"combine": "a=1,b,a=2", "name": "c"}, "named twice"),
        ({"combine": "a,b", "remove": "a", "name": "c"}, "two things"),
        ({"name": "c"}, "--as names"),
        ({"import_from": "x", "name": "base"}, "cannot be"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(LoraError, match=told):
        AdaptersConfig(**options)
