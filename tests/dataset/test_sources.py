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

from lora_magic.dataset.files import LARGE
from lora_magic.dataset.sources import Source, from_text, read
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
    assert read(str(path)) == read(path) == Source(path.name, ROWS, kind="file", reference=str(path))


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
    "mixed csv": ("t.csv", "a,b\n1,ü\n".encode() + "3,é\n".encode("latin-1"), "line 3: not UTF-8"),
    "mixed json": ("t.json", '[{"a": "ü"},\n{"a": "'.encode() + b'\xe9"}]', "line 2: not UTF-8"),
    "mixed text": ("t.txt", "ü\n\n".encode() + b"\xe9\n", "line 3: not UTF-8"),
    "no encoding": ("t.jsonl", bytes(range(128, 256)), r"line 1: not UTF-8 \(byte 0x80\)"),
    "cut utf-16": ("t.csv", CSV.encode("utf-16")[:-1], "line 3: not UTF-16"),
    "NUL": ("t.jsonl", LINES + '{"a": "\0"}\n', "line 3: a NUL character"),
    "NUL in a table": ("t.csv", "a,b\n1,\0\n", "line 2: a NUL character"),
    "NUL in UTF-16": ("t.txt", "a\n\nb\0".encode("utf-16"), "line 3: a NUL character"),
    "UTF-16 without a mark": ("t.csv", CSV.encode("utf-16-le"), "line 1: a NUL character.*UTF-16"),
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
    assert read("rows", variables={"rows": ROWS}) == Source("rows", ROWS, kind="variable", reference="rows")
    assert (read(ROWS).kind, read(ROWS).reference) == ("object", "")
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
    folder = write("one/README.md", "x").parent
    with pytest.raises(LoraError, match=r"no data file \(README.md\)"):
        read(folder)
    write("one/notes.md", "first\n\nsecond")
    assert read(folder).rows == [{"text": "first"}, {"text": "second"}]
    write("one/a.csv", CSV)
    assert read(str(folder)).rows == ROWS
    write("one/b.csv.gz", gzip.compress(CSV.encode()))
    both = read(folder)
    assert (both.rows, both.notes) == (ROWS * 2, ("2 files: a.csv, b.csv.gz",))
    assert (both.kind, both.reference) == ("folder", str(folder))
    write("one/c.jsonl", LINES)
    with pytest.raises(LoraError, match=r"several data files \(a.csv, b.csv.gz, c.jsonl\)"):
        read(folder)
    (folder / "c.jsonl").rename(folder / "test.csv")
    with pytest.raises(LoraError, match=r"several data files \(a.csv, b.csv.gz, test.csv\)"):
        read(folder)
    (folder / "test.csv").unlink()
    write("one/train.jsonl", LINES)
    assert (read(folder).rows, read(folder).held_out) == (ROWS, None)
    write("one/test.json", json.dumps(ROWS[:1]))
    source = read("demo-set", embedded={"demo-set": folder})
    assert (source.name, source.held_out, source.notes) == ("demo-set", ROWS[:1], ("held out: test.json",))
    assert (source.kind, source.reference) == ("embedded", "demo-set")
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


def test_rows_in_a_text() -> None:
    assert from_text("\n" + LINES).rows == from_text(json.dumps(ROWS)).rows == ROWS
    assert from_text('{"a": 1, "a": 2}').rows == [{"a": 2}]
    with pytest.raises(LoraError, match="cell line 2: not JSON"):
        from_text('{"a": 1}\nlearning_rate: 3', "cell")
    with pytest.raises(LoraError, match="body has no rows"):
        from_text(" \n", "body")


def test_a_cell() -> None:
    source = from_text('{"a": 1, "a": 2}\n\n{"a": 3}')
    assert (source.name, source.kind, source.rows) == ("the cell", "cell", [{"a": 2}, {"a": 3}])
    assert source.notes == ("1 line has a key twice, of which the last value is taken: 1",)


LEGACY = {
    "cp1252": "Où est le café ? Près de l’église, à côté de la forêt.",
    "cp1250": "Zażółć gęślą jaźń, proszę państwa, żeby było dobrze",
    "cp1251": "Привет, как дела? Это тест на русском языке",
    "cp1253": "Καλημέρα κόσμε, αυτό είναι ένα τεστ",
    "cp932": "日本語のテキスト、これはテストです",
    "gb18030": "这是中文文本测试，看看能不能识别出来",
    "big5": "這是中文文本測試看看",
    "cp949": "안녕하세요 이것은 테스트입니다",
}


