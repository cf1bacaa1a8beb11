"""The cleaned copy: what is repaired and left out, what is not, the record, and where it may be written."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_magic.dataset.hygiene import write_fixed
from lora_magic.dataset.hygiene.rewrite import plain
from lora_magic.errors import LoraError
from lora_magic.results import FixedCopy

Row = dict[str, Any]

GOOD: list[Row] = [
    {"id": 1, "question": "Where is the harbour?", "answer": "It lies below the old wall, a short walk from here."},
    {"id": 2, "question": "Write a < b in words.", "answer": "a is less than b, and R&D stays R&D."},
    {"id": 3, "question": "How is bold written in HTML?", "answer": "Write <b>text</b> and &amp; for the sign."},
    {"id": 4, "question": "Wo liegt São Paulo?", "answer": "In Brasilien – „weit“ von hier… 你好 Ã."},
    {"id": 5, "question": "Is it open?", "answer": "Yes"},
    {"id": 6, "question": "Is it open?", "answer": "No"},
    {"id": 7, "question": "Show the code.", "answer": "```html\n<p>A &amp; B</p>\n<p>C</p>\n```"},
]


def fixed(rows: Any, folder: Path, name: str = "clean.jsonl", **given: Any) -> FixedCopy:
    options = {"overwrite": True, "source_path": None} | given
    return write_fixed(rows, options.pop("columns", {}), folder / name, **options)


def lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def replayed(rows: list[Row], changes: list[Row]) -> list[Row]:
    """The source with the record's changes made to it, each checked against what it says was there."""
    now: dict[int, Row | None] = {number: plain(row) for number, row in enumerate(rows, start=1)}
    for change in changes:
        assert now[change["row"]] == change["before"] and change["before"] != change["after"]
        now[change["row"]] = change["after"]
    return [row for row in now.values() if row is not None]


def test_good_rows_are_copied_as_they_are(tmp_path: Path) -> None:
    made = fixed(GOOD, tmp_path)
    assert (made.path, made.changes_path) == (tmp_path / "clean.jsonl", tmp_path / "clean.changes.jsonl")
    assert (made.rows, made.changes) == (len(GOOD), ())
    assert lines(made.path) == GOOD and lines(made.changes_path) == []


REPAIRS = [
    ("broken encoding", "A cafÃ© by the harbour.", "A café by the harbour."),
    ("terminal codes", "\x1b[1;31mA walk\x1b[0m and fish.", "A walk and fish."),
    ("HTML entities", "Fish &amp;amp; chips,&nbsp;&quot;fresh&quot; &eacute; &lt; 5", 'Fish & chips, "fresh" é &lt; 5'),
    ("HTML tags", "<p>A walk.</p><p>Then<br><a href='x'>fish</a> <b>now</b></p>", "A walk.\n\nThen\nfish now"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "before", "after"), REPAIRS)
def test_repairs(kind: str, before: str, after: str, tmp_path: Path) -> None:
    dirty = {"id": 8, "question": "What is there?", "answer": before}
    made = fixed([*GOOD, dirty], tmp_path)
    assert lines(made.path) == [*GOOD, {**dirty, "answer": after}]
    assert made.changes == ((kind, 1),)
    assert lines(made.changes_path) == [{"row": 8, "kind": kind, "before": dirty, "after": {**dirty, "answer": after}}]


def test_several_repairs_of_one_row_follow_each_other(tmp_path: Path) -> None:
    dirty = {"question": "What is \x1b[1mthere?", "answer": "<p>A cafÃ© &amp; more</p>"}
    made = fixed([*GOOD, dirty], tmp_path)
    assert lines(made.path)[-1] == {"question": "What is there?", "answer": "A café & more"}
    assert {kind for kind, _ in made.changes} == {kind for kind, *_ in REPAIRS}
    assert replayed([*GOOD, dirty], lines(made.changes_path)) == lines(made.path)


def test_messages_are_repaired_in_place(tmp_path: Path) -> None:
    talk = {
        "messages": [
            {"role": "user", "content": "<b>Which</b> cafÃ©?", "id": "cafÃ©"},
            {"role": "assistant", "content": "The cafÃ© <b>below</b> the wall &amp; the gate"},
        ],
        "note": "cafÃ©",
    }
    made = fixed([talk], tmp_path)
    (row,) = lines(made.path)
    assert [turn["content"] for turn in row["messages"]] == [
        "<b>Which</b> café?",
        "The café <b>below</b> the wall & the gate",
    ]
    assert (row["note"], row["messages"][0]["id"]) == ("cafÃ©", "cafÃ©"), "only what is said is touched"


