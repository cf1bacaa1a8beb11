"""What the view of some rows says: issues, lengths, and every token with whether it is trained on."""

from __future__ import annotations

import base64
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup, Tag
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer
from wcwidth import wcswidth

from lora_magic import demo
from lora_magic.display import bundle
from lora_magic.display.data import data_html, data_text
from lora_magic.display.data_lengths import Lengths, lengths_png, lengths_text
from lora_magic.display.data_tokens import pieces, row_text, rows_html
from lora_magic.display.safe import unsafe, visible
from lora_magic.results import DataExample, DataIssue, DataReport, FixedCopy

ANYTHING = st.text(st.characters(codec=None, exclude_categories=(), exclude_characters="\ufffd"), max_size=12)
MASKS = st.lists(st.tuples(ANYTHING, st.booleans()), min_size=1, max_size=40)
COUNTS = st.lists(st.integers(1, 6000), min_size=1, max_size=300)


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(Path(demo.__file__).parent / "model" / "tokenizer.json"))


def row(question: str, answer: str, number: int = 1, most: int = 4096) -> DataExample:
    """A row in the demo model's template and tokens; a character of several tokens is the text of its first."""
    made: list[tuple[int, bool, str]] = []
    stretches = (("<|bos|><|user|>", False), (question, False), ("<|end|><|assistant|>", False), (answer, True))
    for text, trained in (*stretches, ("<|end|>", True)):
        encoded = tokenizer().encode(text, add_special_tokens=False)
        for before, token, span in zip([None, *encoded.offsets], encoded.ids, encoded.offsets, strict=False):
            made.append((token, trained, "" if span == before else text[slice(*span)]))
    ids, mask, texts = zip(*made[:most], strict=True)
    turns = (("user", question), ("assistant", answer))
    return DataExample(number, turns, ids, mask, texts, max(0, len(made) - most))


def tokens(*parts: tuple[str, bool]) -> DataExample:
    texts, mask = zip(*parts, strict=True)
    return DataExample(1, (), tuple(range(len(texts))), mask, texts)


def report(*examples: DataExample, text: str = "tickets.jsonl", **more: Any) -> DataReport:
    """A report in which `text` stands for whatever may come from users and data."""
    counts = [100 + 3 * place for place in range(200)]
    made = DataReport(
        text, text, text, (("prompt", text), ("completion", "answer")), (text,), 200, 180, 20, text, text, 512, counts,
        0.43, 12, 340, 3, 200, examples or (row("Hi", "Hello"),), notes=(text,),
    )  # fmt: skip
    return replace(made, **more)


def issue(kind: str = "exact duplicates", severity: str = "warning", text: str = "twice", **more: Any) -> DataIssue:
    return DataIssue(kind, severity, 1200, f"They weigh more: {text}.", f"Keep one: {text}.", ((7, text),), **more)


def full(text: str) -> DataReport:
    """A report with all of its parts."""
    return report(
        row(text[:999].replace("\ud800", ""), text[:999].replace("\ud800", "")),
        tokens((text, False), (text, True), ("", True)),
        text=text,
        issues=(issue(text, "error", text, fixed_by=text), issue(severity=text)),
        tasks=((text, 120, 88.4), ("sums", 80, 203.6)),
        fixed=FixedCopy(Path("out") / "clean.jsonl", Path("out") / "clean.changes.jsonl", 150, ((text, 50),)),
    )


def soup(shown: str) -> BeautifulSoup:
    return BeautifulSoup(shown, "html.parser")


def blocks(shown: str) -> list[Tag]:
    return list(soup(shown).find_all("pre"))


def styled(element: Any, declaration: str) -> bool:
    styles = [str(node.get("style", "")) for node in (element, *element.parents) if isinstance(node, Tag)]
    return any(declaration in style for style in styles)


def stretches(block: Tag) -> Iterator[tuple[str, bool]]:
    """The texts of a drawn row, and whether they are underlined as trained."""
    for text in block.find_all(string=True):
        yield str(text), styled(text, "border-bottom:1px solid rgb(59,130,196)")


def drawn_as(text: str) -> str:
    """A text without what the view shows by a sign or leaves to the page."""
    return re.sub(r"[\s↵␣]|⟨no text⟩", "", text)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "support"])
def test_hostile_text_stays_text_everywhere(text: str, hostile: str) -> None:
    shown = data_html(full(hostile + text + "\ud800"))
    assert unsafe(shown) == []
    said = soup(shown).get_text()
    for part in ("<script>alert(1)</script>", "$\\LaTeX$", "**bold**", "␛[31mred", "⟨U+202E⟩ltr", "⟨U+D800⟩", text):
        assert part in said
    plain = data_text(full(hostile + text + "\ud800"))
    assert not [mark for mark in plain if mark != "\n" and unicodedata.category(mark) in ("Cc", "Cs")]
    assert not set(plain) & set("\u202e\u2066\u200f")