@pytest.mark.parametrize("codec", LEGACY)
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "txt"])
def test_older_encodings_are_read_and_said(codec: str, suffix: str, write: Write) -> None:
    text = LEGACY[codec]
    content = {
        "jsonl": json.dumps({"a": text}, ensure_ascii=False),
        "json": json.dumps([{"a": text}], ensure_ascii=False),
        "csv": f'a\n"{text}"\n',
        "txt": text,
    }[suffix]
    source = read(write(f"t.{suffix}", content.encode(codec)))
    assert [*source.rows[0].values()] == [text]
    assert f"not UTF-8, read as {codec}" in source.notes[0] and text.split()[0][:4] in source.notes[0]


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "t.txt"])
def test_marked_encodings(name: str, codec: str, write: Write) -> None:
    text = FILES.get(name, "naïve 🙂\n\nnext")
    assert isinstance(text, str)
    plain, marked = read(write(name, text)), read(write("marked-" + name, text.encode(codec)))
    assert (plain.rows, plain.notes) == (marked.rows, marked.notes)


def test_big_endian_marks(write: Write) -> None:
    assert read(write("a.jsonl", b"\xfe\xff" + LINES.encode("utf-16-be"))).rows == ROWS
    assert read(write("b.jsonl", b"\0\0\xfe\xff" + LINES.encode("utf-32-be"))).rows == ROWS


def test_plain_text(write: Write) -> None:
    source = read(write("a.txt", "\ufeffone\r\n  two  \r\n\r\n \t\r\n\r\nthree\r\n"))
    assert source.rows == [{"text": "one\n  two"}, {"text": "three"}]
    assert "one row a paragraph" in source.notes[0]
    source = read(write("b.md", "\n# one\ntwo\n\n"))
    assert source.rows == [{"text": "# one"}, {"text": "two"}] and "one row a line" in source.notes[0]
    huge = "x" * 3_000_000
    assert read(write("c.txt", f"a\n\n{huge}\n\nb")).rows[1] == {"text": huge}


def numbered(count: int) -> list[str]:
    return [json.dumps({"prompt": str(number), "completion": "x"}) for number in range(1, count + 1)]


def test_a_few_broken_lines_are_skipped_and_named(write: Write) -> None:
    lines = numbered(1000)
    lines[16], lines[229], lines[999] = '{"prompt": ', "[1]", lines[999][:-3]
    source = read(write("t.jsonl", "\n".join(lines)))
    assert [row["prompt"] for row in source.rows] == [str(n) for n in range(1, 1000) if n not in (17, 230)]
    assert source.notes == (
        "2 lines skipped (not JSON): 17, 1,000",
        "1 line skipped (not an object with named columns): 230",
    )


def test_skipping_ends_where_a_file_is_not_sound(write: Write) -> None:
    lines = numbered(1000)
    lines[9] = "{"
    with pytest.raises(LoraError, match=r"t\.jsonl line 10: not JSON"):
        read(write("t.jsonl", "\n".join(lines)))
    lines = numbered(1000)
    for number in range(20, 31):
        lines[number] = "{"
    with pytest.raises(LoraError, match=r"line 21: not JSON .* 11 lines are broken"):
        read(write("t.jsonl", "\n".join(lines)))
    lines = numbered(20_000)
    for number in range(20, 121):
        lines[number] = "{"
    with pytest.raises(LoraError, match=r"line 21: not JSON .* More than 100 lines are broken"):
        read(write("t.jsonl", "\n".join(lines)))


def test_broken_rows_of_tables_arrays_and_mixed_encodings(write: Write) -> None:
    table = ["a,b", *(f"{number},x" for number in range(2, 1001))]
    table[49], table[69], table[70] = "50", '70,"two', 'lines"x'
    source = read(write("t.csv", "\n".join(table)))
    assert source.notes == (
        "1 line skipped (with more or fewer fields than the header): 50",
        "2 lines skipped (with quotation marks that do not match): 70, 71",
    )
    assert [row["a"] for row in source.rows] == [str(n) for n in range(2, 1001) if n not in (50, 70, 71)]
    items = [*numbered(150), "3"]
    source = read(write("t.json", f"[{', '.join(items)}]"))
    assert len(source.rows) == 150
    assert source.notes == ("1 item skipped (not an object with named columns): 151",)
    lines = [line.replace("x", "naïve").encode() for line in numbered(150)]
    lines[120] = '{"prompt": "é"}'.encode("latin-1")
    source = read(write("t.jsonl", b"\n".join(lines)))
    assert (len(source.rows), source.notes) == (149, ("1 line skipped (not UTF-8): 121",))


