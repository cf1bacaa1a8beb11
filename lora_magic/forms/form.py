"""A magic's form: its fields, the line that they stand for, and a button that runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from lora_magic.config.fields import Config
from lora_magic.display import theme
from lora_magic.display.safe import html_text, line
from lora_magic.display.surface import CellOutput, Surface
from lora_magic.errors import Interrupted, LoraError
from lora_magic.forms.choices import Choices, choose, untouched
from lora_magic.forms.fields import Field
from lora_magic.forms.job import Job, Ran
from lora_magic.forms.layout import LAYOUTS, primary
from lora_magic.forms.place import complaint, said, widget_bundle
from lora_magic.forms.stage import Stage, bundle_of
from lora_magic.forms.turns import SETTLING, Later, interruptible, on_main_thread, when_pressed

STOP = "Running. To stop it, interrupt the kernel: the stop button above, or the menu's Interrupt."
STOPPED = "stopped"
TOO_LATE = "What was typed last came after Run was pressed: this run does not have it."
_ROW = {"flex_flow": "row wrap", "align_items": "flex-start", "width": "auto"}
_COLUMNS = "repeat(auto-fill, minmax(min(100%, 260px), 1fr))"
_GRID = {"grid_template_columns": _COLUMNS, "grid_gap": "6px 12px", "width": "auto"}
_LINE = (
    f"{theme.INLINE_CODE};font-family:monospace;font-size:13px;user-select:all;padding:2px 4px;border-radius:3px;"
    "background-color:rgba(127,127,127,0.14)"
)


class Form:
    """The form of one magic.

    Args:
        job: the magic.
        stage: where its runs are shown.
        surface: shows the form; the running cell's output by default.
        preview: gives what the choices lead to, as HTML.
        heard: told of each run as it begins and when it has ended.

    Attributes:
        fields: by name.
        topics: the buttons that unfold the fields of a topic, by topic.
        run: the button.
        choices: what stands in the form now.
        shown_line: the line, as HTML.
        message: what the form says beside the button, as HTML.
        preview: what the choices lead to, as HTML.
        widget: the whole form.
    """

    def __init__(
        self,
        job: Job,
        stage: Stage,
        surface: Surface | None = None,
        preview: Callable[[Config], str] | None = None,
        heard: Callable[[Ran], None] | None = None,
    ) -> None:
        import ipywidgets as widgets

        self._job, self._stage, self._surface = job, stage, surface or CellOutput()
        self._preview, self._heard, self.running = preview, heard or (lambda _: None), False
        self._recent: list[str] = []
        self._missed, self._turn = False, threading.RLock()
        self._suggested: frozenset[str] = frozenset()
        self._looks = Later(self._look)
        self._settles = Later(self._settle, SETTLING, at=lambda act: act())
        placed = LAYOUTS[job.name].placed(job.config_class, job.left_out)
        order = [name for names in placed.values() for name in names]
        self.fields = {name: Field(job.config_class, name, self._changed) for name in order}
        self._placed = placed
        first = widgets.GridBox([self.fields[name].widget for name in placed[""]], layout=_GRID)
        self.topics = {
            topic: widgets.ToggleButton(description=topic, layout={"width": "auto", "margin": "2px 6px 2px 0"})
            for topic in placed
            if topic
        }
        self._folded = {topic: self._folded_box(topic, names) for topic, names in placed.items() if topic}
        self.shown_line, self.message, self.preview = (widgets.HTML(layout={"width": "auto"}) for _ in range(3))
        self.run = widgets.Button(description="Run", **primary(), layout={"width": "auto"})
        when_pressed(self.run, self._pressed)
        self.widget = widgets.VBox(
            [
                first,
                widgets.Box([*self.topics.values()], layout={**_ROW, "margin": "8px 0 0 0"}),
                *self._folded.values(),
                self.preview,
                self.shown_line,
                widgets.Box([self.run, self.message], layout={**_ROW, "align_items": "center"}),
            ]
        )
        self._offer()

    def _folded_box(self, topic: str, names: tuple[str, ...]) -> Any:
        import ipywidgets as widgets

        title = widgets.HTML(f'<div style="font-size:13px;font-weight:600">{html_text(topic)}</div>')
        grid = widgets.GridBox([self.fields[name].widget for name in names], layout=_GRID)
        box = widgets.VBox([title, grid], layout={"display": "none", "padding": "4px 0 0 0"})
        self.topics[topic].observe(lambda change: self._unfold(box, change["new"]), "value")
        return box

    @staticmethod
    def _unfold(box: Any, is_open: bool) -> None:
        box.layout.display = "flex" if is_open else "none"

    def open(self, given: Mapping[str, Any] | None = None) -> None:
        """Show the form.

        Args:
            given: values by field that stand in it from the beginning.
        """
        self.fill(given or {})
        self._surface(widget_bundle(self.widget, self._instead()))
        self._stage.open()

    def _instead(self) -> str:
        """For front ends that show no widgets, and for a saved notebook; in short lines, which break inside words."""
        name = self._job.name
        same = self.choices.line if self.choices.given else f"%{name} --help lists what it takes."
        return f"The form of %{name} needs its kernel and widgets.\nAs a line: {same}"

    def fill(self, given: Mapping[str, Any]) -> None:
        """Put these values into the fields, and what stands for nothing chosen into the others."""
        base = untouched(self._job.config_class)
        for name, field in self.fields.items():
            field.set(given.get(name, base[name]))
        self._recent = list(given)
        self._refresh()

    def suggest(self, given: Mapping[str, Any]) -> None:
        """Put values into the fields that the user left alone; those of an earlier suggestion go.

        Args:
            given: by field; what the form has no field for is passed over.
        """
        own = [name for name in self._recent if name not in self._suggested]
        base = untouched(self._job.config_class)
        free = {name: value for name, value in given.items() if name in self.fields and name not in own}
        for name in {*self._suggested, *free}:
            self.fields[name].set(free.get(name, base[name]))
        self._recent, self._suggested = [*free, *own], frozenset(free)
        self._offer()
        self._refresh()

    def _offer(self) -> None:
        for name, field in self.fields.items():
            field.offer(self._job.offered(name))

    def _changed(self, name: str) -> None:
        self._recent = [*(one for one in self._recent if one != name), name]
        self._suggested -= {name}
        if self.running:
            self._missed = True
            self.message.value = said(f"{TOO_LATE} {STOP}")
        else:
            self._settles()

    def _settle(self) -> None:
        if not self.running:
            self.message.value = ""
            self._refresh()

    def _refresh(self, pressed: bool = False) -> None:
        """Line, marks and what is left alone, for what stands in the fields."""
        with self._turn:
            self._show_choices(pressed)
        self._looks()

    def _show_choices(self, pressed: bool) -> None:
        values = {name: field.value for name, field in self.fields.items()}
        self.choices = choices = choose(self._job, values, self._recent)
        for name, field in self.fields.items():
            if name not in choices.given and name not in choices.wrong and not self._is_typed(name):
                field.set(choices.settled[name] if values[name] is not None else None)
            field.base(choices.settled[name] if name not in choices.given else None)
            untried = not pressed and name not in self._recent
            field.mark(choices.wrong.get(name), needed=untried)
        for topic, button in self.topics.items():
            self._tell(button, topic, choices)
        self.shown_line.value = (
            f'<div style="{theme.BOX};padding-left:2px"><span style="{theme.MUTED}">The same as a line </span>'
            f'<code style="{_LINE}">{html_text(line(choices.line))}</code></div>'
        )
        if (error := choices.wrong.get("")) is not None:
            self.message.value = complaint(error)

    def _is_typed(self, name: str) -> bool:
        """Whether the user is at this field: what is typed there stays as it is."""
        return bool(self._recent) and self._recent[-1] == name

    def _tell(self, button: Any, topic: str, choices: Choices) -> None:
        """Say at a topic how many of its fields were chosen, and whether one is wrong."""
        names = self._placed[topic]
        chosen, wrong = sum(name in choices.given for name in names), sum(name in choices.wrong for name in names)
        said = f"{topic} ({chosen})" if chosen else topic
        button.description = f"{said} – {wrong} wrong" if wrong else said

    def _look(self) -> None:
        if self._preview is not None and not self.running and not self.choices.wrong:
            self.preview.value = self._preview(self._job.config_class.of(self._job.parse(self.choices.line)))

    def _pressed(self) -> None:
        """Run the line, unless something is wrong."""
        if self.running:
            return
        self._settles.cancel()
        self._refresh(pressed=True)
        if self.choices.wrong:
            error = next(iter(self.choices.wrong.values()))
            for topic, names in self._placed.items():
                if topic and any(name in self.choices.wrong for name in names):
                    self.topics[topic].value = True
            self.message.value = complaint(LoraError(f"Nothing ran: {error.problem}", error.remedy))
            return
        self._missed = False
        self._lock(True)
        written = self.choices.line
        on_main_thread(lambda: self._run(written))

    def _run(self, written: str) -> None:
        """The line in its magic, with everything that it shows on the stage."""
        given, result, state = self.choices.given, None, "done"
        ended: BaseException | None = None
        self._heard(Ran(written, "running", given))
        try:
            with interruptible(), self._stage.run(written):
                result = self._job.run(written)
                if result is not None:
                    self._stage.show(bundle_of(result))
        except KeyboardInterrupt as error:
            state, ended = "interrupted", error
            if isinstance(error, Interrupted):
                self._complain(LoraError(error.problem, error.kept))
        except Exception as error:  # noqa: BLE001  nobody reads a callback's traceback
            state, ended = "failed", error
            self._complain(error)
        finally:
            # A run that was stopped and kept what it had made returns like any other.
            shown = STOPPED if getattr(result, "interrupted", False) else state
            self._stage.end(shown)
            self._lock(False)
            self.message.value = said(f"{shown} · {TOO_LATE}" if self._missed else shown)
            self._offer()
            if self._missed:
                self._refresh()
        self._heard(Ran(written, state, given, result, ended))

    def _complain(self, error: Exception) -> None:
        self._stage.show({"text/html": complaint(error), "text/plain": str(error)})

    def _lock(self, locked: bool) -> None:
        self.running = locked
        for name, field in self.fields.items():
            field.lock(locked)
            if not locked:
                field.base(self.choices.settled[name] if name not in self.choices.given else None)
        self.run.disabled = locked
        self.run.description = "Running" if locked else "Run"
        if locked:
            self.message.value = said(STOP)


def opened(job: Job, given: Mapping[str, Any], preview: Callable[[Config], str] | None = None) -> Form:
    """Open a form in the running cell's output.

    Args:
        job: the magic.
        given: what stands in it from the beginning.
        preview: gives what is shown beside it, as HTML.
    """
    form = Form(job, Stage(), preview=preview)
    form.open(given)
    return form
