"""Blind votes on a comparison's rows, and what they came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lora_magic.results.shown import Shown

if TYPE_CHECKING:
    from lora_magic.results.comparison import ComparisonRow
    from lora_magic.results.measures import Difference, Value

A, B, TIE, BOTH_BAD = "a", "b", "tie", "both bad"
VERDICTS = (A, B, TIE, BOTH_BAD)
LOWEST, HIGHEST = 1, 5


@dataclass(frozen=True, eq=False)
class Ballot:
    """A row to vote on.

    Attributes:
        key: of the row's content: the prompt and both answers.
        row: the prompt and its answers.
        sides: the columns that are shown as A and as B.
    """

    key: str
    row: ComparisonRow
    sides: tuple[str, str]

    @property
    def answers(self) -> tuple[str, str]:
        """The answers as A and as B."""
        return self.row.outputs[self.sides[0]], self.row.outputs[self.sides[1]]


@dataclass(frozen=True)
class Vote:
    """One vote.

    Attributes:
        verdict: "a", "b", "tie" or "both bad".
        sides: the columns that were shown as A and as B.
        scores: by criterion, 1 to 5 for A and for B; only those that were given.
        cast: when, ISO 8601 in UTC.
    """

    verdict: str
    sides: tuple[str, str]
    scores: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    cast: str = ""

    @property
    def winner(self) -> str | None:
        """The column that was preferred, or None."""
        return self.sides[self.verdict == B] if self.verdict in (A, B) else None

    def score(self, criterion: str, column: str) -> int | None:
        """What a column was given, or None."""
        return self.scores[criterion][self.sides.index(column)] if criterion in self.scores else None


@dataclass(frozen=True)
class Tally:
    """What the votes came to.

    Attributes:
        votes: how many there are.
        wins: by column.
        ties, both_bad: votes for neither.
        rates: by column, the share of the votes for one of the two that it won, with its 95% interval.
        verdict: what may be said of it.
        scores: by criterion and column, the mean with its interval.
        differences: by criterion, of the second column from the first.
    """

    votes: int
    wins: Mapping[str, int]
    ties: int
    both_bad: int
    rates: Mapping[str, Value]
    verdict: str
    scores: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    differences: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(eq=False)
class Votes(Shown):
    """A vote under way or done. It changes as votes are cast.

    Attributes:
        model: the base.
        source: where the prompts came from.
        columns: the two.
        ballots: rows to vote on, in order.
        same: rows that are not voted on, because both answers are the same.
        path: the file that votes are added to.
        criteria: what is scored from 1 to 5 beside the verdict.
        cast: votes by the row's key.
        tally: what they came to; None until that is revealed.
        notes: lines worth reading, such as a damaged line of the file.
    """

    model: str
    source: str
    columns: tuple[str, str]
    ballots: tuple[Ballot, ...]
    same: int
    path: Path
    criteria: tuple[str, ...] = ()
    cast: dict[str, Vote] = field(default_factory=dict)
    tally: Tally | None = None
    notes: tuple[str, ...] = ()

    @property
    def left(self) -> list[Ballot]:
        """Rows without a vote, in order."""
        return [ballot for ballot in self.ballots if ballot.key not in self.cast]

    @property
    def done(self) -> int:
        """How many rows have a vote."""
        return len(self.ballots) - len(self.left)
