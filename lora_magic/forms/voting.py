"""The vote's form, and its loop in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lora_magic.config import CompareConfig
from lora_magic.display.progress import Progress
from lora_magic.display.safe import plain
from lora_magic.display.shown import mark_shown
from lora_magic.display.surface import Bundle, in_notebook
from lora_magic.display.votes import SAID, ballot_html, progress, summary, votes_html, votes_text
from lora_magic.errors import LoraError
from lora_magic.evaluation.votes import Poll, refuse_unvotable, votes_file
from lora_magic.forms.place import Place, complaint, said
from lora_magic.interrupts import said as stopped
from lora_magic.results import Comparison
from lora_magic.results.votes import BOTH_BAD, HIGHEST, LOWEST, TIE, A, B, Votes
from lora_magic.session import Session

KEYS = {"a": A, "b": B, "t": TIE, "x": BOTH_BAD}
BACK = "u"
_BUTTONS = {A: "A is better", B: "B is better", TIE: "Tie", BOTH_BAD: "Both bad"}
_INSTEAD = "The form is gone with its kernel. Run the cell again: the vote goes on where it was."
_LOOP = "a or b: the better one, t: tie, x: both bad, u: take the last vote back, q: stop and see the result"


def compared_blind(session: Session, config: CompareConfig, variables: Mapping[str, object]) -> Comparison:
    """Two columns' answers, to be voted on before their names are shown.

    Args:
        session: whose base and adapters answer.
        config: what was asked for.
        variables: the notebook's, for prompts by name.

    Returns:
        The comparison, with its votes.

    Raises:
        LoraError: there are not two columns, the comparison cannot be made, or the disk refuses.
    """
    refuse_unvotable(config, session.adapters)
    with stopped("Comparing", lambda: "Model and adapters are as they were."), Progress("Comparing") as progress:
        made = session.compare(config, progress, variables)
    poll = Poll(made, votes_file(config, made.adapters, session.adapters), config.criteria)
    return replace(made, votes=vote(poll))


def vote(poll: Poll) -> Votes:
    """Vote in the running cell's output, or by typing in a terminal.

    Returns:
        The votes; in a notebook they go on changing while the form is used.

    Raises:
        LoraError: the disk refuses.
    """
    if not in_notebook():
        return vote_by_typing(poll)
    form = VotingForm(poll, Place())
    form.open()
    mark_shown(poll.votes)
    return poll.votes


class VotingForm:
    """Buttons, and a box whose letters are votes.

    Core widgets know no keys, but a text box tells of every letter. It is never emptied from here: a letter that is
    typed while an answer is on its way would be counted twice. What was typed after the last look is new.

    Args:
        poll: what is voted on.
        place: where it stands.

    Attributes:
        buttons: by verdict.
        keys: the box.
        widget: the whole form.
    """

    def __init__(self, poll: Poll, place: Place) -> None:
        import ipywidgets as widgets

        self._poll, self._place, self._typed = poll, place, ""
        self.state, self.ballot, self.message = widgets.HTML(), widgets.HTML(), widgets.HTML()
        wide = {"width": "auto", "margin": "2px 6px 2px 2px"}
        self.buttons = {
            verdict: widgets.Button(description=label, layout=wide, tooltip=f"key {key}")
            for (verdict, label), key in zip(_BUTTONS.items(), KEYS, strict=True)
        }
        self.back = widgets.Button(description="Take back", layout=wide, tooltip=f"key {BACK}")
        self.end = widgets.Button(description="Reveal now", layout=wide)
        self.keys = widgets.Text(placeholder="or type here: a b t x, u", layout={"width": "180px"})
        self.scores = {criterion: self._score_rows(criterion) for criterion in poll.votes.criteria}
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self._voting = [
            self.state, self.ballot,
            *(widgets.Box([a, b], layout=row) for a, b in self.scores.values()),
            widgets.Box([*self.buttons.values(), self.keys], layout=row),
            widgets.Box([self.back, self.end], layout=row), self.message,
        ]  # fmt: skip
        self.widget = widgets.VBox(self._voting)
        for verdict, button in self.buttons.items():
            button.on_click(partial(self._clicked, partial(self._cast, verdict)))
        self.back.on_click(partial(self._clicked, self._back))
        self.end.on_click(partial(self._clicked, self._reveal))
        self.keys.observe(self._typed_more, "value")

    def open(self) -> None:
        """Show the plain record, and the form where there is something to vote on."""
        self._place.draw(self._record)
        if self._poll.current is not None:
            self._refresh()
            self._place.open(self.widget, _INSTEAD)

    def _score_rows(self, criterion: str) -> tuple[Any, Any]:
        """Numbers for A and for B."""
        import ipywidgets as widgets

        numbers = [("–", 0), *((str(number), number) for number in range(LOWEST, HIGHEST + 1))]
        style = {"button_width": "30px", "description_width": "90px"}
        a, b = (
            widgets.ToggleButtons(
                options=numbers,
                value=0,
                description=f"{criterion} {side}",
                style=style,
                layout={"margin": "2px 24px 2px 2px"},
            )
            for side in ("A", "B")
        )
        return a, b

    def _clicked(self, act: Callable[[], None], _: Any) -> None:
        """Act, and say what is wrong where it cannot be done: nobody reads a callback's traceback."""
        try:
            act()
            self.message.value = ""
        except Exception as error:  # noqa: BLE001
            self.message.value = complaint(error)
        self._refresh()

    def _typed_more(self, change: Any) -> None:
        before, self._typed = self._typed, str(change["new"])
        new = self._typed[len(before) :] if self._typed.startswith(before) else ""
        for letter in new.lower():
            if letter in KEYS:
                self._clicked(partial(self._cast, KEYS[letter]), None)
            elif letter == BACK:
                self._clicked(self._back, None)
            elif not letter.isspace():
                self.message.value = said(f"{letter} is no vote: a, b, t (tie), x (both bad), u (take back)")

    def _cast(self, verdict: str) -> None:
        if self._poll.votes.tally is not None:
            return
        self._poll.cast(verdict, self._scored())
        for pair in self.scores.values():
            for one in pair:
                one.value = 0

    def _scored(self) -> dict[str, tuple[int, int]]:
        """The scores that both sides have.

        Raises:
            LoraError: one side has a score and the other has none.
        """
        found = {}
        for criterion, (a, b) in self.scores.items():
            if bool(a.value) != bool(b.value):
                raise LoraError(f"{criterion} has a score for one side.", "Give both, or neither.")
            if a.value:
                found[criterion] = (a.value, b.value)
        return found

    def _back(self) -> None:
        self._poll.back()

    def _reveal(self) -> None:
        self._poll.reveal()

    def _record(self) -> Bundle:
        return {"text/html": votes_html(self._poll.votes), "text/plain": votes_text(self._poll.votes)}

    def _refresh(self) -> None:
        """Draw the next row, or the result in the form's place."""
        votes, ballot = self._poll.votes, self._poll.current
        self._place.draw(self._record)
        if votes.tally is not None or ballot is None:
            # Where the page was reloaded meanwhile, the two outputs are out of reach and the widget is not.
            self.state.value = said(summary(votes))
            self.widget.children = [self.state, self.message]
            self._place.close()
            return
        number = votes.ballots.index(ballot) + 1
        self.state.value = said(f"row {number} of {len(votes.ballots)} · {progress(votes)}")
        self.ballot.value = ballot_html(ballot)
        self.back.disabled = not votes.cast


