"""What `%lora_compare` made: answers side by side, numbers beside them, and what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lora_magic.results.shown import Shown

if TYPE_CHECKING:
    from lora_magic.results.measures import Difference, Measures
    from lora_magic.results.selected import Selection
    from lora_magic.results.votes import Votes


@dataclass(frozen=True, eq=False)
class ComparisonRow:
    """One prompt and every column's answer.

    Attributes:
        prompt: what was asked (the last user turn).
        reference: the answer in the data, or None for a prompt of the user's own.
        outputs: answer by column name ("base" or an adapter's name), in column order.
        cut: names of the columns whose answer ended at the token limit.
    """

    prompt: str
    reference: str | None
    outputs: Mapping[str, str]
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Forgetting:
    """General prompts that the base gets right, and how many of them each adapter still does.

    Attributes:
        source: where the prompts came from.
        prompts: how many were asked.
        right: how many of them the base got right; only those count.
        kept: by adapter, how many of those it still gets right.
        differences: by adapter, the change of the share that is right, with its interval.
        lost: the prompts that the base got right and an adapter did not, with their answers.
    """

    source: str
    prompts: int
    right: int
    kept: Mapping[str, int]
    differences: Mapping[str, Difference]
    lost: tuple[ComparisonRow, ...] = ()


@dataclass(frozen=True, eq=False)
class Comparison(Shown):
    """Base and adapters side by side on the same prompts, seed and decoding.

    Attributes:
        model: the base.
        adapters: column names in order.
        rows: the prompts with their answers.
        source: where the prompts came from, such as "60 held-out rows of demo-json".
        decoding: label and value pairs, such as ("tokens at most", "128").
        seconds: generation time by column name.
        about: by column name, what it was asked with beyond the prompt, where there is something to say.
        measures: numbers beside the answers, or None where none were made.
        forgetting: general prompts before and after, or None where none were asked.
        notes: lines worth reading, such as where it was interrupted.
        asked: prompts there were; more than rows where it was interrupted, 0 for as many as rows.
        votes: the blind vote on it, which is shown in its place; None where nobody is asked to vote.
        selection: which of the rows these are, as `where` made it; None for all. Measures, what was forgotten and
            seconds are those of all rows.
    """

    model: str
    adapters: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    source: str
    decoding: tuple[tuple[str, str], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    measures: Measures | None = None
    forgetting: Forgetting | None = None
    notes: tuple[str, ...] = ()
    asked: int = 0
    votes: Votes | None = None
    selection: Selection | None = None

    @property
    def interrupted(self) -> bool:
        """True when the user stopped it before every prompt was answered."""
        return len(self.rows if self.selection is None else self.selection.whole.rows) < self.asked

    @property
    def columns(self) -> tuple[str, ...]:
        """The answers' columns in order; the base comes first where the adapters do not name it."""
        if self.selection is not None:
            return self.selection.whole.columns
        has_base = any("base" in row.outputs for row in self.rows)
        return ("base", *self.adapters) if has_base and "base" not in self.adapters else tuple(self.adapters)

    def where(
        self,
        show: str = "all",
        *,
        by: str | None = None,
        column: str | None = None,
        against: str | None = None,
        text: str | None = None,
        sort: str | None = None,
    ) -> Comparison:
        """Some of the rows, or the rows in another order; of a selection, those of its rows.

        Args:
            show: "better" or "worse" for rows where the column is so by a measure, "different" or "same" for those
                where its answer is, "cut" for those with an answer that ended at the token limit, "all".
            by: the measure by name or title; the first of which one way is better and that tells rows apart unless
                given.
            column: whose answers are judged; the last one unless given.
            against: the column that they are held against; the baseline unless given.
            text: what the prompt, the reference or an answer must hold, in any case of letters.
            sort: "change" for the largest change by the measure first, either way; "lowest" or "highest" for the
                column's own figure; the rows' own order unless given.

        Returns:
            A comparison of these rows, which says so. Its measures and what was forgotten are still those of all rows,
            and `selection.whole` is the comparison of all.

        Raises:
            LoraError: a name is unknown, nothing was measured, or a blind vote on it is under way.
        """
        from lora_magic.results.selected import Wanted, selected

        return selected(self, Wanted(show, by, column, against, text, sort))

    def browse(self) -> Comparison:
        """Show it below a bar that sorts and filters its rows, in a notebook; of a selection, those of its rows.

        Returns:
            The comparison itself; elsewhere than in a notebook it shows itself without a bar.

        Raises:
            LoraError: a blind vote on it is under way.
        """
        from lora_magic.forms.browsing import browsed

        return browsed(self)

    def to_json(
        self,
        path: str | Path | None = None,
        format: str = "lora-magic",
        columns: tuple[str, str] | None = None,
    ) -> str:
        """The comparison as JSON, for other programs.

        Args:
            path: the file to write as well; an old one is replaced.
            format: "lora-magic" for all that is here, "llm-comparator" for the file that LLM Comparator opens.
            columns: the two columns that LLM Comparator shows, A and B; an adapter against the base unless given.

        Returns:
            The JSON text.

        Raises:
            LoraError: an unknown format or column, fewer than two columns for LLM Comparator, or the disk refuses.
        """
        from lora_magic.files import atomic_file
        from lora_magic.results.exported import as_json

        text = as_json(self, format, columns)
        if path is not None:
            atomic_file(Path(path), text)
        return text
