"""A comparison as it goes: rows as they are made, interrupts, numbers beside the answers, and what was forgotten."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lora_magic.config import CompareConfig, DataConfig, MergeConfig, PlanConfig, TrainConfig
from lora_magic.dataset.examples import Example, Turn
from lora_magic.dataset.tokens import tokenise
from lora_magic.demo import MODEL_DIR
from lora_magic.display.progress import Progress
from lora_magic.errors import LoraError
from lora_magic.evaluation.forgetting import EMBEDDED, is_right
from lora_magic.events import Event, Started
from lora_magic.results import Comparison
from lora_magic.session import Session
from tests.evaluation.test_compare_exact import compared
from tests.models import rows
from tests.session.test_session import loaded, trained

MANY = [f"What is {number} and {number}?" for number in range(40)]


@pytest.fixture(scope="module")
def session(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A small base with two adapters."""
    with pytest.MonkeyPatch.context() as here:
        here.chdir(tmp_path_factory.mktemp("runs"))
        made = loaded(tiny_folder, bits=32)
        trained(made, "first", lr=2e-2, max_steps=8)
        trained(made, "mine", lr=2e-2, max_steps=12, data=rows(60), system="Be brief.")
    return made


def shown(session: Session, stop: Any = lambda so_far: False, **options: Any) -> tuple[list[Comparison], Comparison]:
    """What was shown on the way, and what came of it; interrupted when `stop` of what is shown is true."""
    seen: list[Comparison] = []

    def show(so_far: Comparison) -> None:
        seen.append(so_far)
        if stop(so_far):
            raise KeyboardInterrupt

    settings = {"prompts": MANY, "adapters": "base,mine", "max_new_tokens": 12} | options
    return seen, session.compare(CompareConfig.of(settings), Progress("comparing"), {}, show)


def test_answers_are_shown_one_by_one_as_they_end(session: Session) -> None:
    seen, made = shown(session)
    assert len(seen) == 2 * len(MANY)
    assert [len(so_far.rows) for so_far in seen[:3]] == [1, 2, 3]
    assert all(list(row.outputs) == ["base"] for row in seen[2].rows)
    final = {row.prompt: row.outputs for row in made.rows}
    assert all(
        final[row.prompt][name] == said for so_far in seen for row in so_far.rows for name, said in row.outputs.items()
    )
    assert seen[-1].rows[-1].outputs == final[seen[-1].rows[-1].prompt]
    assert [row.prompt for row in made.rows] == MANY


def test_an_interrupt_keeps_the_rows_that_every_column_has_answered(session: Session) -> None:
    before = [row.outputs for row in compared(session, "base,mine", MANY, max_new_tokens=12).rows]
    count = 0

    def after_fifty(so_far: Comparison) -> bool:
        nonlocal count
        count += 1
        return count == 50

    _, made = shown(session, after_fifty)
    assert made.interrupted and made.asked == 40
    assert 0 < len(made.rows) < 40
    assert f"interrupted: {len(made.rows)} of 40 rows were answered" in made.notes
    expected = dict(zip(MANY, before, strict=True))
    assert all(row.outputs == expected[row.prompt] for row in made.rows)
    assert made.measures is not None and made.measures.measures[0].values["mine"].rows == len(made.rows)
    assert [row.outputs for row in compared(session, "base,mine", MANY, max_new_tokens=12).rows] == before


def test_an_interrupt_before_any_row_is_whole_is_an_interrupt(session: Session) -> None:
    active = session.active
    with pytest.raises(KeyboardInterrupt):
        shown(session, lambda so_far: True)
    assert session.active == active


def test_an_interrupt_while_the_16_bit_base_answers_keeps_the_other_columns(tiny_folder: Path) -> None:
    small = loaded(tiny_folder, bits=4)
    trained(small, "mine")
    stop = lambda so_far: any("base-16bit" in row.outputs for row in so_far.rows)  # noqa: E731
    _, made = shown(small, stop, adapters="base-16bit,base,mine", prompts=MANY[:5])
    assert made.adapters == ("base", "mine")
    assert len(made.rows) == 5 and not made.interrupted
    assert made.notes == ("interrupted: all rows were answered; base-16bit was not asked",)


