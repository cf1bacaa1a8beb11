"""One field of a form: an input with its label, its help below, and room for what is wrong with it."""

from __future__ import annotations

import functools
import threading
import typing
from collections.abc import Callable, Sequence
from typing import Any

from lora_magic.config.fields import REQUIRED, Config, label
from lora_magic.display import theme
from lora_magic.display.safe import html_text, inline, line
from lora_magic.errors import LoraError

NONE = "not given"
_MOST_FOUND = 6
# Never wider than its field: a long word breaks.
_FIT = "width:0;min-width:100%;box-sizing:border-box"
_SPACE = f"{_FIT};font-size:12px;line-height:1.4;opacity:0.85;overflow-wrap:break-word"
_WRONG = (
    f"{_FIT};font-size:12px;line-height:1.4;margin:2px 0;padding:0 0 0 6px;font-weight:600;"
    f"border-left:3px solid {theme.css(theme.RED)}"
)
_WIDE = {"width": "auto", "min_width": "0"}
# The label above its input: side by side they would leave the input little room on a narrow page.
_BELOW = {**_WIDE, "height": "auto", "flex_flow": "column", "align_items": "stretch"}
# A label and a list: flexible in its row, the list would grow as high as rows are wide.
_LIST = {**_BELOW, "height": "calc(2 * var(--jp-widgets-inline-height))"}


@functools.cache
def _hints(config_class: Any) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


class Field:
    """An input made from a config's field.

    Everything is typed as text, since only the config knows what is a number and says so in its own words. It counts
    when the field is left or Enter is pressed: of letters that are sent as they are typed, the last ones can reach the
    kernel after a press of a button that followed them.

    Args:
        config_class: whose field it is.
        name: the field's.
        changed: called with the name after every change by the user.

    Attributes:
        control: the widget that holds the value.
        widget: the whole field.
        message: the error that is shown, as HTML; "" for none.
    """

    def __init__(self, config_class: type[Config], name: str, changed: Callable[[str], None]) -> None:
        import ipywidgets as widgets

        self.name = name
        self._meta: Any = config_class.__dataclass_fields__[name]
        owner: Any = config_class
        self._is_flag = _hints(owner)[name] is bool
        self._changed, self._setting = changed, 0
        self._found: tuple[str, ...] = ()
        self.control = self._made(widgets)
        self._switch = self._switched(widgets)
        self._note = widgets.HTML(layout=_WIDE)
        parts = [self.control, self._note] if self._switch is None else [self._switch, self.control, self._note]
        self.widget = widgets.VBox(parts, layout={"min_width": "0"})
        self.message = ""
        self.control.observe(self._observed, "value")
        self.mark(None)

    def _made(self, widgets: Any) -> Any:
        meta, named = self._meta.metadata, {"description": label(self._meta)}
        style = {"description_width": "max-content"}
        if self._is_flag:
            return widgets.Checkbox(**named, indent=False, layout=_WIDE)
        if meta["choices"]:
            empty = [(NONE, "")] if self._meta.default is None else []
            options = [*empty, *((str(choice), choice) for choice in meta["choices"])]
            return widgets.Dropdown(**named, options=options, style=style, layout=_LIST)
        if meta["bare"] is not None:
            named["description"] = meta["metavar"].lower()
        kind = widgets.Combobox if meta["offers"] else widgets.Text
        return kind(**named, continuous_update=False, style=style, layout=_BELOW)

    def _switched(self, widgets: Any) -> Any:
        """A box to tick where the option may stand by itself."""
        if self._meta.metadata["bare"] is None or self._meta.metadata["choices"]:
            return None
        switch = widgets.Checkbox(description=label(self._meta), indent=False, layout=_WIDE)
        switch.observe(self._observed, "value")
        return switch

    def _observed(self, change: Any) -> None:
        if self._setting == threading.get_ident():
            return
        if self._switch is not None and change["owner"] is self.control and self.control.value:
            self._put(self._switch, True)
        self._changed(self.name)

    @property
    def value(self) -> Any:
        """What stands there: text, a choice or a flag; None for an empty field."""
        if self._switch is not None:
            return (self.control.value or self._meta.metadata["bare"]) if self._switch.value else None
        value = self.control.value
        return None if value == "" else value

    def set(self, value: Any) -> None:
        """Show another value, and tell nobody.

        Args:
            value: as the config holds it; None empties the field.
        """
        if self._switch is not None:
            self._put(self._switch, value is not None)
        if self._is_flag or self._meta.metadata["choices"]:
            choices = [choice for _, choice in getattr(self.control, "options", ())]
            self._put(self.control, bool(value) if self._is_flag else value if value in choices else choices[0])
        else:
            self._put(self.control, _written(value))

    def _put(self, widget: Any, value: Any) -> None:
        self._setting = threading.get_ident()
        try:
            if widget.value != value:
                widget.value = value
        finally:
            self._setting = 0

    def base(self, value: Any) -> None:
        """Say what an empty field stands for.

        A flag that is on without being given cannot be turned off on a line.
        """
        if self._is_flag:
            self.control.disabled = bool(value)
        elif not self._meta.metadata["choices"]:
            self.control.placeholder = _written(value)

    def offer(self, found: Sequence[str]) -> None:
        """What can be chosen beside what is typed."""
        if self._meta.metadata["offers"] and not self._meta.metadata["choices"]:
            self._found = tuple(found)
            self.control.options = self._found
            self.mark(None)

    def mark(self, error: LoraError | None, needed: bool = False) -> None:
        """Show an error below the field, or its help alone.

        Args:
            error: the config's own.
            needed: nothing was chosen here yet, which is no mistake so far.
        """
        is_missing = self._meta.default is REQUIRED and self.value is None
        if error is None and not is_missing:
            self.message = ""
        elif error is None or needed:
            self.message = f'<div style="{_SPACE}"><b>{html_text("needed")}</b></div>'
        else:
            said = f"{line(error.problem)} {line(error.remedy)}"
            self.message = f'<div style="{_WRONG}">{inline(said)}</div>'
        made = f'{self.message}<div style="{_SPACE}">{self._help()}</div>'
        if self._note.value != made:
            self._note.value = made

    def _help(self) -> str:
        """The config's help, the range, and what was found."""
        meta, parts = self._meta.metadata, [self._meta.metadata["help"].replace("%%", "%")]
        low, above, high = meta["low"], meta["above"], meta["high"]
        bounds = [f"at least {low:g}" if low is not None else f"above {above:g}" if above is not None else ""]
        bounds += [f"at most {high:,.10g}" if high is not None else ""]
        if said := " and ".join(filter(None, bounds)):
            parts.append(said)
        if self._found:
            more = f" and {len(self._found) - _MOST_FOUND} more" if len(self._found) > _MOST_FOUND else ""
            parts.append(f"found: {', '.join(map(line, self._found[:_MOST_FOUND]))}{more}")
        return inline(" · ".join(parts))

    def lock(self, locked: bool) -> None:
        """Take no input, or take it again."""
        self.control.disabled = locked
        if self._switch is not None:
            self._switch.disabled = locked


def _written(value: object) -> str:
    """A value as it would be typed."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)
