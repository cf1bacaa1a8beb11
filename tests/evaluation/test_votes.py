"""Blind votes: sides that follow from the rows alone, a file that outlives its process, and what votes come to."""

import itertools
import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_magic.config import CompareConfig
from lora_magic.display import bundle
from lora_magic.display.safe import unsafe
from lora_magic.display.votes import ballot_html, compact_bundle, votes_html, votes_text
from lora_magic.errors import LoraError
from lora_magic.evaluation.votes import Poll, ballots, read_votes, refuse_unvotable, tally, votes_file
from lora_magic.forms.voting import vote_by_typing
from lora_magic.results import Comparison, ComparisonRow
from lora_magic.results.votes import BOTH_BAD, TIE, VERDICTS, A, B, Vote
from tests.display.conftest import HOSTILE

TEXTS = st.text(max_size=20)


def row(prompt: str, base: str = "yes", tuned: str = "no") -> ComparisonRow:
    return ComparisonRow(prompt, None, {"base": base, "mine": tuned})


def comparison(count: int = 10, columns: tuple[str, ...] = ("base", "mine"), text: str = "") -> Comparison:
    rows = tuple(
        ComparisonRow(f"question {number} {text}", text or None, {name: f"{name}'s {text}" for name in columns})
        for number in range(count)
    )
    return Comparison(f"demo {text}", columns, rows, "rows of mine")


def prefer(poll: Poll, column: str) -> None:
    """Vote for a column, wherever it stands."""
    ballot = poll.current
    assert ballot is not None
    poll.cast(A if ballot.sides[0] == column else B)


def test_each_column_stands_on_each_side_about_as_often() -> None:
    listed, _ = ballots([row(f"question {number}") for number in range(4000)], ("base", "mine"))
    first = sum(ballot.sides == ("base", "mine") for ballot in listed)
    assert abs(first - 2000) < 4 * math.sqrt(1000)
    turns = sum(one.sides != other.sides for one, other in itertools.pairwise(listed))
    assert abs(turns - 2000) < 4 * math.sqrt(1000)


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=12), st.randoms())
def test_sides_follow_from_the_row_alone(texts: list[tuple[str, str, str]], random: object) -> None:
    rows = [row(*one) for one in texts]
    sides = {ballot.key: ballot.sides for ballot in ballots(rows, ("base", "mine"))[0]}
    again = [*rows, row("one more", "a", "b")]
    random.shuffle(again)  # type: ignore[attr-defined]
    other = {ballot.key: ballot.sides for ballot in ballots(again, ("mine", "base"))[0]}
    assert sides.items() <= other.items()


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=12))
def test_every_row_that_can_be_voted_on_is_there_once(texts: list[tuple[str, str, str]]) -> None:
    listed, same = ballots([row(*one) for one in texts], ("base", "mine"))
    assert same == sum(base.strip() == tuned.strip() for _, base, tuned in texts)
    asked = {(one.row.prompt, *(one.row.outputs[name] for name in ("base", "mine"))) for one in listed}
    assert asked == {one for one in texts if one[1].strip() != one[2].strip()}
    assert len(asked) == len(listed)
    for one in listed:
        assert one.answers == tuple(one.row.outputs[name] for name in one.sides)


def test_a_vote_is_taken_up_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    first = Poll(comparison(), path)
    for _ in range(4):
        prefer(first, "mine")
    second = Poll(comparison(), path)
    assert second.votes.done == 4 and second.current is not None
    assert second.current.row.prompt == "question 4 "
    assert [one.sides for one in second.votes.ballots] == [one.sides for one in first.votes.ballots]
    for _ in range(6):
        prefer(second, "base")
    assert second.votes.tally is not None and second.votes.tally.wins == {"base": 6, "mine": 4}
    third = Poll(comparison(), path)
    assert third.current is None and third.votes.tally == second.votes.tally


def test_votes_on_other_answers_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    poll = Poll(comparison(), path)
    prefer(poll, "mine")
    assert Poll(comparison(text="trained again"), path).votes.done == 0
    assert Poll(comparison(columns=("base", "other")), path).votes.done == 0
    assert Poll(comparison(), path).votes.done == 1


