"""Malformed inputs, made from a seed, and what becomes of them.

    python -m tests.benchmarks.malformed [--inputs 12000] [--seed 0]

Prints a table: kind of damage, inputs, how many were refused in one line, taken with rows left out and counted, and
taken whole.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from lora_magic.dataset.examples import examples
from lora_magic.dataset.sources import Source, read
from lora_magic.errors import LoraError

SUFFIXES = ("jsonl", "json", "csv", "tsv", "txt", "parquet")
OUTCOMES = ("refused", "skipped", "taken")
WORDS = (
    'where is my parcel naïve café 🙂 今日は привет it left on Monday, "quoted"; a\tb l\'été 3.5% <b> \\ {x} [y]'.split(
        " "
    )
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Input:
    """One malformed input.

    Attributes:
        number: which one of the series.
        kind: what is wrong with it.
        name: the file to write it to; "" for an object.
        value: the file's bytes, or the object.
    """

    number: int
    kind: str
    name: str
    value: Any


def inputs(count: int, seed: int = 0, start: int = 0, step: int = 1) -> Iterator[Input]:
    """Every `step`th of `count` inputs, over the kinds in turn; the same for the same seed."""
    for number in range(start, count, step):
        random = Random(f"{seed} {number}")
        kind = list(KINDS)[number % len(KINDS)]
        if kind == "odd objects":
            yield Input(number, kind, "", odd_object(random))
            continue
        suffix = random.choice(SUFFIXES)
        data = KINDS[kind](random, suffix)
        if random.random() < 0.1:
            zipped = gzip.compress(data, mtime=0)
            yield Input(number, kind, f"rows.{suffix}.gz", _damaged(zipped, random) if number % 3 == 0 else zipped)
        else:
            yield Input(number, kind, f"rows.{suffix}", data)


def text(random: Random) -> str:
    """Some words."""
    return " ".join(random.choices(WORDS, k=random.randint(1, 8)))


def rows(random: Random) -> list[Row]:
    """Rows that are whole: a few, or now and then enough that some may be broken."""
    count = random.randint(110, 160) if random.random() < 0.15 else random.randint(1, 12)
    shape = random.randrange(6)
    return [_row(random, shape) for _ in range(count)]


def _row(random: Random, shape: int) -> Row:
    asked, answered = text(random), text(random)
    if shape == 0:
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        return {"messages": turns * random.randint(1, 3)}
    if shape == 1:
        return {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answered}]}
    if shape == 2:
        return {"instruction": asked, "input": "", "output": answered, "id": random.randrange(99)}
    if shape == 3:
        return {"text": f"{asked}\n{answered}"}
    names = random.choice([("prompt", "completion"), ("question", "answer"), ("Input", "Output")])
    return {names[0]: asked, names[1]: answered}


def written(items: list[Row], suffix: str) -> bytes:
    """Rows as a file's bytes."""
    if suffix == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in items).encode("utf-8", "surrogatepass")
    if suffix == "json":
        return json.dumps(items, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    if suffix == "txt":
        return "\n\n".join(" ".join(map(str, row.values())) for row in items).encode("utf-8", "surrogatepass")
    if suffix == "parquet":
        return _parquet(items)
    out = io.StringIO(newline="")
    columns = list(items[0])
    writer = csv.DictWriter(out, columns, delimiter="," if suffix == "csv" else "\t", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({str(key): value for key, value in row.items()} for row in items)
    return out.getvalue().encode("utf-8", "surrogatepass")


def _parquet(items: list[Row]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    try:
        table = pyarrow.Table.from_pylist(items)
    except (pyarrow.ArrowException, UnicodeError, OverflowError, TypeError):
        table = pyarrow.Table.from_pylist(
            [{ascii(key): ascii(value)[:100] for key, value in row.items()} for row in items]
        )
    parquet.write_table(table, out)
    return out.getvalue()


def _damaged(data: bytes, random: Random) -> bytes:
    """Some bytes changed, cut out, or put in."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(changed) + 1)
        changed[at : at + random.choice((0, 1, 1, 5))] = random.randbytes(random.choice((0, 1, 1, 4)))
    return bytes(changed)


def _cut(random: Random, suffix: str) -> bytes:
    data = written(rows(random), suffix)
    return data[: random.randrange(len(data))]


def _nul(random: Random, suffix: str) -> bytes:
    data = written(rows(random), suffix)
    at = random.randrange(len(data))
    return data[:at] + b"\0" * random.choice((1, 1, 500)) + data[at:]


def _mixed(random: Random, suffix: str) -> bytes:
    """Parts of a file in another encoding than the rest, or all of it in an old one."""
    content = written(rows(random), "jsonl" if suffix == "parquet" else suffix).decode()
    codec = random.choice(("latin-1", "cp1251", "shift_jis", "gb18030", "utf-16-le", "utf-7"))
    other = [line.encode(codec, "replace") for line in content.split("\n")]
    if random.random() < 0.3:
        return b"\n".join(other)
    lines = [line.encode() for line in content.split("\n")]
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(lines))
        lines[at] = other[at] if random.random() < 0.7 else lines[at] + random.randbytes(3)
    return b"\n".join(lines)


def _ragged(random: Random, suffix: str) -> bytes:
    """Separators, quotation marks and line ends that are too many or missing."""
    data = written(rows(random), suffix)
    signs = (b",", b'"', b"\n", b"\t", b";", b"\r", b"'", b"{", b"]", b"\\", b":", b"\n\n")
    for _ in range(random.randint(1, 3)):
        at, sign = random.randrange(len(data) + 1), random.choice(signs)
        data = data[:at] + (sign if random.random() < 0.7 else b"") + data[at + (random.random() < 0.5) :]
    return data


def _deep(random: Random, suffix: str) -> bytes:
    depth = random.choice((50, 199, 201, 900, 5000))
    opening, closing = random.choice((("[", "]"), ('{"a":', "}"), ('[{"role": "user", "content":', "}]")))
    nested = opening * depth + '"x"' + closing * (depth if random.random() < 0.9 else depth - 1)
    if suffix in ("jsonl", "json"):
        lines = written(rows(random), "jsonl").decode().splitlines()
        lines.insert(random.randint(0, len(lines)), f'{{"messages": {nested}, "prompt": "a", "completion": "b"}}')
        return ("\n".join(lines) if suffix == "jsonl" else f"[{','.join(lines)}]").encode()
    return written([{"messages": nested}, *[{"messages": "[]"}] * 3], suffix)


def _huge(random: Random, suffix: str) -> bytes:
    items = rows(random)[:3]
    key = random.choice(list(items[0]))
    length = 140_000
    items[-1][key] = random.choice(("x", "a b\n", '"', "🙂", "[", "\u202e")) * length
    if random.random() < 0.3:
        items[0]["y" * length] = 1
    if random.random() < 0.3 and suffix in ("json", "jsonl"):
        return written(items, suffix).replace(b'"x', b"1" * 5000 + b'"x', 1)
    return written(items, suffix)


def _marks(random: Random, suffix: str) -> bytes:
    """Byte order marks that are right, wrong, doubled, or in the middle."""
    data = written(rows(random), suffix)
    mark = random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\xef\xbb"))
    way = random.randrange(5)
    if way == 0 and suffix != "parquet":
        return data.decode().encode(random.choice(("utf-16", "utf-32", "utf-8-sig")))
    if way == 1:
        return mark * 2 + data
    if way == 2:
        return data.replace(b"\n", b"\n" + mark)
    if way == 3:
        return mark
    return mark + data


def _twice(random: Random, suffix: str) -> bytes:
    """Keys and columns that are there twice."""
    items = rows(random)
    key = list(items[0])[-1]
    data = written(items, suffix)
    if suffix in ("csv", "tsv"):
        head, _, rest = data.partition(b"\r\n")
        return head + (b"," if suffix == "csv" else b"\t") + key.encode() + b"\r\n" + rest
    if suffix == "parquet":
        import pyarrow
        from pyarrow import parquet

        out = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array(["a", "b"])] * 2, names=[key, key]), out)
        return out.getvalue()
    again = f'{{"{key}": 3, ' if random.random() < 0.5 else f'{{"{key}": {{"a": 1, "a": 2}}, '
    return data.replace(b"{", again.encode(), random.choice((1, 2, -1)))


def _columns(random: Random, suffix: str) -> bytes:
    """Columns that mean nothing, are empty, or differ from row to row."""
    items = []
    for row in rows(random):
        items.append(row if random.random() < 0.5 else {random.choice(ODD_NAMES): value for value in row.values()})
    return written(items, suffix)


def _types(random: Random, suffix: str) -> bytes:
    """Values of the wrong types, and rows that are no objects."""
    items: list[Any] = rows(random)
    for _ in range(random.randint(1, 3)):
        row = random.choice(items)
        if isinstance(row, dict):
            row[random.choice(list(row))] = random.choice(ODD_VALUES)
    if suffix in ("json", "jsonl") and random.random() < 0.5:
        items.insert(random.randint(0, len(items)), random.choice(ODD_VALUES))
    if suffix == "json" and random.random() < 0.3:
        return json.dumps(random.choice(({"data": items}, {"a": items, "b": items}, {"x": {"y": items}}, 3))).encode()
    return written(items, suffix)


def _noise(random: Random, suffix: str) -> bytes:
    if random.random() < 0.5:
        return random.randbytes(random.choice((0, 1, 2, 30, 2000)))
    return bytes(random.choices(b'{}[]",:\n\t \\a1', k=random.choice((5, 40, 400))))


def _flipped(random: Random, suffix: str) -> bytes:
    return _damaged(written(rows(random), suffix), random)


ODD_NAMES = ("", " ", "a", "Prompt", "PROMPT ", "prompt\n", "chosen", "rejected", "\ud800", "<script>", "text", "role")
ODD_VALUES: tuple[Any, ...] = (
    None, True, 3, -1e308, float("nan"), float("inf"), "", " ", [], {}, [[]], [None], [3], {"role": "user"},
    [{"role": "user"}], [{"role": 3, "content": "x"}], [{"role": "assistant", "content": None}], "\ud83d", "\0",
    [{"role": "alien", "content": "x"}], [{"from": "gpt", "value": ["x"]}], "[1, 2", '[{"role": "user"}]', 10**400,
    [{"role": "user", "content": [{"type": "image"}]}], [{"role": "assistant", "content": "x", "tool_calls": 3}],
)  # fmt: skip

KINDS: dict[str, Callable[[Random, str], bytes]] = {
    "cut short": _cut,
    "wrong types": _types,
    "NUL bytes": _nul,
    "mixed encodings": _mixed,
    "ragged": _ragged,
    "deep nesting": _deep,
    "huge fields": _huge,
    "byte order marks": _marks,
    "keys twice": _twice,
    "wrong columns": _columns,
    "changed bytes": _flipped,
    "noise": _noise,
    "odd objects": _noise,
}


def odd_object(random: Random) -> Any:
    """Lists with items that are no rows or have odd keys and values."""
    items: list[Any] = rows(random)
    for _ in range(random.randint(1, 3)):
        row = random.choice([item for item in items if isinstance(item, dict)])
        row[random.choice((*ODD_NAMES, 3, None, (1, 2), *row))] = random.choice((*ODD_VALUES, b"\xff", {1}, print))
    if random.random() < 0.3:
        items.insert(random.randint(0, len(items)), random.choice((*ODD_VALUES, b"x", ("a",))))
    if random.random() < 0.1:
        return random.choice((tuple(items), iter(items), {"a": items}, None, 3, b"x", range(3), "", "\0", items[0]))
    return items


def outcome(made: Input, folder: Path, large: int | None = None) -> tuple[str, str, Source | None]:
    """Reads one input, and makes examples of it.

    Args:
        made: the input.
        folder: where its file is written, over the one before.
        large: as for `read`; None is its own.

    Returns:
        One of OUTCOMES; the refusal's text or ""; and the source, if there was one.
    """
    data = made.value
    if made.name:
        data = folder / made.name
        data.write_bytes(made.value)
    options = {} if large is None else {"large": large}
    source = None
    try:
        source = read(data, **options)
        found = examples(source.rows, system=None)
    except LoraError as error:
        return "refused", str(error), source
    skipped = found.skipped_count or any("skipped" in note or "twice" in note for note in source.notes)
    return ("skipped" if skipped else "taken"), "", source


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    slowest: dict[str, float] = {}
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        for made in inputs(options.inputs, options.seed):
            began = time.perf_counter()
            counts[made.kind, outcome(made, Path(folder))[0]] += 1
            slowest[made.kind] = max(slowest.get(made.kind, 0), time.perf_counter() - began)
    print(f"{'kind':<18}{'inputs':>8}" + "".join(f"{name:>9}" for name in OUTCOMES) + f"{'slowest':>10}")
    for kind in (*KINDS, "all"):
        found = [sum(n for (k, o), n in counts.items() if o == name and kind in (k, "all")) for name in OUTCOMES]
        slow = max(slowest.values()) if kind == "all" else slowest[kind]
        print(f"{kind:<18}{sum(found):>8,}" + "".join(f"{n:>9,}" for n in found) + f"{slow:>8.2f} s")


if __name__ == "__main__":
    main()