@pytest.mark.parametrize("width", [48, 80, 130])
@pytest.mark.parametrize("text", ["support", "日本語のとても長いテキスト" * 6, "unbroken" * 30, "a\n\nb\t " * 9])
def test_text_twin_fits_the_terminal(width: int, text: str) -> None:
    lines = [wcswidth(part) for part in data_text(full(text), width).split("\n")]
    assert min(lines) >= 0
    assert max(lines) <= width


def test_a_report_shows_itself_part_by_part() -> None:
    made = full("support")
    assert bundle(made) == {"text/html": data_html(made), "text/plain": str(made)}
    order = ["200 rows", "2 things found", "Tokens a row", "The first 2 rows", "Tasks", "leaned copy"]
    for said in (soup(data_html(made)).get_text(), data_text(made)):
        places = [said.index(part) for part in order]
        assert places == sorted(places)


def test_the_answer_and_its_end_are_marked_and_the_prompt_is_not() -> None:
    shown = data_html(report(row("Where is Oslo?", "In Norway, naïve 日本.")))
    parts = list(stretches(blocks(shown)[0]))
    assert "".join(text for text, trained in parts if trained) == "In Norway, naïve 日本.<|end|>"
    assert (
        "".join(text for text, trained in parts if not trained) == "<|bos|><|user|>Where is Oslo?<|end|><|assistant|>"
    )
    assert "<|user|>Where is Oslo?<|end|><|assistant|>⟦In Norway, naïve 日本.<|end|>⟧" in data_text(
        report(row("Where is Oslo?", "In Norway, naïve 日本.")), 100
    )


@given(MASKS)
@example([(" ", True), ("\n", True), (" ", False)])
@example(
    [("", False), ("x\r", True), ("\n</pre>", True), ("<script>", True), ("", True), ("<|end|>", True), ("", False)]
)
@settings(deadline=None)
def test_any_tokens_are_all_shown_with_their_mask(parts: list[tuple[str, bool]]) -> None:
    made = tokens(*parts)
    shown = rows_html([made])
    assert unsafe(shown) == []
    marked = [stretch for block in blocks(shown) for stretch in stretches(block)]
    for trained in (True, False):
        wanted = "".join(visible(text.replace("\r", "␍")) for text, state in parts if state == trained)
        assert drawn_as("".join(text for text, state in marked if state == trained)) == drawn_as(wanted)
    assert all(mark >= " " or mark == "\n" for mark in row_text(made, 60))
    row_text(made, 60).encode("utf-8")


def test_line_breaks_and_spaces_that_would_not_be_seen_are_drawn() -> None:
    shown = data_html(report(tokens(("Answer:", False), (" ", False), (" Yes", True), ("  ", True), ("\nNo", True))))
    assert blocks(shown)[0].get_text() == "Answer:␣␣Yes␣␣↵\nNo"


def test_only_whole_tokens_are_shown_as_special() -> None:
    shown = data_html(
        report(tokens(("<|im_end|>", True), ("<|", False), ("im_end", False), ("|>", False), ("[a]", False)))
    )
    chips = [chip.get_text() for chip in blocks(shown)[0].find_all("span") if "border:1px" in str(chip["style"])]
    assert chips == ["<|im_end|>"]


def test_a_character_of_several_tokens_is_one_piece() -> None:
    whole = row("é", "日本")
    assert [piece.text for piece in pieces(whole, 99) if piece.trained] == ["日", "本", "<|end|>"]
    assert sum(piece.tokens for piece in pieces(whole, 99)) == len(whole.token_ids)
    halves = tokens((" caf", True), ("\ufffd", True), ("\ufffd", True), ("\ufffd", False))
    assert [piece.text for piece in pieces(halves, 99)] == [" caf", "⟨2 byte tokens⟩", "\ufffd"]
    assert pieces(DataExample(1, (), (5, 6), (False, True)), 9)[1].text == "⟨6⟩"