def test_votes_of_a_killed_process_are_there(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.evaluation.test_votes import comparison, prefer\n"
        "from lora_magic.evaluation.votes import Poll\n"
        "poll = Poll(comparison(), Path(sys.argv[1]))\n"
        "for _ in range(7):\n"
        "    prefer(poll, 'mine')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    poll = Poll(comparison(), path)
    assert poll.votes.done == 7 and poll.votes.notes == ()
    assert {vote.winner for vote in poll.votes.cast.values()} == {"mine"}


def test_a_line_that_was_cut_short_is_named_and_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    poll = Poll(comparison(), path)
    for _ in range(3):
        prefer(poll, "mine")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 20])
    again = Poll(comparison(), path)
    assert again.votes.done == 2
    assert again.votes.notes == (f"{path}: line 3 is no vote and was skipped",)
    prefer(again, "base")
    assert Poll(comparison(), path).votes.done == 3
    assert read_votes(path)[1] == (f"{path}: line 3 is no vote and was skipped",)


@given(st.lists(st.one_of(st.binary(max_size=30), st.from_type(type(None))), max_size=8))
def test_garbage_between_votes_is_skipped(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes | None]) -> None:
    path = tmp_path_factory.mktemp("votes") / "votes.jsonl"
    for number, line in enumerate(lines):
        if line is None:
            say = json.dumps({"row": f"r{number}", "a": "x", "b": "y", "verdict": "a"})
            with path.open("ab") as file:
                file.write(b"\n" + say.encode() + b"\n")
        else:
            with path.open("ab") as file:
                file.write(line)
    found, _ = read_votes(path)
    assert set(found) == {f"r{number}" for number, line in enumerate(lines) if line is None}


@pytest.mark.parametrize(
    "said",
    [
        {"verdict": "c"}, {"verdict": None}, {"a": 1}, {"row": 3}, {"scores": {"style": [1]}},
        {"scores": {"style": [0, 6]}}, {"scores": 7}, {"scores": {"style": [True, 2]}},
    ],
)  # fmt: skip
def test_a_line_that_says_something_else_is_no_vote(tmp_path: Path, said: dict[str, object]) -> None:
    path = tmp_path / "votes.jsonl"
    sound = {"row": "r", "a": "x", "b": "y", "verdict": "tie", "scores": {"style": [1, 5]}}
    path.write_text(json.dumps(sound | {"row": "s"}) + "\n" + json.dumps(sound | said) + "\n")
    found, notes = read_votes(path)
    assert list(found) == ["s"] and "line 2 is no vote" in notes[0]


def test_a_vote_can_be_taken_back_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    poll = Poll(comparison(3), path)
    for _ in range(3):
        prefer(poll, "mine")
    again = Poll(comparison(3), path)
    assert again.votes.tally is not None
    again.back()
    assert again.votes.tally is None and again.votes.done == 2
    again.cast(TIE)
    last = Poll(comparison(3), path).votes.tally
    assert last is not None and (last.wins["mine"], last.ties) == (2, 1)


def test_a_full_disk_costs_the_vote_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "votes").write_text("a file where the folder should be")
    poll = Poll(comparison(), tmp_path / "other" / "votes.jsonl")
    poll.votes.path = tmp_path / "votes" / "votes.jsonl"
    with pytest.raises(LoraError, match=r"a file, not a folder|a file where|exists"):
        poll.cast(A)
    assert poll.votes.done == 0 and poll.current is poll.votes.ballots[0]


@given(st.lists(st.sampled_from(VERDICTS), max_size=40), st.booleans())
def test_what_votes_come_to(verdicts: list[str], turned: bool) -> None:
    sides = ("mine", "base") if turned else ("base", "mine")
    made = tally([Vote(verdict, sides) for verdict in verdicts], ("base", "mine"))
    assert made.votes == len(verdicts) == sum(made.wins.values()) + made.ties + made.both_bad
    assert made.wins[sides[0]] == verdicts.count(A) and made.both_bad == verdicts.count(BOTH_BAD)
    decided = sum(made.wins.values())
    for name in ("base", "mine"):
        rate = made.rates[name]
        assert rate.rows == decided
        assert math.isnan(rate.mean) if not decided else rate.mean == pytest.approx(made.wins[name] / decided)
        assert math.isnan(rate.low) == (decided < 10)
        if decided >= 10:
            assert -1e-9 <= rate.low <= rate.mean + 1e-9 and rate.mean - 1e-9 <= rate.high <= 1 + 1e-9
        assert (f"{name} is preferred, 95%" == made.verdict) == (rate.low > 0.5)