def test_numbers_come_by_what_the_references_are_and_by_name(session: Session) -> None:
    made = compared(session, "base,first,mine", prompts=None, measures=None)
    assert made.measures is not None
    assert made.measures.kind == "short" and made.measures.baseline == "base"
    names = [one.name for one in made.measures.measures]
    assert {"exact-match", "token-f1", "held-out-loss"} <= set(names)
    for one in made.measures.measures:
        assert set(one.values) == {"base", "first", "mine"} and "base" not in one.differences
    named = compared(session, "base,mine", prompts=None, measures="rouge-l,perplexity").measures
    assert named is not None and [one.name for one in named.measures] == ["rouge-l", "perplexity"]
    assert compared(session, "base,mine", prompts=None, measures="none").measures is None
    assert compared(session, "base,mine", measures=None).measures is None, (
        "four prompts without references tell nothing"
    )
    with pytest.raises(LoraError, match='no measure "rouge-9"'):
        compared(session, "base", measures="rouge-9")


def test_a_column_after_examples_is_measured_on_the_same_tokens(session: Session) -> None:
    made = compared(
        session, "base,base+2-shot,base+system,mine", prompts=None, system="Short.", measures="held-out-loss"
    )
    assert made.measures is not None
    (loss,) = made.measures.measures
    plain = compared(session, "base,mine", prompts=None, measures="held-out-loss").measures
    assert plain is not None
    assert loss.values["mine"].mean == pytest.approx(plain.measures[0].values["mine"].mean, rel=1e-3)
    assert len({round(value.mean, 4) for value in loss.values.values()}) == 4
    assert set(made.about) == {"base+2-shot", "base+system"}
    assert made.source == f"{len(made.rows)} held-out rows of the list"


def test_two_labels_are_ranked_by_their_odds(session: Session) -> None:
    told = [{"question": f"Is {i} odd?", "answer": "yes" if i % 2 else "no"} for i in range(24)]
    made = compared(session, "base,mine", prompts=told, measures="auc,label-accuracy", max_new_tokens=4)
    assert made.measures is not None
    assert [one.name for one in made.measures.measures] == ["label-accuracy", "auc"]
    auc = made.measures.measures[1]
    session.base.activate(None)
    odds = {
        row["question"]: nats(session, row["question"], "no") - nats(session, row["question"], "yes") for row in told
    }
    pairs = [
        (odds[yes["question"]], odds[no["question"]])
        for yes in told for no in told if (yes["answer"], no["answer"]) == ("yes", "no")
    ]  # fmt: skip
    wins = sum((yes > no) + 0.5 * (yes == no) for yes, no in pairs) / len(pairs)
    assert auc.values["base"].mean == pytest.approx(wins, abs=0.02)


def nats(session: Session, question: str, answer: str) -> float:
    """What an answer costs whatever is active, after the adapter's system text."""
    turns = (Turn("system", "Be brief."), Turn("user", question), Turn("assistant", answer))
    made = tokenise([Example(turns)], session.base.tokenizer, max_length=256).rows
    return session.base.losses(made)[0][0]


def test_general_prompts_count_where_the_base_is_right(session: Session) -> None:
    base = compared(session, "base", system="").rows
    told = [{"prompt": row.prompt, "answer": "nonsense that nobody says"} for row in base[:1]]
    told += [{"prompt": row.prompt, "answer": re.findall(r"\w+", row.outputs["base"])[0]} for row in base[1:]]
    Path("general.jsonl").write_text("\n".join(map(json.dumps, told)))
    made = compared(session, "base,mine", general="general.jsonl", max_new_tokens=64).forgetting
    assert made is not None
    assert (made.prompts, made.source) == (4, "4 rows of general.jsonl")
    assert made.right == 3
    assert made.kept["mine"] < made.right
    assert len(made.lost) == made.right - made.kept["mine"]
    assert {row.prompt for row in made.lost} <= {row["prompt"] for row in told[1:]}
    assert made.differences["mine"].verdict == f"{made.right} rows cannot tell"