def vote_by_typing(poll: Poll, ask: Callable[[str], str] | None = None, write: Callable[[str], None] = print) -> Votes:
    """A row after the other, until all have votes or q, Ctrl-D or Ctrl-C; then the result.

    Args:
        poll: what is voted on.
        ask: shows its argument and returns a line; input() unless given.
        write: shows text.

    Raises:
        LoraError: the disk refuses.
    """
    ask = ask or input
    if poll.current is not None:
        write(_LOOP)
    try:
        while (ballot := poll.current) is not None:
            number = poll.votes.ballots.index(ballot) + 1
            a, b = ballot.answers
            write(f"\nrow {number} of {len(poll.votes.ballots)}: {plain(ballot.row.prompt)}")
            if ballot.row.reference is not None:
                write(f"\nreference: {plain(ballot.row.reference)}")
            write(f"\nA: {plain(a)}\n\nB: {plain(b)}\n")
            if _answered(poll, ask, write):
                break
    except (EOFError, KeyboardInterrupt):
        write("")
    return poll.reveal()


def _answered(poll: Poll, ask: Callable[[str], str], write: Callable[[str], None]) -> bool:
    """Take one line; whether it ends the vote."""
    typed = ask("a, b, t, x, u or q> ").strip().lower()
    if typed == "q":
        return True
    if typed == BACK:
        poll.back()
    elif typed in KEYS:
        scores = _asked_scores(poll.votes.criteria, ask, write)
        poll.cast(KEYS[typed], scores)
        write(f"{SAID[KEYS[typed]]} · {progress(poll.votes)}")
    else:
        write(_LOOP)
    return False


def _asked_scores(
    criteria: tuple[str, ...], ask: Callable[[str], str], write: Callable[[str], None]
) -> dict[str, tuple[int, int]]:
    """Two numbers a criterion; an empty line leaves it out."""
    found: dict[str, tuple[int, int]] = {}
    for criterion in criteria:
        while typed := ask(f"{criterion} of A and B, {LOWEST} to {HIGHEST}, such as 4 2> ").split():
            if len(typed) == 2 and all(one in "12345" and len(one) == 1 for one in typed):
                found[criterion] = (int(typed[0]), int(typed[1]))
                break
            write(f"Two numbers from {LOWEST} to {HIGHEST}, or nothing.")
    return found