def test_keys_that_are_there_twice_are_counted(write: Write) -> None:
    lines = numbered(20)
    lines[2] = '{"prompt": "a", "prompt": "b", "completion": [{"x": 1, "x": 2}]}'
    source = read(write("t.jsonl", "\n".join(lines)))
    assert source.rows[2]["prompt"] == "b" and len(source.rows) == 20
    assert source.notes == ("1 line has a key twice, of which the last value is taken: 3",)


def test_deep_nesting_is_refused_where_python_takes_it(write: Write) -> None:
    deep = '{"a": ' + "[" * 300 + "]" * 300 + "}"
    with pytest.raises(LoraError, match="line 1: nested too deeply"):
        read(write("t.jsonl", deep))
    with pytest.raises(LoraError, match="item 1: nested too deeply"):
        read(write("t.json", f"[{deep}]"))
    many = '{"a": ' + "[" + ", ".join(["[{}]"] * 500) + "]}"
    assert len(read(write("t.jsonl", many)).rows) == 1


def test_patterns(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("data/b.jsonl", LINES)
    write("data/a.jsonl.gz", gzip.compress(b'{"prompt": "e"}'))
    write("data/c.csv", CSV)
    write("data/README.md", "x")
    write("data/deep/er/d.jsonl", LINES)
    (tmp_path / "data/deep/loop").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data/again.jsonl").symlink_to(tmp_path / "data/b.jsonl")
    source = read("data/*.jsonl*")
    assert source.rows == [{"prompt": "e"}, *ROWS]
    assert (source.kind, source.reference) == ("pattern", str(tmp_path / "data/*.jsonl*"))
    assert source.notes == ("2 files: a.jsonl.gz, again.jsonl",)
    assert read(source.reference).rows == read(tmp_path / "data/*.jsonl*").rows == source.rows
    assert read("data/**/d.jsonl").rows == ROWS
    assert read("data/**/*.csv").notes == ("1 file: c.csv",)
    with pytest.raises(LoraError, match=r"several kinds \(.csv, .jsonl\)"):
        read("data/*")
    with pytest.raises(LoraError, match="matches nothing"):
        read("data/*.parquet")
    for odd in ("data/***.jsonl", "[", "*", "/*/", "**", "x**/a", "data/[", "*\0"):
        with pytest.raises(LoraError):
            read(odd)
    write("odd/a[1].jsonl", LINES)
    assert read("odd/a[1].jsonl").kind == "file"
    write("odd/test.jsonl", LINES)
    assert read("odd/*.jsonl").notes[1] == "trained on as well: test.jsonl, by name a held-out part"


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(LoraError, match=r"pipe\.jsonl is not a regular file"):
        read("pipe.jsonl")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    with pytest.raises(LoraError):
        read("loop.jsonl")


def test_what_is_no_table_says_how_to_become_one() -> None:
    for value, remedy in (((row for row in ROWS), "list("), ({"a": [1]}, "DataFrame"), (3, "a list of dicts")):
        with pytest.raises(LoraError) as error:
            read("x", variables={"x": value})
        assert remedy in error.value.remedy
        with pytest.raises(LoraError) as error:
            read(value)
        assert remedy in error.value.remedy


def test_names_that_are_no_hub_ids(write: Write, tmp_path: Path) -> None:
    from lora_magic.dataset.hub import HubId, hub_id

    for text, parts in {
        "openai/gsm8k": (),
        "openai/gsm8k:main": ("main",),
        "openai/gsm8k:main:train": ("main", "train"),
        "openai/gsm8k::train[:100]": ("", "train[:100]"),
        "https://huggingface.co/datasets/openai/gsm8k": (),
    }.items():
        assert hub_id(text) == HubId("openai/gsm8k", parts)
    for text in ("gsm8k", "a/b/c", "./a/b", "/a/b", "a b/c", "a/b:c:d:e", "../x", "a/..", "é/x", "a/", "~/a"):
        assert hub_id(text) is None
    write("owner/name.jsonl", LINES)
    with pytest.raises(LoraError, match=r'"owner/nam.jsonl"\. Did you mean "owner/name.jsonl"'):
        read("owner/nam.jsonl")
    with pytest.raises(LoraError, match="Did you mean"):
        read("owner/name.json")
    write("owner/set/train.jsonl", LINES)
    assert read("owner/set").kind == "folder"
    assert read("own/set", embedded={"own/set": tmp_path / "owner/set"}).kind == "embedded"


def test_the_hub_is_asked_last_and_fails_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("owner/name", "owner/name:config", "owner/name:config:train"):
        with pytest.raises(LoraError, match=r"owner/name is not a file here, and the Hub is off") as error:
            read(name)
        assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


HUB_ERRORS: dict[str, tuple[Callable[[Any], Exception], str]] = {
    "gated": (lambda e: e.DatasetNotFoundError("'o/n' is a gated dataset on the Hub."), "is gated. Accept its terms"),
    "missing": (lambda e: e.DatasetNotFoundError("doesn't exist on the Hub"), "There is no data set o/n"),
    "unreachable": (lambda e: ConnectionError("no route"), "the Hub cannot be reached"),
    "config": (lambda e: ValueError("Config name is missing. Pick among: ['main', 'x']"), "such as o/n:main"),
    "script": (lambda e: RuntimeError("Dataset scripts are no longer supported\nx"), "which is never run"),
    "empty": (lambda e: e.DataFilesNotFoundError("x"), "no data files that can be read"),
    "broken": (lambda e: e.DatasetGenerationError("bad\nrows"), r"cannot be loaded \(bad\)"),
}


@pytest.mark.parametrize("case", HUB_ERRORS)
def test_what_the_hub_answers_is_one_line(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    make, message = HUB_ERRORS[case]

    def load_dataset(*args: Any, **options: Any) -> Any:
        raise make(datasets.exceptions)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(LoraError, match=message) as error:
        read("o/n")
    assert "\n" not in str(error.value)


def test_hub_data(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    whole = datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS), test=datasets.Dataset.from_list(ROWS[:1]))
    asked: list[Any] = []

    def load_dataset(name: str, config: str | None, split: str | None = None, *, token: object) -> Any:
        assert token is False  # a public data set asks for no token
        asked.append((name, config, split))
        return whole["train"].select([0]) if split else whole

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda name, token: ["main"])
    source = read("o/n")
    assert (source.rows, source.held_out, source.kind, source.reference) == (ROWS, ROWS[:1], "hub", "o/n")
    assert read("o/n:main").rows == ROWS and asked[-1] == ("o/n", "main", None)
    assert read("o/n:test").rows == ROWS[:1] and asked[-1] == ("o/n", None, None)
    assert read("o/n:main:train[:50%]").rows == ROWS[:1] and asked[-1] == ("o/n", "main", "train[:50%]")
    with pytest.raises(LoraError, match=r'no split "tset" \(it has train, test\). Did you mean "test"'):
        read("o/n:main:tset")