def test_few_votes_cannot_tell_and_many_can() -> None:
    votes = [Vote(B, ("base", "mine"))] * 9
    assert tally(votes, ("base", "mine")).verdict == "9 votes for one of the two cannot tell"
    assert tally(votes * 3, ("base", "mine")).verdict == "mine is preferred, 95%"
    assert tally([Vote(A, ("base", "mine"))] * 27, ("base", "mine")).verdict == "base is preferred, 95%"
    split = [Vote(A, ("base", "mine")), Vote(B, ("base", "mine"))] * 10
    assert tally(split, ("base", "mine")).verdict == "no preference to be seen in 20 votes for one of the two"
    assert tally([Vote(TIE, ("base", "mine"))], ("base", "mine")).verdict == "no vote was for one of the two"


def test_scores_belong_to_columns_not_to_sides() -> None:
    votes = [Vote(A, ("mine", "base"), {"style": (5, 2)}), Vote(B, ("base", "mine"), {"style": (1, 4)})] * 6
    made = tally([*votes, Vote(TIE, ("base", "mine"))], ("base", "mine"))
    assert made.scores["style"]["mine"].mean == 4.5 and made.scores["style"]["base"].mean == 1.5
    assert made.scores["style"]["base"].rows == 12 and list(made.scores) == ["style"]
    assert made.differences["style"].mean == 3 and made.differences["style"].verdict.startswith("better on 12 rows")


def test_the_interval_of_scores_stays_between_the_lowest_and_the_highest() -> None:
    votes = [Vote(B, ("base", "mine"), {"style": (1 + (i == 0), 5 - (i == 1))}) for i in range(12)]
    made = tally(votes, ("base", "mine")).scores["style"]
    assert made["mine"].mean == pytest.approx(59 / 12) and made["base"].mean == pytest.approx(13 / 12)
    assert 1 <= made["base"].low < made["base"].mean < made["base"].high < made["mine"].low < made["mine"].high <= 5


def test_nothing_names_a_column_before_the_reveal(tmp_path: Path) -> None:
    rows = comparison(columns=("zebra", "mine"), text="t").rows
    rows = tuple(
        ComparisonRow(one.prompt, None, {"zebra": f"first {number}", "mine": f"second {number}"})
        for number, one in enumerate(rows)
    )
    poll = Poll(Comparison("demo", ("zebra", "mine"), rows, "ten rows"), tmp_path / "votes.jsonl")
    for _ in range(4):
        poll.cast(A)
    ballot = poll.current
    assert ballot is not None
    listed = votes_html(poll.votes).split("kept in", 1)[1]
    assert "zebra" not in ballot_html(ballot) + listed
    assert "4 of 10 votes" in votes_html(poll.votes) and "question 3" in votes_html(poll.votes)
    shown = votes_html(poll.reveal())
    assert "zebra preferred" in shown or "mine preferred" in shown
    assert "4 votes for one of the two cannot tell" in shown and "first 0" in shown


def test_views_are_safe_and_complete(tmp_path: Path) -> None:
    poll = Poll(comparison(12, text=HOSTILE), tmp_path / "votes.jsonl", ("style",))
    ballot = poll.current
    assert ballot is not None
    assert unsafe(ballot_html(ballot)) == []
    for _ in range(11):
        poll.cast(A, {"style": (4, 2)})
    assert unsafe(votes_html(poll.votes)) == []
    poll.cast(BOTH_BAD)
    revealed = votes_html(poll.votes)
    assert unsafe(revealed) == [] and unsafe(compact_bundle(poll.votes)["text/html"]) == []
    assert "show all: 4 more rows" in revealed and "both bad" in revealed
    text = votes_text(poll.votes, 80)
    assert all(len(one) <= 80 for one in text.splitlines())
    assert "12 of 12 votes" in text and "\x1b" not in text


def test_two_hundred_long_rows_stay_small(tmp_path: Path) -> None:
    rows = tuple(
        ComparisonRow(f"question {n}", "r" * 400, {"base": f"one {n} " * 800, "mine": f"two {n} " * 800})
        for n in range(200)
    )
    poll = Poll(Comparison("demo", ("base", "mine"), rows, "rows"), tmp_path / "votes.jsonl")
    poll.votes.cast = {one.key: Vote(A, one.sides) for one in poll.votes.ballots}
    html = votes_html(poll.reveal())
    assert len(html.encode()) < 1_500_000 and html.count("preferred") >= 200


