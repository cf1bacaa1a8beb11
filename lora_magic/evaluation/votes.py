"""Blind voting: which answer stands where, votes on disk as they are cast, and what they come to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from lora_magic.config import CompareConfig
from lora_magic.config.compare import CRITERIA
from lora_magic.errors import LoraError
from lora_magic.evaluation.intervals import LEAST_ROWS, Bootstrap
from lora_magic.evaluation.lines import append_line
from lora_magic.files import disk_errors
from lora_magic.results import Comparison, ComparisonRow
from lora_magic.results.measures import Difference, Value
from lora_magic.results.votes import HIGHEST, LOWEST, VERDICTS, Ballot, Tally, Vote, Votes

FILE = "votes.jsonl"
# Where votes on columns without a run of this folder go.
FOLDER = Path("lora_votes")
_NAMED_LINES = 3


class OnDisk(Protocol):
    """An adapter, as far as votes need to know it."""

    @property
    def path(self) -> Path | None:
        """Its folder; None when it could not be written."""


def refuse_unvotable(config: CompareConfig, adapters: Iterable[str]) -> None:
    """Refuse what cannot be voted on, before answers are made.

    Raises:
        LoraError: there are not two columns.
    """
    if config.columns is None and not list(adapters):
        raise LoraError("A vote is between two columns, and there is only the base.", "Train an adapter first.")


def votes_file(config: CompareConfig, columns: Iterable[str], adapters: Mapping[str, OnDisk]) -> Path:
    """The file that votes are added to: in the folder asked for, or in the run of the last column that has one.

    Args:
        config: what was asked for.
        columns: those compared.
        adapters: in memory, by name.
    """
    if config.votes is not None:
        return Path(config.votes).expanduser().absolute() / FILE
    paths = [adapters[name].path for name in columns if name in adapters]
    runs = [path.parent for path in paths if path is not None and path.name == "adapter"]
    return ((runs[-1] if runs else FOLDER) / FILE).absolute()


def ballots(rows: Iterable[ComparisonRow], columns: tuple[str, str]) -> tuple[list[Ballot], int]:
    """Rows to vote on, each with its sides, and how many have the same answer from both columns.

    Which column is A follows from the row's content alone: a vote that is taken up again has the same sides, and
    rows before or after change nothing. A row that is there twice is voted on once.
    """
    found: dict[str, Ballot] = {}
    same = 0
    for row in rows:
        if any(name not in row.outputs for name in columns):
            continue
        if len({row.outputs[name].strip() for name in columns}) == 1:
            same += 1
            continue
        key = row_key(row, columns)
        turned = int(hashlib.sha256(f"side {key}".encode()).hexdigest(), 16) % 2
        first, second = sorted(columns)
        found.setdefault(key, Ballot(key, row, (second, first) if turned else (first, second)))
    return list(found.values()), same


def row_key(row: ComparisonRow, columns: Iterable[str]) -> str:
    """What a row's votes are known by: a hash of the prompt and of both answers with their columns."""
    content = [row.prompt, *([name, row.outputs[name]] for name in sorted(columns))]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


class Poll:
    """A vote, and the file that keeps it.

    Args:
        comparison: of two columns.
        path: the file; it need not exist.
        criteria: what is scored beside the verdict.

    Attributes:
        votes: what was cast and what is left; changes with each vote.

    Raises:
        LoraError: there are not two columns, or the file cannot be read.
    """

    def __init__(self, comparison: Comparison, path: Path, criteria: tuple[str, ...] = ()) -> None:
        if len(comparison.adapters) != 2:
            raise LoraError(
                f"A vote is between two columns, not {len(comparison.adapters)}.", "Such as --adapters base,NAME."
            )
        columns = (comparison.adapters[0], comparison.adapters[1])
        listed, same = ballots(comparison.rows, columns)
        cast, notes = read_votes(path)
        known = {ballot.key: ballot.sides for ballot in listed}
        mine = {key: vote for key, vote in cast.items() if known.get(key) == vote.sides}
        self.votes = Votes(
            comparison.model, comparison.source, columns, tuple(listed), same, path, criteria, mine, notes=notes
        )
        self._order = [ballot.key for ballot in listed if ballot.key in mine]
        if not self.votes.left:
            self.reveal()

    @property
    def current(self) -> Ballot | None:
        """The first row without a vote; None when all have one."""
        return next(iter(self.votes.left), None)

    def cast(self, verdict: str, scores: Mapping[str, tuple[int, int]] | None = None) -> None:
        """Vote on the current row; on disk when this returns. The last vote reveals.

        Args:
            verdict: "a", "b", "tie" or "both bad".
            scores: by criterion, 1 to 5 for A and for B.

        Raises:
            LoraError: the disk refuses; the vote does not count then.
        """
        ballot = self.current
        if ballot is None:
            return
        vote = Vote(verdict, ballot.sides, dict(scores or {}), _now())
        append_vote(self.votes.path, ballot, vote)
        self.votes.cast[ballot.key] = vote
        self._order.append(ballot.key)
        if self.current is None:
            self.reveal()

    def back(self) -> None:
        """Take the last vote back; the file then says so too.

        Raises:
            LoraError: the disk refuses; the vote still counts then.
        """
        if not self._order:
            return
        key = self._order[-1]
        append_line(self.votes.path, {"row": key, "taken_back": _now()})
        self._order.pop()
        del self.votes.cast[key]
        self.votes.tally = None

    def reveal(self) -> Votes:
        """Say which column was which, and what the votes so far come to."""
        cast = [self.votes.cast[ballot.key] for ballot in self.votes.ballots if ballot.key in self.votes.cast]
        self.votes.tally = tally(cast, self.votes.columns)
        return self.votes


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def append_vote(path: Path, ballot: Ballot, vote: Vote) -> None:
    """Add a vote to the file, synced.

    Raises:
        LoraError: the disk refuses.
    """
    scores = {name: list(given) for name, given in vote.scores.items()}
    said = {"row": ballot.key, "prompt": ballot.row.prompt, "a": vote.sides[0], "b": vote.sides[1]}
    append_line(path, {**said, "verdict": vote.verdict, "preferred": vote.winner, "scores": scores, "cast": vote.cast})


