"""The bar that sorts and filters a comparison's rows in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lora_magic.display import bundle
from lora_magic.display.shown import mark_shown
from lora_magic.display.surface import in_notebook
from lora_magic.errors import LoraError
from lora_magic.forms.place import Place, complaint, said
from lora_magic.results import Comparison
from lora_magic.results.selected import OF_TWO, Wanted, as_asked, measures_of, pair, selected

_INSTEAD = "The bar that sorts and filters the rows below needs its kernel. Run the cell again to have it."
_SHOWN = {
    "all": "all rows", "better": "better", "worse": "worse", "different": "different answers", "same": "same answers",
    "cut": "cut at the token limit",
}  # fmt: skip
# Of a list, None is no choice at all.
_ORDERS = (("as asked", ""), ("largest change", "change"), ("lowest figure", "lowest"), ("highest figure", "highest"))
_FLEXIBLE = {"flex": "1 1 170px", "width": "auto", "min_width": "0", "margin": "2px 10px 2px 2px"}


def browsed(comparison: Comparison, wanted: Wanted | None = None) -> Comparison:
    """Show a comparison below its bar in the running cell's output; elsewhere than in a notebook without one.

    Args:
        comparison: whose rows.
        wanted: which of them to begin with; all unless given.

    Returns:
        The comparison itself, shown already; without a bar, the rows that are wanted.

    Raises:
        LoraError: a blind vote on it is under way.
    """
    first = wanted or Wanted()
    selected(comparison, Wanted())
    if not in_notebook():
        return as_asked(comparison, first)
    Bar(comparison, Place()).open(first)
    mark_shown(comparison)
    return comparison


class Bar:
    """Lists and a text box above the rows, which follow every change.

    A list that has one choice is left out: without measures there is nothing to sort by, and two columns have no
    third one between them.

    Args:
        comparison: whose rows.
        place: where it stands; the bar is shown first, since the rows below it are many.

    Attributes:
        show, by, column, against, sort: the lists.
        text: what prompt, reference or an answer must hold.
        back: shows all rows again.
        message: how many rows are shown and how code asks for the same, or what is wrong, as HTML.
        widget: the whole bar.
    """

    def __init__(self, comparison: Comparison, place: Place) -> None:
        import ipywidgets as widgets

        self._rows, self._place, self._setting = replace(comparison, votes=None), place, False
        names = comparison.columns
        self._measures = measures_of(comparison)
        shown = [(label, name) for name, label in _SHOWN.items() if self._can_show(name)]
        self.show = self._list("Rows", shown)
        self.by = self._list("Measure", [(one.title, one.name) for one in self._measures])
        self.column = self._list("Column", [(name, name) for name in names])
        self.against = self._list("Against", [(name, name) for name in names])
        self.sort = self._list("Order", [one for one in _ORDERS if len(names) > 1 or one[1] != "change"])
        self.text = widgets.Text(
            description="Containing", placeholder="a word of the row", continuous_update=False,
            style={"description_width": "initial"}, layout={**_FLEXIBLE, "flex": "2 1 260px"},
        )  # fmt: skip
        self.back = widgets.Button(description="All rows", layout={"width": "auto", "margin": "2px"})
        self.message = widgets.HTML(layout={"width": "auto"})
        inputs = [
            self.show, *([self.by, self.sort] if self._measures else []), *([self.column] if len(names) > 1 else []),
            *([self.against] if len(names) > 2 else []), self.text,
        ]  # fmt: skip
        row = {"flex_flow": "row wrap", "align_items": "center"}
        below = widgets.Box([self.back, self.message], layout=row)
        self.widget = widgets.VBox([widgets.Box(inputs, layout=row), below])
        for one in inputs:
            one.observe(lambda _: self._draw(), "value")
        self.back.on_click(lambda _: self._begin(Wanted()))

    def _can_show(self, name: str) -> bool:
        """Whether rows can be told apart this way."""
        if name in OF_TWO and len(self._rows.columns) < 2:
            return False
        return name not in ("better", "worse") or any(one.better for one in self._measures)

    @staticmethod
    def _list(label: str, options: Sequence[tuple[str, Any]]) -> Any:
        import ipywidgets as widgets

        close = {"description_width": "initial"}
        return widgets.Dropdown(options=options, description=label, style=close, layout=_FLEXIBLE)

    def open(self, first: Wanted) -> None:
        """Show the bar and the rows.

        Args:
            first: the rows to begin with.
        """
        self._place.open(self.widget, _INSTEAD)
        try:
            self._begin(first)
        except LoraError as error:
            self._begin(Wanted())
            self.message.value = complaint(error)

    def _begin(self, wanted: Wanted) -> None:
        """Put what is wanted into the bar, and show it.

        Raises:
            LoraError: it cannot be told of these rows.
        """
        by = self._measure_of(wanted) or self._first
        column, against = pair(self._rows, wanted)
        self._setting = True
        try:
            for control, value in (
                (self.show, wanted.show), (self.by, by), (self.sort, wanted.sort or ""), (self.column, column),
                (self.against, against), (self.text, wanted.text or ""),
            ):  # fmt: skip
                control.value = value
        finally:
            self._setting = False
        self._draw()

    def _measure_of(self, wanted: Wanted) -> str | None:
        """The name of the measure that the rows are chosen by; None for none."""
        chosen = selected(self._rows, wanted).selection
        return None if chosen is None or chosen.measure is None else chosen.measure.name

    @property
    def _first(self) -> str | None:
        """The name of the measure to begin with; None for none."""
        try:
            return self._measure_of(Wanted(sort="lowest")) if self._measures else None
        except LoraError:
            return self._measures[0].name

    @property
    def wanted(self) -> Wanted:
        """What stands in the bar."""
        by = self.by.value if self.sort.value or self.show.value in ("better", "worse") else None
        several = len(self._rows.columns) > 1
        made = Wanted(self.show.value, by, None, None, self.text.value or None, self.sort.value or None)
        of_column = several and (made.measured or made.of_two or made.show == "cut")
        column = self.column.value if of_column else None
        default = pair(self._rows, Wanted(column=column))[1]
        against = self.against.value if made.of_two and len(self._rows.columns) > 2 else None
        return replace(made, column=column, against=None if against == default else against)

    def _draw(self) -> None:
        """The rows that are wanted; what is wrong stays in the bar: nobody reads a callback's traceback."""
        if self._setting:
            return
        try:
            wanted = self.wanted
            view = selected(self._rows, wanted, folds_rest=True)
            self._place.draw(lambda: bundle(view))
        except Exception as error:  # noqa: BLE001
            self.message.value = complaint(error)
            return
        if wanted.is_all or view.selection is None:
            self.message.value = ""
        else:
            self.message.value = said(f"{view.selection.count}. In code: {_code(wanted)}")


def _code(wanted: Wanted) -> str:
    """The call that asks for the same."""
    words = [repr(wanted.show)] if wanted.show != "all" else []
    named = ((name, getattr(wanted, name)) for name in ("by", "column", "against", "text", "sort"))
    return f".where({', '.join([*words, *(f'{name}={value!r}' for name, value in named if value is not None)])})"
