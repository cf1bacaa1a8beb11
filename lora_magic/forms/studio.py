"""The studio: one panel of steps from a model to a merged one, each with the form of its magic."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.config import DataOptions
from lora_magic.config.fields import Config, checked
from lora_magic.display import theme
from lora_magic.display.safe import html_text, inline, line
from lora_magic.display.studio import TITLE, studio_html, studio_text
from lora_magic.display.surface import CellOutput, Surface
from lora_magic.errors import Interrupted, LoraError
from lora_magic.forms.form import Form
from lora_magic.forms.job import Job, Ran
from lora_magic.forms.place import widget_bundle
from lora_magic.forms.stage import Stage
from lora_magic.forms.steps import DONE, STEPS, Standing, Step, first_open, following, standings
from lora_magic.forms.trail import Trail
from lora_magic.results import TrainResult

if TYPE_CHECKING:
    from lora_magic.session import Session

_INSTEAD = "The studio needs its kernel and widgets.\n%lora lists the magics of its steps."
_ABOUT = "Each step runs the line under its form. Open any step by its button; what is done can be done again."
_CODE = (
    "font-family:monospace;font-size:13px;line-height:1.5;user-select:all;white-space:pre-wrap;overflow-wrap:anywhere;"
    "margin:2px 0;padding:6px 8px;border-radius:3px;background-color:rgba(127,127,127,0.14)"
)
_MARKS = {DONE: "✓ "}
_EDGE = "1px solid rgba(127,127,127,0.35)"
_OF_ROWS = frozenset(DataOptions.__dataclass_fields__)
_FED_BY = {"lora_plan": ("lora_data",), "lora_train": ("lora_data", "lora_plan")}
_NOT_CARRIED = ("model", "bits", "backend", "revision")


class Studio:
    """The panel, its record below it, and below that what the steps' runs show.

    Args:
        jobs: the magics of the steps, by name.
        trail: what was done so far.
        session: gives the session; None where nothing was loaded yet.
        previews: what the choices in a form lead to, by magic.
        panel: shows the widgets.
        record: takes the plain record.
        stage: where runs are shown.

    Attributes:
        buttons: opens or folds a step, by magic.
        notes: how the steps stand, as HTML, by magic.
        forms: of the steps that were opened so far, by magic.
        current: the magic of the open step, or "".
        running: the magic of the step that runs now, or "".
        cell: the cell that repeats the session, as HTML.
        widget: the whole panel.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        trail: Trail,
        session: Callable[[], Session | None],
        previews: Mapping[str, Callable[[Config], str] | None],
        panel: Surface | None = None,
        record: Surface | None = None,
        stage: Stage | None = None,
    ) -> None:
        import ipywidgets as widgets

        self._jobs, self._trail, self._session, self._previews = jobs, trail, session, previews
        self._panel, self._record = panel or CellOutput(), record or CellOutput()
        self._stage = stage or Stage(keeps=True)
        self._outside: list[str] = []
        self._failed: dict[str, str] = {}
        self._drawn: Any = None
        self._turning = False
        self.running, self.current = "", ""
        self.forms: dict[str, Form] = {}
        self.buttons: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self._bodies: dict[str, Any] = {}
        self.cell = widgets.HTML(layout={"width": "auto"})
        about = widgets.HTML(f'<div style="{theme.BOX};{theme.MUTED}">{inline(_ABOUT)}</div>', layout={"width": "auto"})
        self.widget = widgets.VBox([about, *(self._made(step) for step in STEPS), self.cell])

    def _made(self, step: Step) -> Any:
        """A step's button with how it stands, and room for its form."""
        import ipywidgets as widgets

        button = widgets.ToggleButton(layout={"width": "118px", "margin": "2px 8px 2px 2px"})
        note = widgets.HTML(layout={"flex": "1 1 130px", "width": "auto", "min_width": "0"})
        head = widgets.Box([button, note], layout={"flex_flow": "row wrap", "align_items": "center", "width": "auto"})
        body = widgets.VBox(layout={"display": "none", "padding": "4px 4px 8px 4px", "min_width": "0"})
        button.observe(partial(self._turned, step.magic), "value")
        self.buttons[step.magic], self.notes[step.magic], self._bodies[step.magic] = button, note, body
        return widgets.VBox([head, body], layout={"border": _EDGE, "margin": "0 0 4px 0", "width": "auto"})

    def open(self) -> None:
        """Show the panel, with the step after the last that is done."""
        found = self.refresh()
        self.turn_to(first_open(found))
        self._panel(widget_bundle(self.widget, _INSTEAD))
        self._draw(found)
        self._stage.open()

    def turn_to(self, magic: str) -> None:
        """Unfold a step and fold the others; "" folds all."""
        self._turning = True
        try:
            self.current = magic
            for name, body in self._bodies.items():
                if name == magic:
                    self._unfolded(name)
                body.layout.display = "flex" if name == magic else "none"
                self.buttons[name].value = name == magic
        finally:
            self._turning = False

    def _turned(self, magic: str, change: Any) -> None:
        if not self._turning:
            self.turn_to(magic if change["new"] else "")

    def _unfolded(self, magic: str) -> None:
        """The form of a step, made when it is first needed, with what the steps before it lead to."""
        if magic not in self.forms:
            heard = partial(self._heard, magic)
            form = Form(self._jobs[magic], self._stage, preview=self._previews.get(magic), heard=heard)
            form.fill({})
            self.forms[magic] = form
            self._bodies[magic].children = [form.widget]
        self.forms[magic].suggest(self._carried(magic))

    def _carried(self, magic: str) -> dict[str, Any]:
        """Values that follow from the steps before this one."""
        session, fields = self._session(), self._jobs[magic].config_class.__dataclass_fields__
        found: dict[str, Any] = {}
        for before, given in self._trail.given.items():
            if before in _FED_BY.get(magic, ()):
                kept = {n: v for n, v in found.items() if "data" not in given or n not in _OF_ROWS}
                found = {**kept, **{n: v for n, v in given.items() if n not in _NOT_CARRIED}}
        base = session.status().base if session is not None else None
        if magic == "lora_plan" and base is not None:
            found |= {"model": base.model, "bits": base.bits}
        if magic == "lora_merge" and session is not None and session.adapters:
            name = session.active if session.active in session.adapters else list(session.adapters)[-1]
            found = {"name": name, "out": _free(f"out/{name}-merged")}
        return {name: value for name, value in found.items() if name in fields and _fits(fields[name], value)}

    def refresh(self, *_: object) -> dict[str, Standing]:
        """Say how the steps stand now; what happened in other cells counts."""
        session = self._session()
        self._trail.hold(session)
        found = standings(session, self._trail.results)
        for number, step in enumerate(STEPS, 1):
            button, stands = self.buttons[step.magic], found[step.magic]
            _put(button, "description", f"{_MARKS.get(stands.state, '')}{number} {step.title}")
            _put(self.notes[step.magic], "value", self._note(step, stands))
        _put(self.cell, "value", self._cell_html())
        if self._drawn is not None:
            self._draw(found)
        return found

    def _note(self, step: Step, stands: Standing) -> str:
        if self.running:
            said = "running" if step.magic == self.running else stands.said
        else:
            said = self._failed.get(step.magic, stands.said)
        strong = step.magic in self._failed or stands.state == DONE or step.magic == self.running
        weight = "font-weight:600" if step.magic in self._failed and not self.running else "font-weight:normal"
        style = f"{theme.BOX};{weight};overflow-wrap:break-word" + ("" if strong else f";{theme.MUTED}")
        return f'<div style="{style}">{inline(line(said))}</div>'

    def _cell_html(self) -> str:
        if not self._trail.cell:
            return ""
        note = f'<div style="{theme.SMALL}">{inline(self._trail.note)}</div>' if self._trail.note else ""
        title = f"{TITLE} without a form: click, then copy"
        code = f'<div style="{_CODE}">{html_text(self._trail.cell)}</div>'
        return f'<div style="{theme.BOX}">{inline(title)}{code}{note}</div>'

    def _draw(self, found: Mapping[str, Standing]) -> None:
        """The plain record, where it has changed."""
        steps = tuple((step.title, found[step.magic].state, found[step.magic].said) for step in STEPS)
        wanted = (steps, self._trail.cell)
        if wanted != self._drawn:
            self._drawn = wanted
            html = studio_html(steps, self._trail.cell, self._trail.note)
            self._record({"text/html": html, "text/plain": studio_text(steps, self._trail.cell)})

    def _heard(self, magic: str, ran: Ran) -> None:
        """A step runs, or has run."""
        session = self._session()
        if ran.state == "running":
            self.running = magic
            self._outside = [] if magic == "lora_load" else self._trail.outside(session)
            self._failed.pop(magic, None)
            self._lock(True)
            self.refresh()
            return
        self.running = ""
        if ran.state == "done":
            self._trail.add(magic, ran, self._outside, self._jobs[magic].needs(ran.line), session)
        else:
            self._failed[magic] = _why(ran)
        if ran.state == "done" and not (isinstance(ran.result, TrainResult) and ran.result.interrupted):
            self.turn_to(following(magic))
        self._lock(False)
        self.refresh()

    def _lock(self, locked: bool) -> None:
        for button in self.buttons.values():
            button.disabled = locked


def _put(widget: Any, name: str, value: str) -> None:
    """Set what has changed: every change is a message to the page."""
    if getattr(widget, name) != value:
        setattr(widget, name, value)


def _fits(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether another magic's value is one for this field."""
    try:
        checked(field, value)
    except LoraError:
        return False
    return True


def _free(folder: str) -> str:
    """A folder that is not there yet: this one, or with a number."""
    number, found = 1, folder
    while Path(found).exists():
        number += 1
        found = f"{folder}-{number}"
    return found


def _why(ran: Ran) -> str:
    """Why a step ended early, in a line."""
    error = ran.error
    if isinstance(error, Interrupted):
        return f"{error.problem} {error.kept}"
    if isinstance(error, LoraError):
        return f"{ran.state}: {error.problem} {error.remedy}"
    return ran.state