def test_a_private_data_set_is_asked_for_once_more_with_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[object] = []

    def load_dataset(name: str, config: str | None, split: str | None = None, *, token: object) -> Any:
        asked.append(token)
        if token is False:
            raise datasets.exceptions.DatasetNotFoundError("gated")
        return datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("lora_magic.hub_token._kept", ["hf_secret"])
    source = read("o/n")
    assert asked == [False, "hf_secret"] and source.rows == ROWS
    assert "hf_secret" not in repr(source)


LARGE_FILES = {
    "a.jsonl": "\n".join(numbered(300)),
    "a.json": "[" + ",\n".join(numbered(300)) + "]",
    "a.csv": "prompt,completion\n" + "\n".join(f'{n},"x\ny"' for n in range(1, 301)),
    "a.tsv": "prompt\tcompletion\n" + "\n".join(f"{n}\tx" for n in range(1, 301)),
    "a.txt": "\n\n".join(f"paragraph {n}" for n in range(1, 301)),
    "held.json": '{"rows": [' + ",\n".join(numbered(300)) + "]}",
}


@pytest.mark.parametrize("name", [*LARGE_FILES, "a.parquet"])
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_large_files_give_the_same_rows_without_keeping_them(name: str, zipped: bool, write: Write) -> None:
    data = LARGE_FILES[name].encode() if name in LARGE_FILES else parquet([json.loads(line) for line in numbered(300)])
    path = write(name + ".gz", gzip.compress(data)) if zipped else write(name, data)
    small, large = read(path), read(path, large=100)
    assert isinstance(small.rows, list) and not isinstance(large.rows, list)
    assert list(large.rows) == list(large.rows) == small.rows
    assert (len(large.rows), large.notes) == (300, small.notes)
    first, second = iter(large.rows), iter(large.rows)
    assert next(first) == next(second) == next(first) or next(second)