def test_duplicates_and_unusable_rows_are_left_out(tmp_path: Path) -> None:
    long = "amber river copper moon velvet meadow falcon nest bramble harbour lantern thistle " * 2
    rows = [
        *GOOD,
        {"id": 8, "question": "Tell it.", "answer": long},
        {"id": 9, "question": "", "answer": "Nobody asked."},
        GOOD[0],
        {"id": 10, "question": "tell it", "answer": f"{long}!"},
        {"id": 11, "question": "What is left?", "answer": None},
        {"id": 12, "question": "Where is the cafÃ©?", "answer": "There it is."},
        {"id": 13, "question": "Where is the café?", "answer": "There it is."},
    ]
    made = fixed(rows, tmp_path)
    assert [row["id"] for row in lines(made.path)] == [1, 2, 3, 4, 5, 6, 7, 8, 12]
    assert dict(made.changes) == {
        "exact duplicates": 2, "near duplicates": 1, "rows that cannot be used": 2, "broken encoding": 1,
    }  # fmt: skip
    dropped = [change for change in lines(made.changes_path) if change["after"] is None]
    assert [change["row"] for change in dropped] == [9, 10, 11, 12, 14]


def test_html_that_most_answers_have_stays(tmp_path: Path) -> None:
    rows = [{"question": f"Which {i}?", "answer": f"<p>The <b>{i}th</b> one</p>"} for i in range(6)] + GOOD[:4]
    assert fixed(rows, tmp_path).changes == ()


def test_a_repair_never_empties_an_answer(tmp_path: Path) -> None:
    rows = [
        *GOOD,
        {"question": "What does it print?", "answer": "\x1b[0m"},
        {"question": "What?", "answer": "<br><br>"},
    ]
    assert lines(fixed(rows, tmp_path).path) == rows


def test_mapped_columns(tmp_path: Path) -> None:
    rows = [{"Q": "Where is it?", "A": "At the cafÃ©.", "question": "x", "answer": "cafÃ©"}]
    (row,) = lines(fixed(rows, tmp_path, columns={"prompt": "Q", "completion": "A"}).path)
    assert row == {**rows[0], "A": "At the café."}


class Lazy:
    """Rows that are made anew each time and never all there."""

    def __init__(self, count: int) -> None:
        self.count, self.passes = count, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        self.passes += 1
        for i in range(self.count):
            yield {"question": f"What is {i % 900}?", "answer": f"It is number {i % 900}, or cafÃ©."}


def test_lazy_rows_are_gone_through_and_not_kept(tmp_path: Path) -> None:
    rows = Lazy(1000)
    made = fixed(rows, tmp_path)
    assert (made.rows, dict(made.changes)) == (900, {"exact duplicates": 100, "broken encoding": 900})
    assert rows.passes > 1


def test_how_many_were_not_looked_at_for_near_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_magic.dataset.hygiene.near.MOST_EXAMPLES", 3)
    made = fixed(GOOD, tmp_path)
    assert made.rows == len(GOOD) and made.changes == (("not looked at for near duplicates", len(GOOD) - 3),)


def test_values_that_json_does_not_have(tmp_path: Path) -> None:
    row = {"question": "When?", "answer": "Then", "at": datetime.date(2024, 5, 1), "x": float("nan"), "half": "\ud83d"}
    nested: Any = "deep"
    for _ in range(5000):
        nested = [nested]
    rows = [
        row,
        {"question": "How deep?", "answer": "Very", "at": nested},
        {"question": "Big?", "answer": "y", "at": 9**9**5},
    ]
    made = fixed(rows, tmp_path)
    assert lines(made.path) == [{**row, "at": "2024-05-01", "x": None}]
    assert made.changes == (("rows that JSON cannot hold", 2),)


# --- properties

PIECES = [
    *(
        "a",
        "café",
        "cafÃ©",
        "Ã",
        "é",
        "â€™",
        "\x85",
        "&amp;",
        "&amp;amp;",
        "&lt;",
        "&#60;b>",
        "<b>",
        "</b>",
        "<br>",
        "<p>",
    ),
    *("</p>", "<", ">", "`", "```", "\x1b[1m", "\x1b", "html", " ", "\n", "one two three four", "5", "\ud800", "{"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def talk(said: tuple[str, str]) -> list[Row]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), said, strict=True)]


ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"question": TEXTS, "answer": st.one_of(TEXTS, st.none(), st.integers())}),
        st.fixed_dictionaries({"messages": st.tuples(TEXTS, TEXTS).map(talk)}),
        st.sampled_from(GOOD),
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(ROWS)
def test_the_record_replays_and_a_second_time_changes_nothing(tmp_path: Path, rows: list[Row]) -> None:
    try:
        made = fixed(rows, tmp_path)
    except LoraError as error:
        assert error.remedy
        return
    assert replayed(rows, lines(made.changes_path)) == lines(made.path)
    assert made.rows == len(lines(made.path))
    again = fixed(lines(made.path), tmp_path, "again.jsonl", source_path=made.path)
    assert again.changes == () and again.path.read_bytes() == made.path.read_bytes()


