"""The vote's form: buttons and letters, what it hides, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_magic.display.safe import unsafe
from lora_magic.evaluation.votes import Poll
from lora_magic.forms.voting import VotingForm
from lora_magic.results import Comparison, ComparisonRow
from lora_magic.results.votes import BOTH_BAD, TIE, A, B
from tests.display.conftest import HOSTILE
from tests.forms.conftest import Shown


def poll_of(path: Path, count: int = 4, criteria: tuple[str, ...] = (), text: str = "") -> Poll:
    rows = tuple(
        ComparisonRow(
            f"question {number} {text}", text or None, {"base": f"one {text}", "mine": f"two {number} {text}"}
        )
        for number in range(count)
    )
    return Poll(Comparison("demo", ("base", "mine"), rows, "rows"), path / "votes.jsonl", criteria)


def verdicts(poll: Poll) -> list[str]:
    return [poll.votes.cast[one.key].verdict for one in poll.votes.ballots if one.key in poll.votes.cast]


def opened(poll: Poll, shown: Shown) -> VotingForm:
    form = VotingForm(poll, shown.place)
    form.open()
    return form


def test_buttons_vote_and_the_record_follows(tmp_path: Path, shown: Shown) -> None:
    poll = poll_of(tmp_path)
    form = opened(poll, shown)
    assert shown.is_open and "0 of 4 votes" in shown.html
    assert "row 1 of 4" in form.state.value and "question 0" in form.ballot.value and form.back.disabled
    form.buttons[A].click()
    assert "row 2 of 4 · 1 of 4 votes" in form.state.value and "question 1" in form.ballot.value
    assert "1 of 4 votes" in shown.html and "question 0" in shown.html
    form.buttons[TIE].click()
    assert len(poll.votes.path.read_text().splitlines()) == 2
    form.back.click()
    assert verdicts(poll) == [A] and "question 1" in form.ballot.value
    for verdict in (B, BOTH_BAD, TIE):
        form.buttons[verdict].click()
    assert verdicts(poll) == [A, B, BOTH_BAD, TIE]
    assert not shown.is_open
    assert "2 votes for one of the two cannot tell" in shown.html and "preferred" in shown.html


def test_letters_vote(tmp_path: Path, shown: Shown) -> None:
    poll = poll_of(tmp_path)
    form = opened(poll, shown)
    for typed in ("a", "aB", "aBt", "aBtu"):
        form.keys.value = typed
    assert verdicts(poll) == [A, B]
    form.keys.value = "aBtu?"
    assert "? is no vote" in form.message.value and verdicts(poll) == [A, B]
    form.keys.value = ""
    assert verdicts(poll) == [A, B]
    form.keys.value = "x t"
    assert verdicts(poll) == [A, B, BOTH_BAD, TIE] and not shown.is_open
    form.keys.value = "x taaaa"
    assert poll.votes.done == 4 and poll.votes.tally is not None


@given(typed=st.text("abtx", max_size=6), seen=st.sets(st.integers(1, 6)))
@settings(max_examples=25, deadline=None)
def test_letters_count_once_however_they_arrive(
    typed: str, seen: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A page sends the box's whole text, and leaves out states while an answer is under way."""
    poll = poll_of(tmp_path_factory.mktemp("votes"), 8)
    form = opened(poll, Shown())
    for end in sorted(seen):
        form.keys.value = typed[:end]
    form.keys.value = typed
    expected = {"a": A, "b": B, "t": TIE, "x": BOTH_BAD}
    assert verdicts(poll) == [expected[letter] for letter in typed]


def test_scores_are_for_both_sides_and_begin_anew(tmp_path: Path, shown: Shown) -> None:
    poll = poll_of(tmp_path, criteria=("accuracy", "style"))
    form = opened(poll, shown)
    a, b = form.scores["accuracy"]
    a.value = 5
    form.buttons[A].click()
    assert "accuracy has a score for one side" in form.message.value and poll.votes.done == 0
    b.value = 2
    form.buttons[A].click()
    assert [vote.scores for vote in poll.votes.cast.values()] == [{"accuracy": (5, 2)}]
    assert (a.value, b.value, form.message.value) == (0, 0, "")


def test_the_form_names_no_column_until_the_reveal(tmp_path: Path, shown: Shown) -> None:
    rows = tuple(ComparisonRow(f"q{n}", None, {"zebra": f"one {n}", "yak": f"two {n}"}) for n in range(3))
    poll = Poll(Comparison("demo", ("zebra", "yak"), rows, "rows"), tmp_path / "votes.jsonl")
    form = opened(poll, shown)
    seen: list[str] = []
    for button in (A, B):
        seen += [form.ballot.value, form.state.value, str(form.buttons[button].tooltip)]
        form.buttons[button].click()
    assert not any(name in one for one in seen for name in ("zebra", "yak"))
    form.end.click()
    assert poll.votes.tally is not None and poll.votes.done == 2
    assert "zebra" in form.state.value and "2 votes for one of the two" in shown.html and not shown.is_open


def test_a_vote_goes_on_in_a_new_form_and_a_finished_one_has_none(tmp_path: Path, shown: Shown) -> None:
    opened(poll_of(tmp_path), shown).keys.value = "ab"
    again = opened(poll_of(tmp_path), shown)
    assert "row 3 of 4 · 2 of 4 votes" in again.state.value and "question 0" in shown.html
    again.keys.value = "tt"
    after = Shown()
    opened(poll_of(tmp_path), after)
    assert not after.is_open and "4 of 4 votes" in after.html


def test_what_cannot_be_written_does_not_count(tmp_path: Path, shown: Shown) -> None:
    poll = poll_of(tmp_path)
    form = opened(poll, shown)
    poll.votes.path = tmp_path
    form.buttons[A].click()
    assert "A folder lies where a file should go" in form.message.value
    assert poll.votes.done == 0 and "question 0" in form.ballot.value
    poll.votes.path = tmp_path / "votes.jsonl"
    form.buttons[A].click()
    assert form.message.value == "" and poll.votes.done == 1


def test_hostile_text_stays_text(tmp_path: Path, shown: Shown) -> None:
    poll = poll_of(tmp_path, text=HOSTILE)
    form = opened(poll, shown)
    parts: list[Any] = [form.state.value, form.ballot.value]
    form.keys.value = "<"
    parts.append(form.message.value)
    form.keys.value = "<a"
    form.end.click()
    for html in [*parts, form.state.value, *(one["text/html"] for one in shown.plain)]:
        assert unsafe(html) == []