def test_a_large_file_skips_the_same_lines_each_time(write: Write) -> None:
    lines = numbered(300)
    lines[200], lines[210] = "{", '{"prompt": "é"}'
    data = "\n".join(lines).encode()
    path = write("t.jsonl", data)
    small, large = read(path), read(path, large=0)
    assert list(large.rows) == list(large.rows) == small.rows and len(large.rows) == 299
    assert large.notes == small.notes == ("1 line skipped (not JSON): 201",)


@pytest.mark.parametrize("change", ["appended", "rewritten", "gone", "during"])
def test_a_large_file_that_changed_is_an_error(change: str, write: Write) -> None:
    path = write("t.jsonl", "\n".join(numbered(300)) + "\n")
    rows = read(path, large=0).rows
    going = iter(rows)
    next(going)
    if change == "gone":
        path.unlink()
    else:
        path.write_text("\n".join(numbered(301 if change == "appended" else 299)))
    with pytest.raises(LoraError, match=r"t\.jsonl changed while it was in use"):
        list(going if change == "during" else rows)


def test_a_large_array_that_is_broken_names_its_line(write: Write) -> None:
    items = numbered(300)
    for broken, message in (
        (",\n".join(items), "line 300: not JSON"),
        (",\n".join(items).replace(",\n", "\n", 1) + "]", r"line 2: not JSON \(expecting"),
        (",\n".join([*items, '{"a" 2}']) + "]", "line 301: not JSON"),
        (",\n".join(items) + "]\nx", "line 301: not JSON"),
        (",\n".join([*items, '{"a": 1' + "0" * 5000 + "}"]) + "]", "line 301: .*digits"),
        ('{"a": 1}', r"line 1: not JSON \(expecting , or \] at character 10"),
    ):
        path = write("t.json", "[" + broken)
        for large in (0, LARGE):
            with pytest.raises(LoraError, match=message):
                read(path, large=large)
    source = read(write("t.json", "[" + ",\n".join([*items, "3"]) + "]"), large=0)
    assert source.notes == ("1 item skipped (not an object with named columns): 301",)


def test_a_value_that_lies_across_parts_is_whole(write: Write) -> None:
    values = ["x" * 700_000, "y" * 2_500_000, "z"]
    rows = [{"text": value} for value in values]
    assert read(write("t.json", json.dumps(rows, indent=2))).rows == rows
    with pytest.raises(LoraError, match=r"t\.json line 3: not UTF-8 \(byte 0xe9\)"):
        read(write("t.json", f'[{{"a": "ü{values[0]}"}},\n{{"a": "{values[1]}"}},\n"'.encode() + b'\xe9"]'))


def test_several_large_files_share_what_is_kept(write: Write) -> None:
    for name in "abc":
        write(f"d/{name}.jsonl", "\n".join(numbered(100)))
    whole = read("d")
    size = (Path("d") / "a.jsonl").stat().st_size
    part = read("d", large=size * 2)
    assert isinstance(whole.rows, list) and not isinstance(part.rows, list)
    assert list(part.rows) == list(part.rows) == whole.rows and len(part.rows) == 300


def test_large_tables_are_not_copied() -> None:
    import datasets
    import pandas as pd

    rows = [json.loads(line) for line in numbered(3000)]
    frame, whole = pd.DataFrame(rows), datasets.Dataset.from_list(rows)
    for table in (frame, whole, whole.with_format("numpy"), whole.to_iterable_dataset()):
        small, large = read(table), read(table, large=100)
        assert isinstance(small.rows, list) and not isinstance(large.rows, list)
        assert small.rows == rows == list(large.rows) == list(large.rows)
        assert len(large.rows) == 3000


def test_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    from lora_magic.dataset import objects

    def made() -> Any:
        yield from ROWS * 3

    stream = datasets.IterableDataset.from_generator(made)
    assert read("s", variables={"s": stream}).rows == ROWS * 3
    both = read(datasets.IterableDatasetDict({"train": stream, "test": stream.take(1)}))
    assert (both.rows, both.held_out) == (ROWS * 3, ROWS[:1])
    monkeypatch.setattr(objects, "MOST_STREAMED", 4)
    first = read(stream)
    assert (first.rows, first.notes) == (ROWS * 2, ("only the first 4 rows of the stream are used",))
    monkeypatch.setattr(objects, "MOST_STREAMED", 6)
    assert read(stream).notes == ()

    def failing() -> Any:
        yield ROWS[0]
        raise KeyError("gone\naway")

    with pytest.raises(LoraError, match="broke off after row 1") as error:
        read("s", variables={"s": datasets.IterableDataset.from_generator(failing)})
    assert "\n" not in str(error.value)