def read_votes(path: Path) -> tuple[dict[str, Vote], tuple[str, ...]]:
    """Votes by the row's key, the last one of each row, and a note on lines that are no vote.

    Args:
        path: the file; none is no votes.

    Raises:
        LoraError: it cannot be read.
    """
    found: dict[str, Vote] = {}
    bad: list[int] = []
    with disk_errors(path):
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            key, vote = _parsed(line)
        except (ValueError, TypeError, KeyError, RecursionError):
            bad.append(number)
            continue
        if vote is None:
            found.pop(key, None)
        else:
            found[key] = vote
    return found, _note(path, bad)


def _note(path: Path, bad: list[int]) -> tuple[str, ...]:
    if not bad:
        return ()
    named = ", ".join(map(str, bad[:_NAMED_LINES])) + (", …" if len(bad) > _NAMED_LINES else "")
    one = len(bad) == 1
    return (
        f"{path}: line{'' if one else 's'} {named} {'is no vote and was' if one else 'are no votes and were'} skipped",
    )


def _parsed(line: bytes) -> tuple[str, Vote | None]:
    """A line's row, and its vote; None where it takes one back.

    Raises:
        ValueError, TypeError, KeyError: it is no vote.
    """
    said = json.loads(line)
    key = said["row"]
    if not isinstance(key, str):
        raise TypeError
    if "taken_back" in said:
        return key, None
    a, b, verdict, scores = said["a"], said["b"], said["verdict"], said.get("scores") or {}
    if verdict not in VERDICTS or not isinstance(a, str) or not isinstance(b, str):
        raise ValueError
    return key, Vote(verdict, (a, b), {name: _pair(scores[name]) for name in scores}, str(said.get("cast", "")))


def _pair(given: Any) -> tuple[int, int]:
    a, b = given
    if not all(type(one) is int and LOWEST <= one <= HIGHEST for one in (a, b)):
        raise ValueError
    return a, b


def tally(cast: list[Vote], columns: tuple[str, str]) -> Tally:
    """What votes come to; ties and "both bad" are counted apart from the win rates.

    Args:
        cast: the votes.
        columns: the two.
    """
    first, second = columns
    wins = {name: sum(vote.winner == name for vote in cast) for name in columns}
    decided = [1.0] * wins[second] + [0.0] * wins[first]
    rate = Bootstrap().value(decided, top=1.0)
    other = Value(1 - rate.mean, 1 - rate.high, 1 - rate.low, rate.rows)
    scores: dict[str, Mapping[str, Value]] = {}
    differences: dict[str, Difference] = {}
    for criterion in CRITERIA:
        given = [vote for vote in cast if criterion in vote.scores]
        if given:
            by_column = {name: [float(vote.score(criterion, name) or 0) for vote in given] for name in columns}
            scores[criterion] = {name: _mean_score(by_column[name]) for name in columns}
            differences[criterion] = Bootstrap().difference(
                by_column[first], by_column[second], unit="score", top=float(HIGHEST - LOWEST)
            )
    ties, bad = (sum(vote.verdict == verdict for vote in cast) for verdict in VERDICTS[2:])
    rates = {first: other, second: rate}
    return Tally(len(cast), wins, ties, bad, rates, _verdict(rates), scores, differences)


def _mean_score(scores: list[float]) -> Value:
    """The mean of scores, whose interval stays between the lowest and the highest there are."""
    above = Bootstrap().value([score - LOWEST for score in scores], top=float(HIGHEST - LOWEST))
    return Value(above.mean + LOWEST, above.low + LOWEST, above.high + LOWEST, above.rows)


def _verdict(rates: Mapping[str, Value]) -> str:
    """What may be said of the win rates."""
    votes = next(iter(rates.values())).rows
    counted = f"{votes:,} vote{'' if votes == 1 else 's'} for one of the two"
    if votes == 0:
        return "no vote was for one of the two"
    better = next((name for name, rate in rates.items() if rate.low > 0.5), None)
    if votes < LEAST_ROWS:
        return f"{counted} cannot tell"
    return f"{better} is preferred, 95%" if better else f"no preference to be seen in {counted}"
