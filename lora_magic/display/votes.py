"""Blind votes: how far they are without a name, and in the end who won, with the answers below."""

from __future__ import annotations

import math

from lora_magic.display import theme, units
from lora_magic.display.answer_cards import card, cards
from lora_magic.display.folded_cards import folded_cards
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import html_pairs, html_table, text_pairs, text_table
from lora_magic.results import ComparisonRow
from lora_magic.results.measures import Value
from lora_magic.results.votes import BOTH_BAD, TIE, A, B, Ballot, Tally, Vote, Votes

SAID = {A: "A", B: "B", TIE: "tie", BOTH_BAD: "both bad"}
_EXCERPT = 80


def ballot_html(ballot: Ballot) -> str:
    """A row as the voter sees it: prompt, reference where there is one, A and B."""
    a, b = ballot.answers
    row = ComparisonRow(ballot.row.prompt, ballot.row.reference, {"A": a, "B": b})
    return f'<div style="{theme.BOX}">{cards(card("", row, ("A", "B")))}</div>'


def votes_html(votes: Votes) -> str:
    """Revealed: win rates, scores and every row with its vote. Before: which rows have votes, by A and B."""
    names = " · ".join(votes.columns)
    title = f"<div><b>Blind vote</b> {inline(names)} on {inline(votes.model)}</div>"
    body = _open_html(votes) if votes.tally is None else _revealed_html(votes, votes.tally)
    notes = "".join(f'<div style="{theme.SMALL}">{inline(note)}</div>' for note in votes.notes)
    return f'<div style="{theme.BOX}">{title}{html_pairs(_facts(votes))}{notes}{body}</div>'


def votes_text(votes: Votes, width: int | None = None) -> str:
    """The same for a terminal, without the answers."""
    title = f"Blind vote {line(' · '.join(votes.columns))} on {line(votes.model)}"
    lines = [
        text_pairs([("", title), *_facts(votes)], width),
        *(text_pairs([("", note)], width) for note in votes.notes),
    ]
    if votes.tally is None:
        return "\n".join(lines)
    header, *rows = _result_rows(votes, votes.tally)
    lines += [text_table(header, rows, range(1, len(header)), width), text_pairs([("", votes.tally.verdict)], width)]
    return "\n".join([*lines, *(text_pairs([("", said)], width) for said in _differences(votes, votes.tally))])


def compact_bundle(votes: Votes) -> dict[str, str]:
    """One line, where the vote's own output stands above; without a number, which would soon be an old one."""
    said = f"the vote stands above, and its votes are in {line(votes.path)}"
    return {"text/plain": said, "text/html": f'<div style="{theme.BOX};{theme.MUTED}">{inline(said)}</div>'}


def progress(votes: Votes) -> str:
    """Such as "3 of 10 votes"."""
    return f"{votes.done:,} of {len(votes.ballots):,} votes"


def summary(votes: Votes) -> str:
    """The result in a line."""
    if votes.tally is None:
        return progress(votes)
    won = ", ".join(f"{line(name)} {number}" for name, number in votes.tally.wins.items())
    others = f"tie {votes.tally.ties}, both bad {votes.tally.both_bad}"
    return f"{progress(votes)}: {won}, {others}. {line(votes.tally.verdict)}"


def _facts(votes: Votes) -> list[tuple[str, str]]:
    facts = [("prompts", votes.source), ("cast", progress(votes))]
    if votes.same:
        facts.append(("not asked", f"{votes.same:,} with the same answer twice"))
    return [*facts, ("kept in", str(votes.path))]


def _open_html(votes: Votes) -> str:
    rows = [
        (str(number), _excerpt(ballot.row.prompt), SAID[votes.cast[ballot.key].verdict])
        for number, ballot in enumerate(votes.ballots, start=1)
        if ballot.key in votes.cast
    ]
    return html_table(("row", "prompt", "vote"), rows, {0}) if rows else ""


def _excerpt(text: str) -> str:
    said = " ".join(text.split())
    return said if len(said) <= _EXCERPT else f"{said[: _EXCERPT - 1]}…"


def _revealed_html(votes: Votes, tally: Tally) -> str:
    header, *rows = _result_rows(votes, tally)
    verdict = f"<div><b>{inline(tally.verdict)}</b></div>"
    differences = "".join(f"<div>{inline(said)}</div>" for said in _differences(votes, tally))
    table = html_table(header, rows, range(1, len(header)))
    cast = [(number, one) for number, one in enumerate(votes.ballots, start=1) if one.key in votes.cast]
    labels = [_label(number, one, votes.cast[one.key]) for number, one in cast]
    below = folded_cards(labels, [one.row for _, one in cast], votes.columns)
    return table + verdict + differences + below


def _label(number: int, ballot: Ballot, vote: Vote) -> str:
    said = f"{vote.winner} preferred" if vote.winner else SAID[vote.verdict]
    scores = [
        f"{criterion} {', '.join(f'{name} {vote.score(criterion, name)}' for name in sorted(ballot.sides))}"
        for criterion in vote.scores
    ]
    return " · ".join([f"row {number}", said, *scores])


def _result_rows(votes: Votes, tally: Tally) -> list[list[str]]:
    """Header and rows: wins and win rate of both columns, their scores, and votes for neither."""
    made = [["", "votes", "win rate", *tally.scores]]
    for name in votes.columns:
        scores = [_mean(tally.scores[criterion][name]) for criterion in tally.scores]
        made.append([name, f"{tally.wins[name]:,}", _rate(tally.rates[name]), *scores])
    blank = [""] * len(tally.scores)
    return [*made, ["tie", f"{tally.ties:,}", "", *blank], ["both bad", f"{tally.both_bad:,}", "", *blank]]


def _rate(value: Value) -> str:
    if math.isnan(value.mean):
        return "–"
    between = "" if math.isnan(value.low) else f" ({units.share(max(value.low, 0))} to {units.share(value.high)})"
    return f"{units.share(max(value.mean, 0))}{between} of {value.rows:,}"


def _mean(value: Value) -> str:
    between = "" if math.isnan(value.low) else f" ({value.low:.1f} to {value.high:.1f})"
    return f"{value.mean:.1f}{between} of {value.rows:,}"


def _differences(votes: Votes, tally: Tally) -> list[str]:
    """What may be said of the scores."""
    return [f"{criterion}: {votes.columns[1]} {one.verdict}" for criterion, one in tally.differences.items()]
