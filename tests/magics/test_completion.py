"""Completion of a magic's line, as a pure function and through a shell of either age."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import IPython
import pytest
from IPython.core.interactiveshell import InteractiveShell

from lora_magic.magics import all_magics
from lora_magic.magics.completion import Offers, complete

MAGICS = {magic.name: magic for magic in all_magics()}
OFFERS = Offers(lambda: ["support", "two words"], lambda: ["frame", "rows"], lambda: ["old"])


def completed(line: str) -> list[str]:
    found = complete(line, MAGICS, OFFERS)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%lora_load d", ["demo"]),
        ("%lora_load demo --bi", ["--bits"]),
        ("%lora_load demo --bits ", ["4", "8", "16", "32", "auto"]),
        ("r = %lora_load demo --dtype fl", ["float16", "float32"]),
        ("%%lora_train --data r", ["rows"]),
        ("%lora_train --data demo-", ["demo-json", "demo-tone", "demo-sentiment"]),
        ("%lora_train support --rank 8 --meth", ["--method"]),
        ("%lora_train --method do", ["dora"]),
        ("%lora_train --rank ", []),
        ("%lora_train --target q_proj,v", ["q_proj,v_proj"]),
        ("%lora_compare --adapters base,s", ["base,support"]),
        ("%lora_compare --adapters base,base+s", ["base,base+system"]),
        ("%lora_compare --measures rouge-l,exact", ["rouge-l,exact-match"]),
        ("%lora_compare --show ", ["all", "better", "worse", "different", "same", "cut"]),
        ("%lora_compare --by exa", ["exact-match"]),
        ("%lora_compare --column su", ["support"]),
        ("%lora_use ", ["base", "support", '"two words"']),
        ("%lora_use b", ["base"]),
        ("%lora_merge su", ["support"]),
        ("%lora_merge support --over", ["--overwrite"]),
    ],
)
def test_what_is_offered(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


def test_options_already_given_are_not_offered_again() -> None:
    assert "--rank" not in completed("%lora_train --rank 8 --")
    assert "--lr" in completed("%lora_train --rank 8 --")


def test_files_are_offered_with_quotation_marks_where_they_need_them() -> None:
    Path("my rows.jsonl").write_text("")
    Path("deep").mkdir()
    (Path("deep") / "data.csv").write_text("")
    assert completed("%lora_train --data my") == []
    assert completed('%lora_train --data "my') == ['"my rows.jsonl']
    assert completed("%lora_train --data de") == ["demo-json", "demo-tone", "demo-sentiment", "deep/"]
    assert completed("%lora_train --data deep/") == ["deep/data.csv"]
    assert completed("%lora_merge support de") == ["deep/"]


def test_other_lines_are_left_alone() -> None:
    for line in ("%time x", "%loraload d", "lora_load d", "x = 3"):
        assert complete(line, MAGICS, OFFERS) is None


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "lora_magic")
    made.user_ns.update(rows=[{"a": 1}], rows_of_numbers=3, ranking=1)
    yield made
    made.run_line_magic("unload_ext", "lora_magic")
    InteractiveShell.clear_instance()


def texts(shell: Any, line: str) -> list[str]:
    """What a front end would show: IPython's own completions of `line`, cursor at its end."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        return [line[: c.start] + c.text for c in shell.Completer.completions(line, len(line))]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%lora_train --ra", ["%lora_train --rank"]),
        ("%lora_train --data ro", ["%lora_train --data rows"]),
        ("%lora_load demo --bits ", [f"%lora_load demo --bits {b}" for b in (4, 8, 16, 32, "auto")]),
        ("%lora_compare --measures parr", ["%lora_compare --measures parroting"]),
    ],
)
def test_a_shell_offers_ours_and_no_python_names(shell: InteractiveShell, line: str, expected: list[str]) -> None:
    assert sorted(texts(shell, line)) == sorted(expected), IPython.__version__


def test_magics_themselves_complete(shell: InteractiveShell) -> None:
    assert {"%lora_load", "%lora_train", "%lora_compare"} <= set(texts(shell, "%lora_"))


def test_nothing_is_left_after_reloading_and_unloading(shell: InteractiveShell) -> None:
    completer: Any = shell.Completer
    for _ in range(3):
        shell.run_line_magic("reload_ext", "lora_magic")
    lists = (completer.custom_matchers, completer.magic_arg_matchers)
    ours = [m for matchers in lists for m in matchers if "lora" in repr(getattr(m, "__qualname__", m))]
    assert len(ours) <= 1
    assert texts(shell, "%lora_train --ra") == ["%lora_train --rank"]
    shell.run_line_magic("unload_ext", "lora_magic")
    assert not [m for matchers in lists for m in matchers if "lora" in getattr(m, "__module__", "")]
    shell.run_line_magic("load_ext", "lora_magic")