@RELAXED
@given(st.lists(st.sampled_from(range(len(GOOD))), min_size=1, max_size=20))
def test_no_good_row_is_lost(tmp_path: Path, order: list[int]) -> None:
    made = fixed([GOOD[i] for i in order], tmp_path)
    assert lines(made.path) == [GOOD[i] for i in dict.fromkeys(order)]


# --- where it may go


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "rows.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in GOOD))
    return path


@pytest.fixture
def spellings(source: Path) -> dict[str, Path]:
    """Other names of the source."""
    link, hard = source.parent / "link.jsonl", source.parent / "hard.jsonl"
    folder = source.parent.parent / "elsewhere"
    link.symlink_to(source)
    os.link(source, hard)
    folder.symlink_to(source.parent)
    dotted = source.parent / ".." / source.parent.name / source.name
    return {"itself": source, "dots": dotted, "link": link, "hard link": hard, "folder's link": folder / source.name}


@pytest.mark.parametrize("which", ["itself", "dots", "link", "hard link", "folder's link"])
def test_never_over_the_source(which: str, source: Path, spellings: dict[str, Path]) -> None:
    before = source.read_bytes()
    with pytest.raises(LoraError, match="never written to"):
        write_fixed(GOOD, {}, spellings[which], overwrite=True, source_path=source)
    with pytest.raises(LoraError, match="never written to"):
        write_fixed(GOOD, {}, source, overwrite=True, source_path=spellings[which])
    assert source.read_bytes() == before


def test_the_record_does_not_go_over_the_source_either(tmp_path: Path) -> None:
    path = tmp_path / "rows.changes.jsonl"
    path.write_text("{}")
    with pytest.raises(LoraError, match="never written to"):
        write_fixed(GOOD, {}, tmp_path / "rows.jsonl", overwrite=True, source_path=path)
    assert path.read_text() == "{}"


@pytest.mark.parametrize("pattern", [".", "*.jsonl", "**/*.jsonl"])
def test_not_into_a_folder_or_pattern_that_is_the_source(pattern: str, source: Path) -> None:
    with pytest.raises(LoraError, match="never written to"):
        write_fixed(GOOD, {}, source.parent / "new.jsonl", overwrite=True, source_path=source.parent / pattern)
    assert [path.name for path in source.parent.iterdir()] == [source.name]
    assert write_fixed(
        GOOD, {}, source.parent.parent / "new.jsonl", overwrite=False, source_path=source.parent / "*.jsonl"
    ).rows


def test_what_is_there_is_kept_unless_asked(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.jsonl"
    out.write_text("mine")
    with pytest.raises(LoraError, match=r"clean\.jsonl is there already.*--overwrite"):
        write_fixed(GOOD, {}, out, overwrite=False, source_path=source)
    assert out.read_text() == "mine"
    write_fixed(GOOD, {}, out, overwrite=True, source_path=source)
    assert lines(out) == GOOD
    out.unlink()
    with pytest.raises(LoraError, match=r"clean\.changes\.jsonl is there already"):
        write_fixed(GOOD, {}, out, overwrite=False, source_path=source)


@pytest.mark.parametrize("name", ["clean.csv", "clean", "clean.jsonl.gz"])
def test_a_name_that_promises_another_kind_of_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="JSON Lines"):
        fixed(GOOD, tmp_path, name)


def test_a_failure_on_the_way_leaves_nothing_behind(tmp_path: Path) -> None:
    class Failing(Lazy):
        def __iter__(self) -> Iterator[Row]:
            yield from super().__iter__()
            if self.passes == last:
                assert [path.name for path in tmp_path.iterdir() if ".partial" in path.name]
                raise KeyboardInterrupt

    whole = Lazy(50)
    fixed(whole, tmp_path / "other")
    last = whole.passes
    (tmp_path / "clean.jsonl").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fixed(Failing(50), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean.jsonl", "other"]
    assert (tmp_path / "clean.jsonl").read_text() == "old"


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LoraError):
        fixed(GOOD, tmp_path / "file")