def test_the_terminals_brackets_cannot_be_imitated() -> None:
    said = data_text(report(tokens(("⟦fake⟧", False), ("real", True))), 100)
    assert "⟨U+27E6⟩fake⟨U+27E7⟩⟦real⟧" in said


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of 8-bit sRGB, as WCAG 2 defines it."""
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def over(ground: tuple[float, ...], colour: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    return tuple(alpha * top + (1 - alpha) * below for top, below in zip(colour, ground, strict=True))


@pytest.mark.parametrize(
    ("page", "letters"),
    [((255, 255, 255), (33, 33, 33)), ((17, 17, 17), (221, 221, 221)), ((31, 31, 31), (204, 204, 204))],
)
def test_every_token_has_the_contrast_that_wcag_asks_for(page: tuple[int, ...], letters: tuple[int, ...]) -> None:
    shown = data_html(report(row("Name it.\nNow ", "It is this one, matey.")))
    for text in blocks(shown)[0].find_all(string=True):
        ground: tuple[float, ...] = page
        strength = 1.0
        for node in reversed([node for node in text.parents if isinstance(node, Tag)]):
            style = str(node.get("style", ""))
            if tint := re.search(r"background-color:rgba\((\d+),(\d+),(\d+),([\d.]+)\)", style):
                *colour, alpha = map(float, tint.groups())
                ground = over(ground, tuple(colour), alpha)
            if faded := re.search(r"opacity:([\d.]+)", style):
                strength *= float(faded[1])
        light, dark = sorted((luminance(over(ground, letters, strength)), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, str(text)


def test_a_long_row_is_folded_and_complete() -> None:
    words = [f" w{place}" for place in range(2000)]
    shown = data_html(report(tokens(("Q", False), *((word, True) for word in words))))
    open_part, folded = blocks(shown)
    assert open_part.find_parent("details") is None
    assert folded.find_parent("details") is not None
    assert (open_part.get_text() + folded.get_text()).replace("␣", " ") == "".join(["Q", *words])
    number = len(folded.get_text().split())
    assert 1000 < number < 1700
    assert f"… {number:,} more tokens, all trained on" in soup(shown).get_text()


def test_a_long_prompt_is_folded_in_its_middle_so_that_the_answer_shows() -> None:
    prompt = [(f" p{place}\n", False) for place in range(900)]
    made = report(tokens(*prompt, (" The", True), (" answer", True)))
    first, middle, last = blocks(data_html(made))
    assert [bool(part.find_parent("details")) for part in (first, middle, last)] == [False, True, False]
    assert "The answer" in last.get_text()
    assert first.get_text().lstrip("␣").startswith(" p0↵")
    lines = data_text(made, 80)
    assert "⟦ The answer⟧" in lines
    assert "more tokens, none trained on" in lines
    assert lines.count(" p") < 40


def test_a_huge_row_is_counted_and_not_drawn_whole() -> None:
    shown = data_html(report(tokens(("q" * 1_000_000, False), *((f" w{place}", True) for place in range(60_000)))))
    assert len(shown) < 500_000
    assert "⟨… 999,200 more characters⟩" in shown
    drawn = int(re.findall(r" w(\d+)", soup(shown).get_text())[-1]) + 1
    assert f"… and {60_000 - drawn:,} more tokens that are not drawn" in soup(shown).get_text()
    assert "60,001 tokens, 60,000 trained on" in shown
    said = data_text(report(tokens(("q", False), *((" w", True) for _ in range(60_000)))), 80)
    assert len(said) < 6000
    assert sum(int(number.replace(",", "")) for number in re.findall(r"… ([\d,]+) more", said)) > 59_000


def test_huge_names_and_values_are_shortened() -> None:
    made = full("n" * 1_000_000)
    assert len(data_html(made)) + len(data_text(made, 80)) < 100_000


def test_three_rows_of_two_thousand_tokens_stay_small() -> None:
    rows = [tokens(*((f" w{place % 97}", True) for place in range(2000))) for _ in range(3)]
    assert len(data_html(report(*rows))) < 300_000


def test_cut_rows_say_where() -> None:
    made = report(row("Count.", "one two three " * 40, most=50))
    assert f"cut here, {made.examples[0].cut:,} tokens before the end" in data_html(made)
    assert f"50 tokens, 43 trained on · {made.examples[0].cut:,} more cut off" in data_text(made, 100)


class Counting(Sequence[DataExample]):
    """Rows that are made when read, and remember which were."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, place: Any) -> Any:
        self.read.append(place)
        return row(f"Question {place}?", "Yes.", place + 1)


def test_only_the_rows_that_are_drawn_are_read() -> None:
    rows = Counting()
    shown = data_html(report(examples=rows, shown=2))
    assert rows.read == [0, 1]
    assert "row 2 · " in shown
    assert "The first" not in data_html(report(examples=rows, shown=0))
    assert "The first" not in data_text(report(examples=rows, shown=0))
    assert rows.read == [0, 1]


