"""The checks of a data set: each on rows made for it, and on rows that only look alike."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lora_magic.demo
from lora_magic.dataset.examples import examples
from lora_magic.dataset.hygiene import check, tasks
from lora_magic.dataset.hygiene.excerpts import LONGEST, excerpt
from lora_magic.dataset.hygiene.near import Sketches
from lora_magic.dataset.hygiene.seen import Seen
from lora_magic.dataset.split import split
from lora_magic.dataset.turns import Example, Turn
from lora_magic.results import DataIssue

TOWNS = "Arles Basel Cadiz Delft Essen Faro Ghent Halle Imola Jena Kiel Lyon Metz Nancy Oslo Porto".split()
THINGS = "bridge tower market harbour library garden station museum".split()
WORDS = "river stone cloud amber maple lantern copper velvet meadow falcon harbor thistle candle ribbon saddle".split()


def pair(asked: str, answered: str, row: int = 0, system: str = "") -> Example:
    turns = (Turn("user", asked), Turn("assistant", answered))
    return Example((Turn("system", system), *turns) if system else turns, row)


def good(count: int = 100) -> list[tuple[str, str]]:
    """Different questions with different answers of one style, of about eighty characters."""
    return [
        (
            f"What is the {THINGS[i % 8]} of {TOWNS[i // 8 % 16]} known for, in the words of guide {i}?",
            f"Guide {i} praises its {WORDS[i % 15]} and its {WORDS[(i // 15 + i + 3) % 15]}, as every visitor does.",
        )
        for i in range(count)
    ]


def found(
    pairs: Sequence[tuple[str, str] | Example], *, held: Sequence[int] = (), counts: Sequence[int] = (), **given: Any
) -> dict[str, DataIssue]:
    """Issues by kind; row numbers are places in `pairs` from 1."""
    made = [
        Example(one.turns, row, one.tools) if isinstance(one, Example) else pair(*one, row)
        for row, one in enumerate(pairs, start=1)
    ]
    options: dict[str, Any] = {"rank": 1, "max_length": 2048, "skipped": (), "skipped_count": 0} | given
    issues = check(made, [made[row - 1] for row in held], counts or [50] * len(made), **options)
    for issue in issues:
        assert issue.severity in ("error", "warning", "note") and issue.effect and issue.remedy
        assert len(issue.examples) <= 5 and all(len(text) <= LONGEST for _, text in issue.examples)
    return {issue.kind: issue for issue in issues}


def rows_of(issue: DataIssue) -> list[int]:
    return [row for row, _ in issue.examples]


def test_good_rows_are_found_fine() -> None:
    assert found(good(), held=range(90, 101)) == {}


def test_nothing_to_look_at() -> None:
    assert set(found([])) == {"too few rows"}


# --- rows that say the same


def test_exact_duplicates() -> None:
    rows = good()
    issue = found([*rows, rows[2], rows[2], rows[7]])["exact duplicates"]
    assert (issue.count, rows_of(issue), issue.severity) == (3, [101, 102, 103], "note")
    assert issue.examples[0][1].startswith("like row 3: What is the") and issue.fixed_by
    assert found(rows + rows)["exact duplicates"].severity == "warning"


def test_near_duplicates() -> None:
    long = " ".join(WORDS) + " and then " + " ".join(reversed(WORDS))
    rows = [*good(), (f"Tell me: {long}", f"Here it is: {long}.")]
    changed = (f"tell me {long.upper()}", f"Here it is: {long}!")
    one_word = (f"Tell me: {long} please", f"Here it is: {long}.")
    issue = found([*rows, changed, one_word])["near duplicates"]
    assert (issue.count, rows_of(issue)) == (2, [102, 103])
    assert all(text.startswith("like row 101") for _, text in issue.examples)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("{long} 13 times?", "{long}."),  # another number
        ("{long} 12 times?", "{long}, or a wholly different tale about an owl who sailed to the moon and back."),
        ("{long} 12 times?", "No."),
    ],
)
def test_rows_that_are_no_near_duplicates(asked: str, answered: str) -> None:
    long = " ".join(WORDS * 3)
    first = (f"{long} 12 times?", f"{long}.")
    assert "near duplicates" not in found([*good(), first, (asked.format(long=long), answered.format(long=long))])


def test_a_long_template_makes_no_near_duplicates() -> None:
    template = "You are given a review. Say how its writer feels, in one word, and nothing else. " * 6
    rows = [
        (f"{template}Review: a {WORDS[i % 15]} of a {WORDS[i // 15]}", "good" if i % 2 else "bad") for i in range(120)
    ]
    assert "near duplicates" not in found(rows)


def test_another_system_text_is_another_row() -> None:
    asked, answered = " ".join(WORDS), " ".join(reversed(WORDS))
    rows = [*good(), pair(asked, answered, system="Be brief."), pair(asked, answered + "!", system="Be polite.")]
    assert found(rows) == {}
    assert "near duplicates" in found([*rows, pair(asked + "?", answered, system="Be brief.")])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12), min_size=2, max_size=12))
def test_near_duplicates_equal_a_comparison_of_all_pairs(texts: list[list[str]]) -> None:
    """Few rows have no template, so the definition can be applied directly."""
    said = [" ".join(letters) for letters in texts][:8]
    said += [f"{said[0]}!", f"{said[-1]}."]
    sketches = Sketches()
    for number, text in enumerate(said):
        assert sketches.add(number, Seen(Example((Turn("text", text),))))

    def runs(text: str) -> set[tuple[str, ...]]:
        letters = re.findall("[a-h]", text)
        return {tuple(letters[i : i + 3]) for i in range(max(1, len(letters) - 2))}

    expected: list[int] = []
    for number, text in enumerate(said):
        stay = [other for other in range(number) if other not in expected]
        one = runs(text)
        if any(len(one & runs(said[other])) >= 0.9 * len(one | runs(said[other])) for other in stay):
            expected.append(number)
    assert [late for late, _ in sketches.repeated()] == expected


def test_leaks_into_the_held_out_part() -> None:
    rows = good()
    near = (f"{rows[4][0]}!", rows[4][1].upper())
    issue = found([*rows, near, rows[9]], held=[5, 50, 102])["training rows in the held-out part"]
    assert (issue.count, sorted(rows_of(issue)), issue.severity) == (2, [5, 102], "warning")
    assert "2 rows of the 3 held-out ones" in issue.effect
    assert "training rows in the held-out part" not in found([*rows, near, rows[9]], held=[50, 51])
    assert "training rows in the held-out part" not in found([*rows, near], held=[5, 101])


def test_held_out_rows_are_told_by_row_and_content() -> None:
    rows = good()
    made = [pair(*one, row) for row, one in enumerate([*rows, rows[0]], start=1)]
    issues = check(made, [pair(*rows[0], 101)], [9] * 101, rank=1, max_length=99, skipped=(), skipped_count=0)
    leaks = next(issue for issue in issues if issue.kind == "training rows in the held-out part")
    assert rows_of(leaks) == [101]


def test_contradicting_answers() -> None:
    asked = "Is the harbour of Faro open in winter"
    rows = [*good(), (f"{asked}?", "Yes"), (asked.upper(), "no.")]
    issue = found(rows)["same prompt, different answers"]
    assert (issue.count, rows_of(issue), issue.severity) == (1, [102], "warning")
    assert issue.examples[0][1].startswith('row 101 says "Yes", this one "no."')
    assert issue.fixed_by == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes", "yes!"),
        ("Yes", "Yes, it is"),
        (
            "The harbour is open all winter, but the ferries stop in January and in February.",
            "The harbour is open all winter, but ferries stop in January and February each year.",
        ),
    ],
)
def test_answers_that_do_not_contradict(one: str, other: str) -> None:
    assert "same prompt, different answers" not in found([*good(), ("Is it open?", one), ("Is it open?", other)])


def test_other_context_is_another_prompt() -> None:
    def talk(first: str, answer: str) -> Example:
        return Example(
            (Turn("user", first), Turn("assistant", "Well?"), Turn("user", "And?"), Turn("assistant", answer))
        )

    assert found([*good(), talk("Cats", "Always"), talk("Dogs", "Never")]) == {}
    assert "same prompt, different answers" in found([*good(), talk("Cats", "Always"), talk("Cats", "Never")])
    assert found([*good(), pair("Sure?", "Always", system="Agree."), pair("Sure?", "Never", system="Disagree.")]) == {}


def test_several_long_answers_are_a_note() -> None:
    rows = [*good(), ("Write a line of verse.", "The amber river hums beneath a copper moon tonight.")]
    issue = found([*rows, ("Write a line of verse.", "No falcon knows which meadow hid its velvet nest.")])
    assert issue["same prompt, different answers"].severity == "note"


def test_one_prompt_for_all() -> None:
    issues = found([("Continue.", answer) for _, answer in good(30)])
    assert issues["one prompt for all"].count == 30 and "same prompt, different answers" not in issues
    assert found([Example((Turn("text", answer),)) for _, answer in good(30)]) == {}


# --- what other programs left

LEFT = {
    "broken encoding": ("It was a lovely cafÃ© near the harbour, full of flowers.", "Ã©"),
    "characters lost": ("It was a lovely caf\ufffd near the harbour, full of flowers.", "\ufffd"),
    "HTML entities": ("Fish &amp; chips by the harbour, and a walk along the old wall.", "&amp;"),
    "HTML tags": ("<p>A walk along the old wall.</p> <p>Then <b>fish</b> by the harbour.</p>", "<p>"),
    "terminal codes": ("\x1b[31mA walk\x1b[0m along the old wall, then fish by the harbour.", "␛[31m"),
    "log lines": (
        "A walk.\n2024-05-01 12:00:01 INFO done\n2024-05-01 12:00:02 INFO done\nFish.",
        "2024-05-01 12:00:01",
    ),
    "a chatbot's phrases": (
        "As an AI language model, I have never seen the harbour of Faro.",
        "As an AI language model",
    ),
    "refusals": ("I'm sorry, but I cannot assist with that request about the harbour.", "I cannot assist with that"),
}


@pytest.mark.parametrize("kind", LEFT)
def test_residue_is_found_where_it_is(kind: str) -> None:
    text, place = LEFT[kind]
    rows = good()
    rows[41] = (rows[41][0], text)
    issues = found(rows)
    assert set(issues) == {kind}
    assert (issues[kind].count, rows_of(issues[kind])) == (1, [42])
    assert f"«{place}" in issues[kind].examples[0][1]


FINE = [
    ("How is bold written in HTML?", "Write <b>text</b>, and &amp; for an ampersand; both are plain to read."),
    (
        "How is bold written there?",
        "Write `<b>text</b>` and `&amp;`:\n```html\n<p>A <b>bold</b> word</p>\n```\nThat is all.",
    ),
    ("Which is larger?", "Whenever a < b and c > d hold, the pair <a> is larger than b; so is R&D; but not AT&T."),
    (
        "What does a list of lists look like?",
        "In Java it is List<List<a>>, and a vector of pairs is written just like it.",
    ),
    ("Translate to French: <p>Good <b>day</b></p>", "<p>Bonne <b>journée</b></p>"),
    ("Give me a page with a form.", "<!DOCTYPE html><html><body><form><p>Name</p><input></form></body></html>"),
    (
        "When do the ferries leave?",
        "At 12:00:01 on 2024-05-01, and at noon on each day after that one, wind permitting.",
    ),
    ("What does this log say?", "2024-05-01 12:00:01 INFO up\n2024-05-01 12:00:02 INFO done\nSo it came up at noon."),
    ("What should I mind?", "WARNING: the wall is steep.\nWARNING: the ferry stops early.\nNote: bring a warm coat."),
    ("Was bedeutet NÃO?", "NÃO heißt nein; São Paulo, Ångström, naïve, Ä Ö Ü ß, €5 – “so” … 你好, Привет."),
    ("What is mojibake?", "Text such as cafÃ© for café, when UTF-8 is read as if it were Latin-1 or cp1252."),
    ("Are you a person?", "No. As an AI language model I am a program, and I have never seen the harbour of Faro."),
    ("Can I return it?", "I'm sorry, we cannot take it back after a month, but I can help you with a repair instead."),
    ("Why was he sad?", "He could not assist with the harvest, and said that he cannot help it that he is so tired."),
]


@pytest.mark.parametrize("row", FINE, ids=[asked for asked, _ in FINE])
def test_what_only_looks_like_residue(row: tuple[str, str]) -> None:
    assert set(found([*good(), row])) == set()


def test_prompts_are_looked_at_for_what_breaks_them_too() -> None:
    rows = good()
    rows[3] = ("What is the cafÃ© of Faro known for?", rows[3][1])
    rows[4] = ("What is <b>this</b> &amp; that known for?", rows[4][1])
    assert {kind: rows_of(issue) for kind, issue in found(rows).items()} == {"broken encoding": [4]}


def test_html_in_most_answers_is_a_note_that_nothing_is_done_about() -> None:
    issue = found([(asked, f"<p>{answered}</p>") for asked, answered in good()])["HTML tags"]
    assert (issue.severity, issue.fixed_by, issue.count) == ("note", "", 100)


# --- how many, how long


def test_rows_that_cannot_be_used() -> None:
    issue = found(good(), skipped=((4, "an empty answer"), (9, "an empty prompt")), skipped_count=9)
    assert issue["rows that cannot be used"].count == 9
    assert issue["rows that cannot be used"].examples == ((4, "an empty answer"), (9, "an empty prompt"))


@pytest.mark.parametrize(
    ("count", "rank", "kind"),
    [
        (9, 1, "too few rows"), (63, 8, "too few rows for the rank"), (64, 8, ""), (100, 12, ""),
        (100, 13, "too few rows for the rank"),
    ],
)  # fmt: skip
def test_too_few_rows(count: int, rank: int, kind: str) -> None:
    assert set(found(good(count), rank=rank)) == ({kind} if kind else set())
    if kind:
        assert f"{count} rows" in found(good(count), rank=rank)[kind].effect


def test_held_out_rows_do_not_count_for_the_rank() -> None:
    issue = found(good(100), held=range(1, 41), rank=8)["too few rows for the rank"]
    assert issue.count == 60 and "--rank 7" in issue.remedy


def test_longer_than_the_longest_row() -> None:
    counts = [50] * 98 + [3000, 2049]
    issue = found(good(), counts=counts)["longer than --max-length"]
    assert (issue.count, rows_of(issue)) == (2, [99, 100]) and "3,000" in issue.remedy


@pytest.mark.parametrize("answer", ["-", "nan", "N", "ok", "#REF!", "..."])
def test_short_answers_among_long_ones(answer: str) -> None:
    rows = good()
    rows[17] = (rows[17][0], answer)
    assert rows_of(found(rows)["suspiciously short answers"]) == [18]


def test_short_answers_where_they_are_common() -> None:
    rows = [
        *good(),
        *((f"How many {thing}s are there in {town}?", str(i)) for i, thing in enumerate(THINGS) for town in TOWNS[:1]),
    ]
    assert "suspiciously short answers" not in found(rows)
    labels = [
        (f"Is {town} near {thing}?", "no" if (i + j) % 2 else "yes")
        for i, town in enumerate(TOWNS)
        for j, thing in enumerate(THINGS)
    ]
    assert found(labels) == {}


def test_a_very_long_answer() -> None:
    rows = good()
    rows[11] = (rows[11][0], " ".join(f"{word}{i}" for i in range(60) for word in WORDS))
    assert rows_of(found(rows)["suspiciously long answers"]) == [12]
    assert found([*good(), ("Say more.", " ".join(WORDS * 2))]) == {}


# --- answers that do not go together


def styled(change: Any, every: int = 5) -> list[tuple[str, str]]:
    return [(asked, change(answered) if i % every == 0 else answered) for i, (asked, answered) in enumerate(good())]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("JSON and prose", lambda text: json.dumps({"answer": text})),
        (
            "languages",
            lambda text: "Путеводитель хвалит гавань и старую стену, и не зря " + str(hash(text) % 999) + ".",
        ),
        ("end of sentence", lambda text: text.rstrip(".")),
        ("capital letters", lambda text: text[0].lower() + text[1:]),
    ],
)
def test_answers_that_disagree_in_style(kind: str, change: Any) -> None:
    issue = found(styled(change))[kind]
    assert (issue.count, rows_of(issue), issue.severity) == (20, [1, 6, 11, 16, 21], "note")
    assert "20% of the answers" in issue.effect
    assert kind not in found(styled(change, every=50)), "2% are exceptions, not a style"
    assert kind not in found(styled(change, every=1)), "all of them agree"


def test_markdown_beside_plain_text() -> None:
    rows = [(asked, f"{answered} " * 3 + " ".join(WORDS)) for asked, answered in good()]
    mixed = [
        (asked, f"## Answer\n\n**{answered}**" if i % 4 == 0 else answered) for i, (asked, answered) in enumerate(rows)
    ]
    assert found(mixed)["Markdown and plain text"].count == 25
    assert "Markdown and plain text" not in found(rows)
    asked_for = [(f"{asked} Use Markdown." if "##" in answered else asked, answered) for asked, answered in mixed]
    assert "Markdown and plain text" not in found(asked_for)


def test_a_style_that_the_prompt_asks_for() -> None:
    rows = [
        (f"{asked} Reply in JSON.", json.dumps({"a": answered})) if i % 3 == 0 else (asked, answered)
        for i, (asked, answered) in enumerate(good())
    ]
    assert "JSON and prose" not in found(rows)
    rows = [
        (f"Translate to Russian: {asked}", f"Путеводитель хвалит гавань города {i}.")
        if i % 3 == 0
        else (asked, answered)
        for i, (asked, answered) in enumerate(good())
    ]
    assert "languages" not in found(rows)


def test_unbalanced_labels() -> None:
    asked = [question for question, _ in good(120)]
    rare = [(question, "angry" if i == 60 else ("happy" if i % 2 else "sad")) for i, question in enumerate(asked)]
    issue = found(rare)["unbalanced labels"]
    assert (issue.count, rows_of(issue)) == (1, [61])
    assert found([(question, ("happy", "sad", "angry")[i % 3]) for i, question in enumerate(asked)]) == {}


def test_one_label_in_several_spellings() -> None:
    rows = [(question, ("happy", "sad")[i % 2]) for i, (question, _) in enumerate(good())]
    rows[8], rows[9] = (rows[8][0], "Happy"), (rows[9][0], "sad.")
    issue = found(rows)["one label, several spellings"]
    assert (issue.count, rows_of(issue)) == (2, [9, 10])


# --- the whole


def test_the_gravest_come_first() -> None:
    rows = [*good(), *good()[:1], ("Is it open?", "Always"), ("Is it open?", "Never")]
    issues = check(
        [pair(*one, i) for i, one in enumerate(rows, 1)],
        [],
        [9] * 103,
        rank=64,
        max_length=99,
        skipped=(),
        skipped_count=1,
    )
    order = ["error", "warning", "note"]
    assert [order.index(issue.severity) for issue in issues] == sorted(order.index(issue.severity) for issue in issues)
    assert issues[0].kind == "same prompt, different answers" and len(issues) == 4


HOSTILE = [
    *("<", "a", "&", "Ã", "`", "```", "\x1b[0", "\x1b]", "[", "<p ", "<p>", "&#1", " ", "\n", "**", "\ud800", "\u3042"),
    *("as an ai ", "INFO: ", "1%|", "I can't "),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_a_megabyte_of_anything_is_looked_at_in_linear_time(piece: str) -> None:
    """A pattern that backtracks over a megabyte takes hours; the limit is far above what a linear one needs."""
    text = piece * (1_000_000 // len(piece))
    found([*good(20), (text, "fine"), ("fine?", text)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), max_size=30), st.integers(0, 5))
def test_any_texts_give_issues_and_always_the_same(pairs: list[tuple[str, str]], held: int) -> None:
    once = found(pairs, held=range(1, min(held, len(pairs)) + 1))
    again = found(pairs, held=range(1, min(held, len(pairs)) + 1))
    assert {kind: (one.count, one.examples) for kind, one in once.items()} == {
        kind: (one.count, one.examples) for kind, one in again.items()
    }


@given(st.text(max_size=400), st.integers(0, 400), st.integers(1, 400))
def test_an_excerpt_is_one_short_line_with_the_place(text: str, start: int, length: int) -> None:
    start = min(start, len(text))
    end = min(start + length, len(text))
    shown = excerpt(text, start, end)
    assert len(shown) <= LONGEST and shown.isprintable()
    assert "«" in shown and "»" in shown


EMBEDDED = sorted((Path(lora_magic.demo.__file__).parent / "data").rglob("*.jsonl"))


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_embedded_sets_are_clean(path: Path) -> None:
    made = examples([json.loads(line) for line in path.read_text().splitlines()], system=None)
    train, held = split(list(made), 0.05)
    assert len(train) + len(held) == len(made)
    issues = check(list(made), held, [30] * len(made), rank=4, max_length=512, skipped=made.skipped, skipped_count=0)
    assert issues == ()


# --- kinds of task


def test_tasks() -> None:
    rows = [{"Task Type": "sum" if i % 3 else "rewrite", "id": i, "prompt": "p"} for i in range(30)]
    tokens = {number: 10 * (1 + (number - 1) % 3) for number in range(1, 31) if number != 30}
    assert tasks(rows, tokens) == (("sum", 19, pytest.approx((10 * 20 + 9 * 30) / 19)), ("rewrite", 10, 10.0))


@pytest.mark.parametrize(
    "rows",
    [
        [{"task": "one"}] * 20,
        [{"task": f"{i}"} for i in range(21)],
        [{"task": f"{i % 15}"} for i in range(20)],
        [{"task": "x" * 41 if i % 2 else "y"} for i in range(20)],
        [{"task": "a" if i < 8 else None} for i in range(20)],
        [{"colour": "a" if i % 2 else "b"} for i in range(20)],
        [{"task": ["a"] if i % 2 else {"b": 1}} for i in range(20)],
        [],
    ],
)
def test_columns_that_say_no_task(rows: list[dict[str, Any]]) -> None:
    assert tasks(rows, dict.fromkeys(range(1, len(rows) + 1), 5)) == ()


def test_a_column_of_the_conversation_says_no_task() -> None:
    rows = [{"text": f"t{i}", "label": "a" if i % 2 else "b"} for i in range(20)]
    tokens = dict.fromkeys(range(1, 21), 5)
    assert tasks(rows, tokens, used=("text", "label")) == ()
    assert [value for value, *_ in tasks(rows, tokens, used=("text",))] == ["b", "a"]