def test_the_result_shows_the_vote_in_place_of_the_answers(tmp_path: Path) -> None:
    made = comparison()
    poll = Poll(made, tmp_path / "votes.jsonl")
    blind = Comparison(made.model, made.adapters, made.rows, made.source, votes=poll.votes)
    assert "base's" not in bundle(blind)["text/html"] and "base's" not in str(blind)
    prefer(poll, "mine")
    poll.reveal()
    assert "mine preferred" in bundle(blind)["text/html"]
    assert json.loads(blind.to_json())["votes"]["tally"]["wins"] == {"base": 0, "mine": 1}


def test_llm_comparator_gets_the_votes_as_scores(tmp_path: Path) -> None:
    made = comparison(5)
    poll = Poll(made, tmp_path / "votes.jsonl", ("style",))
    prefer(poll, "mine")
    ballot = poll.current
    assert ballot is not None
    poll.cast(TIE, {"style": (4, 2)})
    prefer(poll, "base")
    poll.cast(BOTH_BAD)
    voted = Comparison(made.model, made.adapters, made.rows, made.source, votes=poll.votes)
    found = json.loads(voted.to_json(format="llm-comparator"))
    assert [model["name"] for model in found["models"]] == ["mine", "base"]
    examples = found["examples"]
    assert [one["score"] for one in examples] == [1.0, 0.0, -1.0, 0.0, None], "above 0 is for the first model"
    assert [one["tags"] for one in examples] == [["mine preferred"], ["tie"], ["base preferred"], ["both bad"], []]
    for one, listed in zip(examples, poll.votes.ballots, strict=False):
        ratings = [(rating["score"], rating["is_flipped"]) for rating in one["individual_rater_scores"]]
        assert ratings == ([] if one["score"] is None else [(one["score"], listed.sides[0] != "mine")])
    style = {ballot.sides[0]: 4, ballot.sides[1]: 2}
    assert [one["custom_fields"]["style"] for one in examples][1:3] == [[style["mine"], style["base"]], [None, None]]
    turned = json.loads(voted.to_json(format="llm-comparator", columns=("base", "mine")))
    assert [one["score"] for one in turned["examples"]] == [-1.0, 0.0, 1.0, 0.0, None]


def test_voting_by_typing(tmp_path: Path) -> None:
    poll = Poll(comparison(4), tmp_path / "votes.jsonl", ("style",))
    typed = iter(["a", "4 2", "huh", "u", "t", "", "x", "9 9", "1 1", "q"])
    written: list[str] = []
    made = vote_by_typing(poll, lambda _: next(typed), written.append)
    assert made.tally is not None and (made.tally.ties, made.tally.both_bad, made.done) == (1, 1, 2)
    assert any("Two numbers from 1 to 5" in one for one in written)
    assert [vote.scores for vote in made.cast.values()] == [{}, {"style": (1, 1)}]
    assert list(typed) == []
    rest = iter(["b"])

    def ask(_: str) -> str:
        try:
            return next(rest)
        except StopIteration:
            raise EOFError from None

    again = Poll(comparison(4), tmp_path / "votes.jsonl")
    assert vote_by_typing(again, ask, written.append).done == 3


def test_where_votes_are_kept(tmp_path: Path) -> None:
    class Mine:
        path = tmp_path / "lora_runs" / "mine" / "adapter"

    class Foreign:
        path = tmp_path / "downloaded"

    columns, adapters = ("base", "mine"), {"mine": Mine(), "foreign": Foreign()}
    assert votes_file(CompareConfig(blind=True), columns, adapters) == Mine.path.parent / "votes.jsonl"
    assert votes_file(CompareConfig(blind=True), ("base", "foreign"), adapters) == Path.cwd() / "lora_votes/votes.jsonl"
    asked = CompareConfig(blind=True, votes=str(tmp_path / "here"))
    assert votes_file(asked, columns, adapters) == tmp_path / "here" / "votes.jsonl"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"blind": True, "adapters": "base,one,two"}, "two columns, not 3"),
        ({"blind": True, "adapters": "base"}, "two columns, not 1"),
        ({"blind": True, "scores": "stile"}, 'Did you mean "style"'),
        ({"scores": "style"}, "Add --blind"),
        ({"votes": "here"}, "Add --blind"),
    ],
)
def test_votes_that_cannot_be_held_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(LoraError, match=problem):
        CompareConfig.of(options)


def test_the_base_alone_is_refused_before_it_answers() -> None:
    with pytest.raises(LoraError, match="only the base"):
        refuse_unvotable(CompareConfig(blind=True), [])