def test_issues_say_count_effect_remedy_and_examples() -> None:
    made = report(issues=(issue("leaks", "error", text="<b>Who</b> am I", fixed_by="drops them"), issue()))
    shown = soup(data_html(made))
    folded = shown.find_all("details")
    assert re.sub(r"\s+", " ", folded[0].summary.get_text()) == (
        "leaks · 1,200 rows · error · They weigh more: <b>Who</b> am I. Keep one: <b>Who</b> am I. --fix: drops them."
    )
    assert "<b>Who</b> am I" in folded[0].table.get_text()
    assert "warning" in folded[1].summary.get_text()
    said = data_text(made, 200)
    assert "! error: leaks · 1,200 rows · They weigh more" in said
    assert "row 7: <b>Who</b> am I" in said


def test_clean_and_sampled_sources_say_what_was_looked_at() -> None:
    for draw in (data_html, data_text):
        assert "Nothing found in 200 rows looked at." in draw(report())
        assert "Nothing found in 200 of 1,000,000 rows looked at." in draw(report(rows=1_000_000))
        assert "found in 200 of 1,000,000 rows" in draw(report(rows=1_000_000, issues=(issue(),)))


def test_what_the_longest_row_costs_is_said() -> None:
    cut = data_text(report(), 300)
    assert "cut 12 rows, losing 340 trained tokens" in cut
    assert "left out 3 rows with no trained token left" in cut
    assert "trained on 43% of them" in cut
    assert "max length 512" in cut
    uncut = data_text(report(cut_rows=0, dropped_rows=0, max_length=4096), 300)
    assert "cut no row" in uncut
    assert "left out" not in uncut
    assert "Tokens a row" not in data_html(report(token_counts=np.array([], dtype=np.int32)))


@given(COUNTS, st.integers(1, 7000))
@settings(deadline=None)
def test_percentiles_are_numpys(counts: list[int], longest: int) -> None:
    lengths = Lengths.of(np.array(counts, dtype=np.int32), longest)
    for percent in (1, 50, 90, 95, 99, 100):
        assert lengths.percentile(percent) == np.percentile(counts, percent, method="inverted_cdf")


@given(COUNTS, st.integers(1, 7000), st.integers(2, 50))
@example([170] * 50, 512, 44)
@example([1] * 99 + [10**9], 512, 12)
@settings(deadline=None)
def test_bins_hold_every_row_once(counts: list[int], longest: int, about: int) -> None:
    lengths = Lengths.of(counts, longest)
    bins = lengths.bins(about)
    assert len(bins) <= about
    assert all(before.high + 1 == after.low for before, after in pairwise(bins))
    beyond = sum(count > bins[-1].high for count in counts)
    assert sum(part.rows for part in bins) + beyond == len(counts)
    numbers = re.findall(r"[█▏▎▍▌▋▊▉] ([\d,]+)$", lengths_text(lengths, 80), re.MULTILINE)
    assert sum(int(number.replace(",", "")) for number in numbers) == len(counts)


def test_the_longest_row_is_ruled_between_bars() -> None:
    lines = lengths_text(Lengths.of([100, 200, 300, 481, 480, 640], 480), 60).split("\n")
    rule = next(place for place, text in enumerate(lines) if "max length 480" in text)
    assert lines[rule - 1].split()[0].endswith("–480")
    assert lines[rule + 1].split()[0].startswith("481–")
    assert "max length" not in lengths_text(Lengths.of([100, 200], 200), 60)
    assert "max length 8 " in lengths_text(Lengths.of([900, 950], 8), 60).split("\n")[0]


def pixels(counts: list[int], longest: int) -> Any:
    image = Image.open(io.BytesIO(lengths_png(Lengths.of(counts, longest)))).convert("RGBA")
    return np.asarray(image).astype(int)


def red(picture: Any) -> int:
    return int(((picture[..., 0] > 150) & (picture[..., 2] < 120) & (picture[..., 3] > 200)).sum())


def test_the_histogram_is_a_small_transparent_picture_with_cut_rows_in_red() -> None:
    counts = [100 + place % 400 for place in range(4000)]
    whole, cut = pixels(counts, 2048), pixels(counts, 300)
    assert whole.shape == (370, 1120, 4)
    assert whole[2, 2, 3] == 0
    assert red(whole) == 0
    assert red(cut) > 20_000
    assert red(cut[-50:]) == 0
    assert len(lengths_png(Lengths.of(counts, 300))) < 30_000


def test_the_picture_is_in_the_page_and_says_itself_in_words() -> None:
    image = soup(data_html(report())).img
    assert image is not None
    assert "half have at most 397" in str(image["alt"])
    data = base64.b64decode(str(image["src"]).partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (1120, 370)
