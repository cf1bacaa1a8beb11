"""What can be asked: held-out rows, texts, files, variables, cells; and what goes before the prompts."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lora_magic.config import CompareConfig, TrainConfig
from lora_magic.dataset.examples import Example, Turn
from lora_magic.dataset.prepare import read_sides
from lora_magic.dataset.sources import from_text
from lora_magic.errors import LoraError
from lora_magic.evaluation.asked import Questions, questions, with_system
from lora_magic.evaluation.columns import Column, columns, prompting
from lora_magic.magics.compare import LoraCompare
from tests.models import rows

ROWS = [{"question": "One?", "answer": "First."}, {"question": "Two?", "answer": "Second."}]


class Run:
    """An adapter as the comparison sees it."""

    name, key, template = "mine", "adapter1", None

    def __init__(self, system: str | None = None, data: Any = None, held_out: tuple[Example, ...] = ()) -> None:
        self.system, self.source, self.held_out = system, "sums", held_out
        self.settings: TrainConfig | None = None
        self.content_hash = ""
        if data is not None:
            self.settings = TrainConfig(name="mine", data=data, system=system)
            sides = read_sides(self.settings, {}, {})
            self.held_out, self.content_hash = tuple(sides.held_out), sides.content_hash


def asked(prompts: Any, run: Any = None, variables: dict[str, object] | None = None, **options: Any) -> Questions:
    return questions(CompareConfig.of({"prompts": prompts, **options}), run, variables or {})


def said(found: Questions) -> list[tuple[str, str | None]]:
    return [(one.prompt, one.reference) for one in found.asked]


def test_held_out_rows_are_asked_up_to_a_number() -> None:
    run = Run(data=rows(60))
    found = asked(None, run, rows=5)
    assert len(found.asked) == 5
    assert found.source == f"5 of {len(run.held_out)} held-out rows of sums"
    assert said(found)[0] == (run.held_out[0].prompt, run.held_out[0].reference)
    assert found.asked[0].context[-1].role == "user"


@pytest.mark.parametrize("prompts", ["Why?", ["Why?"], ("Why?", "  ")])
def test_texts_are_prompts(prompts: Any) -> None:
    found = asked(prompts)
    assert said(found) == [("Why?", None)]
    assert found.source == "1 prompt of your own"


def test_written_prompts_are_all_asked_unless_a_number_is_given() -> None:
    many = [f"{number}?" for number in range(100)]
    assert len(asked(many).asked) == 100
    assert len(asked(many, rows=3).asked) == 3


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    Path("asked.txt").write_text("One?\n\n  Two?\t\nThree, after a blank line?\n\n\nFour?\n")
    assert said(asked("asked.txt")) == said(asked(Path("asked.txt")))
    assert [prompt for prompt, _ in said(asked("asked.txt"))] == [
        "One?", "Two?", "Three, after a blank line?", "Four?",
    ]  # fmt: skip


def test_a_file_or_a_variable_of_texts_is_asked_up_to_the_number_of_rows() -> None:
    Path("many.txt").write_text("\n".join(f"{number}?" for number in range(100)))
    assert len(asked("many.txt").asked) == 64
    assert asked("many.txt", rows=2).source == "2 of 100 prompts of many.txt"
    assert asked("texts", variables={"texts": ["A?", "B?", "C?"]}, rows=2).source == "2 of 3 prompts of texts"
    Path("blank.txt").write_text(" \n\n")
    with pytest.raises(LoraError, match=r"blank\.txt (holds no prompt|has no rows)"):
        asked("blank.txt")


def test_files_and_variables_of_rows_bring_their_references() -> None:
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    Path("rows.csv").write_text("question,answer\nOne?,First.\nTwo?,Second.\n")
    expected = [("One?", "First."), ("Two?", "Second.")]
    assert said(asked("rows.jsonl")) == said(asked("rows.csv")) == said(asked(ROWS)) == expected
    assert said(asked(pd.DataFrame(ROWS))) == expected
    held = {"kept": ROWS, "frame": pd.DataFrame(ROWS), "texts": ["A?", "B?"]}
    assert said(asked("kept", variables=held)) == said(asked("frame", variables=held)) == expected
    assert said(asked("texts", variables=held)) == [("A?", None), ("B?", None)]
    assert asked("rows.csv", rows=1).source == "1 of 2 rows of rows.csv"
    Path("folder").mkdir()
    Path("folder/one.jsonl").write_text(json.dumps(ROWS[0]))
    assert asked("folder/").source.startswith("1 row of folder")
    assert asked("folder").source == "1 prompt of your own", "a word is a prompt"


def test_rows_without_answers_are_prompts_too() -> None:
    assert said(asked([{"prompt": "One?"}, {"prompt": "Two?"}])) == [("One?", None), ("Two?", None)]


def test_a_blank_row_among_prompts_is_skipped_and_told() -> None:
    found = asked([{"prompt": "One?"}, {"prompt": " "}, {"prompt": None}, {"prompt": "Two?"}])
    assert said(found) == [("One?", None), ("Two?", None)]
    assert found.notes == ("2 blank rows skipped",)
    table = pd.DataFrame({"prompt": ["One?", "Two?"], "answer": [float("nan"), float("nan")]})
    assert said(asked("table", variables={"table": table})) == [("One?", None), ("Two?", None)]


def test_prompts_beside_columns_that_are_no_answers_are_asked_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("id,prompt,topic\n1,One?,sums\n2,Two?,sums\n")
    found = asked("ids.csv")
    assert said(found) == [("One?", None), ("Two?", None)]
    assert found.notes == ("prompt alone is asked; not read: id, topic",)


def test_a_json_list_of_texts_is_a_list_of_prompts() -> None:
    Path("asked.json").write_text('["One?", "  Two?\\n", ""]')
    assert said(asked("asked.json")) == said(asked(Path("asked.json"))) == [("One?", None), ("Two?", None)]
    assert asked("asked.json").source == "2 prompts of asked.json"
    Path("rows.json").write_text('[{"prompt": "Three?", "answer": "3"}]')
    assert said(asked("rows.json")) == [("Three?", "3")]
    for text, words in (("[]", "holds no prompt"), ('["One?"', "rows|JSON|json")):
        Path("broken.json").write_text(text)
        with pytest.raises(LoraError, match=words):
            asked("broken.json")


def test_half_a_surrogate_pair_is_replaced_as_in_training() -> None:
    assert said(asked(["half \ud83d"])) == said(asked([{"prompt": "half \ud83d"}])) == [("half \ufffd", None)]
    assert with_system((), "half \ud83d")[0].content == "half \ufffd"


def test_a_tilde_before_nobody_s_name_begins_a_prompt() -> None:
    assert said(asked("~nobodyofthatname")) == [("~nobodyofthatname", None)]


def test_an_embedded_set_is_asked_on_its_held_out_part() -> None:
    found = asked("demo-json")
    assert found.source == "60 held-out rows of demo-json"
    assert all(reference and json.loads(reference) for _, reference in said(found))


def test_a_conversation_is_asked_up_to_its_last_answer() -> None:
    turns = [("user", "Hi."), ("assistant", "Hello."), ("user", "And now?"), ("assistant", "Bye.")]
    found = asked([{"messages": [{"role": role, "content": content} for role, content in turns]}])
    assert said(found) == [("And now?", "Bye.")]
    assert [turn.content for turn in found.asked[0].context] == ["Hi.", "Hello.", "And now?"]


@pytest.mark.parametrize(
    ("prompts", "run", "words"),
    [
        (None, None, "nothing to compare on yet"),
        (None, Run(), "mine was not trained here.*known"),
        (None, Run(data=rows(2)), "held out no rows"),
        (None, Run(held_out=(Example((Turn("text", "a story"),)),)), "only plain text"),
        ("missing.jsonl", None, 'called "missing.jsonl"|no file "missing.jsonl"'),
        ([{"a": 1, "b": 2}], None, "columns.*Name the column that holds them prompt"),
        ([{"prompt": "One?"}, {"prompt": 2}], None, "columns"),
        ([{"id": 1, "prompt": "One?", "question": "Two?"}, {"id": 2, "prompt": "Three?"}], None, "column"),
    ],
)
def test_what_cannot_be_asked_is_refused(prompts: Any, run: Any, words: str) -> None:
    with pytest.raises(LoraError, match=words):
        asked(prompts, run)


def test_a_cell_holds_prompts_or_rows() -> None:
    magic = LoraCompare()
    assert magic.from_body("One?\n\n Two? ", {}) == {"prompts": ["One?", "Two?"]}
    made = magic.from_body("\n".join(map(json.dumps, ROWS)), {})
    assert said(asked(made["prompts"])) == [("One?", "First."), ("Two?", "Second.")]
    with pytest.raises(LoraError, match="in the cell and in --prompts"):
        magic.from_body("One?", {"prompts": "kept"})


def test_the_line_takes_a_variable_of_any_kind() -> None:
    frame = pd.DataFrame(ROWS)
    given = LoraCompare().parser.parse("--prompts $frame --measures none", {"frame": frame})
    assert given["prompts"] is frame
    assert CompareConfig.of(given).wanted == []


@pytest.mark.parametrize("value", [7, True, {"prompt": "x"}, ["a", 1], [["a"]], [{"prompt": "x"}, "y"]])
def test_prompts_of_another_kind_are_refused(value: Any) -> None:
    with pytest.raises(LoraError, match="must be text, a list of texts or rows"):
        CompareConfig(prompts=value)


def test_names_of_columns() -> None:
    found = columns(["base", "base+system", "base+3-shot", "base+system+2-shot", "base-16bit", "mine"], {"mine": Run()})
    assert found == [
        Column("base"), Column("base+system", system=True), Column("base+3-shot", shots=3),
        Column("base+system+2-shot", system=True, shots=2), Column("base-16bit", wide=True), Column("mine", "adapter1"),
    ]  # fmt: skip
    assert columns(["base-16bit"], {"base-16bit": Run()}) == [Column("base-16bit", "adapter1")]


@pytest.mark.parametrize(
    "name", ["bse", "base+", "base+few-shot", "base+0-shot", "base+65-shot", "mine+system", "Base"]
)
def test_names_that_mean_nothing_are_refused(name: str) -> None:
    with pytest.raises(LoraError, match=r"There is no adapter|examples must be"):
        columns([name], {"mine": Run()})


def contexts(names: list[str], run: Run | None, system: str | None = None, **options: Any) -> dict[str, list[Any]]:
    """The turns that each column gets before and with the prompt "Why?", as (role, content)."""
    found = questions(CompareConfig.of({"prompts": "Why?"}), run, {})
    chosen = columns(names, {"mine": run} if run else {})
    made = prompting(chosen, system, options.get("seed", 0), run, found.asked, {})
    return {
        column.name: [(turn.role, turn.content) for turn in made.context(column, found.asked[0])] for column in chosen
    }


WHY = ("user", "Why?")


def test_one_system_text_goes_to_all_columns_unless_a_column_has_it_by_name() -> None:
    run = Run(system="As trained.")
    as_trained, given = [("system", "As trained."), WHY], [("system", "Be brief."), WHY]
    assert contexts(["base", "mine"], run) == {"base": as_trained, "mine": as_trained}
    assert contexts(["base", "mine"], run, "Be brief.") == {"base": given, "mine": given}
    assert contexts(["base", "mine"], run, "") == {"base": [WHY], "mine": [WHY]}
    assert contexts(["base", "base+system", "mine"], run) == {
        "base": [WHY], "base+system": as_trained, "mine": as_trained,
    }  # fmt: skip
    assert contexts(["base", "base+system", "mine"], run, "Be brief.") == {
        "base": [WHY], "base+system": given, "mine": as_trained,
    }  # fmt: skip
    assert contexts(["base", "base+system"], None, "Be brief.") == {"base": [WHY], "base+system": given}
    with pytest.raises(LoraError, match="needs a system text"):
        contexts(["base+system"], Run())


def test_examples_are_training_rows_chosen_by_the_seed() -> None:
    run = Run(data=rows(60))
    held_out = {row.prompt for row in run.held_out}
    found = contexts(["base+3-shot", "base+5-shot"], run)
    three, five = found["base+3-shot"], found["base+5-shot"]
    assert [role for role, _ in three] == ["user", "assistant"] * 3 + ["user"]
    assert three[:6] == five[:6] and three[-1] == WHY
    pairs = {(three[i][1], three[i + 1][1]) for i in (0, 2, 4)}
    assert len(pairs) == 3
    assert pairs <= {(row["question"], row["answer"]) for row in rows(60)}
    assert not {question for question, _ in pairs} & held_out
    assert contexts(["base+3-shot"], run)["base+3-shot"] == three
    assert contexts(["base+3-shot"], run, seed=1)["base+3-shot"] != three


def test_the_system_text_stands_before_the_examples() -> None:
    made = contexts(["base+system+1-shot"], Run(data=rows(60)), "Be brief.")["base+system+1-shot"]
    assert [role for role, _ in made] == ["system", "user", "assistant", "user"]


def test_examples_are_never_what_is_asked() -> None:
    run = Run(data=rows(12))
    prompts = [row["question"] for row in rows(12)][:-1]
    found = questions(CompareConfig.of({"prompts": prompts}), run, {})
    with pytest.raises(LoraError, match="training rows that can be examples"):
        prompting(columns(["base+3-shot"], {}), None, 0, run, found.asked, {})


def test_rows_that_have_changed_since_are_no_examples() -> None:
    run = Run(data=rows(60))
    assert run.settings is not None
    run.settings = run.settings.replace(data=rows(59))
    with pytest.raises(LoraError, match="has changed since mine was trained"):
        contexts(["base+1-shot"], run)


def test_what_a_column_was_asked_with_is_told() -> None:
    run = Run(data=rows(60))
    found = questions(CompareConfig.of({"prompts": "Why?"}), run, {})
    chosen = columns(["base", "base+system", "base+2-shot", "mine"], {"mine": run})
    made = prompting(chosen, "Be brief.", 0, run, found.asked, {})
    told = [made.about(column) for column in chosen]
    numbers = ", ".join(str(row.row) for row in made.examples)
    assert told == ["", 'with the system text "Be brief."', f"after training rows {numbers} as examples", ""]


def test_cells_that_look_like_rows_are_read_as_the_dataset_room_reads_them() -> None:
    source = from_text('{"question": "One?", "answer": "First."}')
    assert said(asked(source)) == [("One?", "First.")]
