"""Sources: what a name or an object stands for, and what broken files say."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_magic.dataset.sources import Source, read, rows_from_text
from lora_magic.errors import LoraError

Write = Callable[[str, str | bytes], Path]

ROWS = [{"question": "Where?", "answer": "There, naïve 🙂"}, {"question": "When?", "answer": "Soon"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'question,answer\nWhere?,"There, naïve 🙂"\nWhen?,Soon\n'


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


FILES: dict[str, str | bytes] = {
    "a.jsonl": LINES,
    "a.ndjson": LINES.replace("\n", "\r\n\r\n"),
    "bom.jsonl": b"\xef\xbb\xbf" + LINES.encode(),
    "A B ü.JSONL": LINES,
    "a.json": json.dumps(ROWS),
    "array.jsonl": json.dumps(ROWS, indent=1),
    "held.json": json.dumps({"version": 1, "tags": ["x"], "data": ROWS}),
    "lines.json": LINES,
    "a.csv": CSV,
    "bom.csv": b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode(),
    "semicolons.csv": CSV.replace('"There, naïve 🙂"', "There. naïve 🙂").replace(",", ";").replace(".", ","),
    "a.tsv": "question\tanswer\nWhere?\tThere, naïve 🙂\n\nWhen?\tSoon\n",
    "a.parquet": parquet(ROWS),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_files(name: str, zipped: bool, write: Write) -> None:
    content = FILES[name]
    data = content if isinstance(content, bytes) else content.encode()
    path = write(name + ".gz", gzip.compress(data)) if zipped else write(name, data)
    assert read(str(path)) == read(path) == Source(path.name, ROWS)


def test_csv_is_read_as_text(write: Write) -> None:
    source = read(write("a.csv", "prompt,completion\n007,NA\nnull,\n1e5,true\n"))
    assert [tuple(row.values()) for row in source.rows] == [("007", "NA"), ("null", ""), ("1e5", "true")]


def test_csv_keeps_quoted_line_breaks_and_huge_fields(write: Write) -> None:
    huge = "x" * 300_000
    source = read(write("a.csv", f'prompt,completion\n"one\ntwo, three",{huge}\n'))
    assert source.rows == [{"prompt": "one\ntwo, three", "completion": huge}]


BROKEN: dict[str, tuple[str, str | bytes, str]] = {
    "broken line": (
        "t.jsonl",
        LINES + '{"a": 1 "b": 2}\n',
        r"t\.jsonl line 3: not JSON \(Expecting ',' delimiter",
    ),
    "broken json": (
        "t.json",
        '[\n {"a": 1},\n {"a" 2}\n]',
        r"t\.json line 3: not JSON \(Expecting ':' delimiter at",
    ),
    "truncated": ("t.jsonl", LINES[:-4], "line 2: not JSON"),
    "array line": ("t.jsonl", LINES + "[1, 2]\n", "line 3: a JSON array, not an object"),
    "number line": ("t.jsonl", "17\n", "line 1: a JSON number"),
    "latin-1": (
        "t.jsonl",
        LINES.encode() + '{"a": "é"}'.encode("latin-1"),
        r"line 3: not UTF-8 \(byte 0xe9\)",
    ),
    "latin-1 csv": ("t.csv", "a,b\n1,2\n3,é\n".encode("latin-1"), "line 3: not UTF-8"),
    "utf-16": ("t.csv", CSV.encode("utf-16"), "UTF-16"),
    "deep": ("t.jsonl", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "line 1: nested too deeply"),
    "long number": ("t.jsonl", '{"a": ' + "1" * 5000 + "}", "line 1: not usable"),
    "empty": ("t.jsonl", "", r"t\.jsonl has no rows"),
    "blank": ("t.json", " \n", "no rows"),
    "empty array": ("t.json", "[]", "no rows"),
    "header only": ("t.csv", "prompt,completion\n", "no rows"),
    "no array": ("t.json", '{"a": [1, 2]}', "no array of objects"),
    "two arrays": ("t.json", '{"a": [{}], "b": [{}]}', r"2 arrays of objects \(a, b\)"),
    "json number": ("t.json", "3", "holds a JSON number"),
    "not an object": ("t.json", '[{"a": 1}, "x"]', "item 2: a JSON string"),
    "too many fields": ("t.csv", "a,b\n1,2\n3,4,5\n", r"line 3: 3 fields where the header has 2"),
    "too few fields": ("t.csv", "a,b\n1\n", "line 2: 1 fields"),
    "open quote": ("t.csv", 'a,b\n1,"2\n3,4\n', "unexpected end of data"),
    "column twice": ("t.csv", "a,a\n1,2\n", 'the column "a" is there twice'),
    "not gzip": ("t.jsonl.gz", LINES, "cannot be read"),
    "cut gzip": ("t.jsonl.gz", gzip.compress(LINES.encode())[:-9], "cannot be read"),
    "not parquet": ("t.parquet", LINES, "not a readable Parquet file"),
    "unknown": ("t.docx", "x", r"t\.docx is not a kind of file"),
    "no suffix": ("rows", "x", "not a kind of file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_one_line(case: str, write: Write) -> None:
    name, content, message = BROKEN[case]
    with pytest.raises(LoraError, match=message) as error:
        read(str(write(name, content)))
    assert "\n" not in str(error.value)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.binary(max_size=80),
    suffix=st.sampled_from(["jsonl", "json", "csv", "tsv", "parquet", "jsonl.gz"]),
)
def test_no_bytes_are_more_than_one_line(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"noise.{suffix}"
    path.write_bytes(data)
    try:
        assert all(isinstance(row, dict) for row in read(path).rows)
    except LoraError as error:
        assert "\n" not in str(error)


def test_paths(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("my data/a file.jsonl", LINES)
    monkeypatch.chdir(path.parent.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    for name in (
        "my data/a file.jsonl",
        "./my data/a file.jsonl",
        "~/a file.jsonl",
        " my data/a file.jsonl ",
    ):
        assert read(name).rows == ROWS
    assert read(Path("~/a file.jsonl")).rows == ROWS


def test_a_missing_file_suggests_the_nearest(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write("tickets.jsonl", LINES).parent)
    for wrong, right in (
        ("tickts.jsonl", "tickets.jsonl"),
        ("tiket_rows", "ticket_rows"),
        ("pirat", "pirate"),
    ):
        with pytest.raises(LoraError) as error:
            read(wrong, variables={"ticket_rows": ROWS, "x": 3}, embedded={"pirate": Path("p")})
        assert wrong in error.value.problem and f'"{right}"' in error.value.remedy
    with pytest.raises(LoraError, match=r'There is no file "nowhere\.jsonl"'):
        read(Path("nowhere.jsonl"))
    for odd in ("", "x" * 5000, "a\0b", "nowhere/at/all.csv"):
        with pytest.raises(LoraError):
            read(odd)


def test_two_matches_say_how_to_choose(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write("rows", LINES).parent)
    with pytest.raises(LoraError, match='"rows" is a file and a variable') as error:
        read("rows", variables={"rows": ROWS})
    assert "./rows" in error.value.remedy and "rename the variable" in error.value.remedy
    with pytest.raises(LoraError, match="a variable and an embedded set"):
        read("pirate", variables={"pirate": ROWS}, embedded={"pirate": Path("p")})
    with pytest.raises(LoraError, match="not a kind of file"):
        read("rows", variables={"rows": 3})


def test_a_variable_that_cannot_be_rows_is_named() -> None:
    with pytest.raises(LoraError, match='The variable "x" is an int, not rows'):
        read("x", variables={"x": 3})
    with pytest.raises(LoraError, match="No file, variable"):
        read("_x", variables={"_x": ROWS})
    with pytest.raises(LoraError, match="the dict is a dict, not rows"):
        read({"a": 1})
    with pytest.raises(LoraError, match="item 2 is a NoneType"):
        read("x", variables={"x": [ROWS[0], None]})
    with pytest.raises(LoraError, match="x has no rows"):
        read("x", variables={"x": []})


def test_objects() -> None:
    assert read("rows", variables={"rows": ROWS}) == Source("rows", ROWS)
    assert read(tuple(ROWS)).rows == ROWS
    assert read(["one", "two"]).rows == [{"text": "one"}, {"text": "two"}]


def test_dataframe() -> None:
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({"q": ["a", None], "n": [1, 2], "f": [0.5, np.nan], "t": [pd.NaT, pd.NaT]})
    frame["turns"] = pd.Series([np.array([{"role": "user"}]), None])
    rows = read("frame", variables={"frame": frame}).rows
    assert rows[0] == {"q": "a", "n": 1, "f": 0.5, "t": None, "turns": [{"role": "user"}]}
    assert rows[1] == {"q": None, "n": 2, "f": None, "t": None, "turns": None}
    with pytest.raises(LoraError, match='the column "a" twice'):
        read(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_datasets() -> None:
    import datasets

    whole = datasets.Dataset.from_list(ROWS)
    assert read(whole).rows == ROWS
    assert read("d", variables={"d": whole.with_format("numpy")}).rows == ROWS
    both = read(datasets.DatasetDict(train=whole, test=whole.select([1])))
    assert (both.rows, both.held_out) == (ROWS, ROWS[1:]) and "test" in both.notes[0]
    assert read(datasets.DatasetDict(all=whole)).held_out is None
    with pytest.raises(LoraError, match='no "train" split'):
        read(datasets.DatasetDict(a=whole, b=whole))


def test_folders(write: Write, tmp_path: Path) -> None:
    folder = write("one/notes.md", "x").parent
    with pytest.raises(LoraError, match=r"no data file \(notes.md\)"):
        read(folder)
    write("one/a.csv", CSV)
    assert read(str(folder)).rows == ROWS
    write("one/b.csv", CSV)
    with pytest.raises(LoraError, match=r"several data files \(a.csv, b.csv\)"):
        read(folder)
    write("one/train.jsonl", LINES)
    assert (read(folder).rows, read(folder).held_out) == (ROWS, None)
    write("one/test.json", json.dumps(ROWS[:1]))
    source = read("demo-set", embedded={"demo-set": folder})
    assert (source.name, source.held_out, source.notes) == ("demo-set", ROWS[:1], ("held out: test.json",))
    write("one/validation.jsonl.gz", gzip.compress(LINES.encode()))
    assert read(folder).notes == ("held out: validation.jsonl.gz", "not used: test.json")
    write("one/train.csv", CSV)
    with pytest.raises(LoraError, match="more than one of a kind"):
        read(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoraError, match="it is empty"):
        read(tmp_path / "empty")


def test_shards(write: Write) -> None:
    write("s/train-00001-of-00002.parquet", parquet(ROWS[1:]))
    folder = write("s/train-00000-of-00002.parquet", parquet(ROWS[:1])).parent
    assert read(folder).rows == ROWS


def test_rows_from_text() -> None:
    assert rows_from_text("\n" + LINES) == rows_from_text(json.dumps(ROWS)) == ROWS
    assert rows_from_text('{"a": 1, "a": 2}') == [{"a": 2}]
    with pytest.raises(LoraError, match="cell line 2: not JSON"):
        rows_from_text('{"a": 1}\nlearning_rate: 3', "cell")
    with pytest.raises(LoraError, match="body has no rows"):
        rows_from_text(" \n", "body")