def test_a_row_that_the_chat_template_refuses_costs_no_other_row() -> None:
    calls = [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": {}}}]},
             {"role": "tool", "content": "4"}]  # fmt: skip
    data = [
        {"messages": [{"role": "user", "content": f"What is {i}?"}, *(calls if i % 2 else []),
                      {"role": "assistant", "content": f"It is {i}."}]}
        for i in range(40)
    ]  # fmt: skip
    session = loaded(MODEL_DIR, bits=32)
    trained(session, "mine", data=data)
    refused = sum(any(turn.role == "tool" for turn in row.turns) for row in session.adapters["mine"].held_out)
    made = session.compare(CompareConfig(max_new_tokens=4), Progress("comparing"))
    assert refused and len(made.rows) == len(session.adapters["mine"].held_out) - refused
    assert any("left out: The chat template" in note for note in made.notes)
    assert session.merge(MergeConfig("mine", "merged"), lambda share, what: None).merged is not None
    looked = session.data(DataConfig(data=data), Progress("looking"), {})
    assert [issue.count for issue in looked.issues if issue.kind.startswith("too few")] == [looked.training_rows]


def test_what_is_looked_at_and_planned_for_is_what_a_run_uses(tiny_folder: Path) -> None:
    session = loaded(tiny_folder, bits=32)
    data = [{"question": "Why? " * (60 if i % 2 else 2) + str(i), "answer": "So."} for i in range(40)]
    options: dict[str, Any] = {"data": data, "max_length": 80}
    events: list[Event] = []
    session.train(TrainConfig(name="mine", batch=2, epochs=1, **options), [events.append], {}, lambda line: None)
    started = next(event for event in events if isinstance(event, Started))
    looked = session.data(DataConfig(**options), Progress("looking"), {})
    planned = session.plan(
        PlanConfig(model=session.base.facts.model, batch=2, epochs=1, **options), Progress("planning"), {}
    )
    assert started.training_rows < 32 and started.held_out_rows < 8
    assert (looked.training_rows, looked.held_out_rows) == (started.training_rows, started.held_out_rows)
    assert (planned.rows, planned.steps) == (started.training_rows, started.planned_steps)


def test_a_prompt_that_the_model_cannot_read_costs_no_other_row(session: Session) -> None:
    long = "Why? " * session.base.facts.max_length
    made = compared(session, "base,mine", prompts=["Why?", long, "How?"], max_new_tokens=4)
    assert [row.prompt for row in made.rows] == ["Why?", "How?"] and not made.interrupted
    assert len(made.notes) == 1 and made.notes[0].startswith('1 row is left out: The prompt "Why? Why?')
    assert [row.outputs for row in made.rows] == [
        row.outputs for row in compared(session, "base,mine", prompts=["Why?", "How?"], max_new_tokens=4).rows
    ]
    with pytest.raises(LoraError, match=r"tokens; .* takes"):
        compared(session, "base,mine", prompts=[long], max_new_tokens=4)
    general = [{"prompt": long, "answer": "x"}, {"prompt": "Why?", "answer": "x"}]
    forgotten = compared(session, "base,mine", prompts=["Why?"], general=general, max_new_tokens=4).forgetting
    assert forgotten is not None and forgotten.prompts == 1


def test_general_prompts_need_answers(session: Session) -> None:
    with pytest.raises(LoraError, match="need right answers"):
        compared(session, "base,mine", general=[{"prompt": "Why?"}])


def test_the_embedded_general_prompts_are_questions_with_a_word_to_say() -> None:
    told = [json.loads(line) for line in EMBEDDED.read_text().splitlines()]
    assert 40 <= len(told) == len({row["prompt"] for row in told})
    assert all(set(row) == {"prompt", "answer"} and len(row["answer"].split()) <= 2 for row in told)


@pytest.mark.parametrize(
    ("reference", "answer", "right"),
    [
        ("Paris", "The capital of France is Paris.", True),
        ("Paris", '{"answer": "paris"}', True),
        ("Paris", "Parisian", False),
        ("green apple", "A green, apple!", True),
        ("green apple", "apple green", False),
        ("4", "2 plus 2 is 44", False),
        ("5", "It is -5.", False),
        ("-5", "It is \u22125.", True),
        ("5", "It is 3.5.", False),
        ("1000", "It has 1,000 of them.", True),
        ("北京", "首都是北京。", True),
        ("东京", "首都是北京。", False),
        ("caf\u00e9", "Un cafe\u0301.", True),
        ("", "anything", False),
        ("...", "...", False),
    ],
)
def test_what_counts_as_right(reference: str, answer: str, right: bool) -> None:
    assert is_right(reference, answer) is right
