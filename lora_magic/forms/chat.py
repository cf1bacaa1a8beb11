"""The chat's form, and its loop in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from lora_magic.config.chat import ChatConfig
from lora_magic.display.chat import chat_html, chat_text
from lora_magic.display.safe import line, plain
from lora_magic.display.shown import mark_shown
from lora_magic.display.surface import Bundle, in_notebook
from lora_magic.errors import LoraError
from lora_magic.evaluation.chat import NO_ANSWER, Conversation
from lora_magic.forms.layout import primary
from lora_magic.forms.place import Place, complaint, said
from lora_magic.forms.turns import interruptible, on_main_thread, when_pressed
from lora_magic.interrupts import said as stopped
from lora_magic.results import Chat
from lora_magic.session import Session

_INSTEAD = "The form is gone with its kernel. Run the cell again for a new conversation."
_LOOP = "An empty line ends it. /keep keeps the last turn as a test row, /keep NAME with that answer as the right one."
KEEP = "/keep"


def chat(session: Session, config: ChatConfig, variables: Callable[[], Mapping[str, object]]) -> Chat:
    """Talk in the running cell's output, or by typing in a terminal.

    Args:
        session: whose base and adapters answer.
        config: who answers, and how.
        variables: gives the notebook's, for a run's data by name.

    Returns:
        What was said; in a notebook it goes on growing while the form is used.

    Raises:
        LoraError: no model is loaded, or a column is unknown.
    """
    conversation = Conversation(lambda: session.scene(variables()), config)
    if not in_notebook():
        return chat_by_typing(conversation)
    with stopped("What is said first", lambda: "The form is there all the same."):
        ChatForm(conversation, Place()).open(config.texts)
    mark_shown(conversation.chat)
    return conversation.chat


class ChatForm:
    """A box to type in, with what changes the answers below it.

    Enter is told before the text that it ends: the page sends a text when the box is left, and Enter leaves it only
    after it was told. So Enter waits for the text. Where that came before, because the box was left and entered again,
    nothing follows, and Enter is asked for once more: what was sent would else be an older text than the one typed.

    Args:
        conversation: what is talked in.
        place: where it stands.

    Attributes:
        box, send: what to say.
        columns: a check box by name.
        keep, keep_as: the last turn as a test row.
        widget: the whole form.
    """

    def __init__(self, conversation: Conversation, place: Place) -> None:
        import ipywidgets as widgets

        self._conversation, self._place, self._entered = conversation, place, False
        chosen = conversation.chat.columns
        wide = {"width": "auto", "margin": "2px 6px 2px 2px"}
        self.box = widgets.Text(
            placeholder="Type, then press Enter", continuous_update=False,
            layout={"flex": "1 1 200px", "width": "auto", "min_width": "0"},
        )  # fmt: skip
        self.send = widgets.Button(description="Send", layout=wide, **primary())
        self.columns = {
            name: widgets.Checkbox(value=name in chosen, description=name, indent=False, layout=wide)
            for name in conversation.offered
        }
        self._make_settings()
        self.keep = widgets.Button(description="Keep the last turn", layout=wide, disabled=True)
        self.keep_as = widgets.Dropdown(
            options=[("without an answer", NO_ANSWER), *((f"with {name}'s answer", name) for name in self.columns)],
            layout={"width": "auto"},
        )
        self.message = widgets.HTML()
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.widget = widgets.VBox([
            widgets.Box([self.box, self.send], layout=row),
            widgets.Box([self.keep, self.keep_as], layout=row),
            widgets.Box(list(self.columns.values()), layout=row),
            widgets.Box([self.system, self.temperature, self.longest], layout=row),
            self.message,
        ])  # fmt: skip
        when_pressed(self.send, lambda: self._say(self.box.value))
        self.keep.on_click(lambda _: self._guarded(self._keep))
        self.box.on_msg(self._told)
        self.box.observe(self._text_came, "value")

    def _make_settings(self) -> None:
        """Boxes of what the next turn is made with."""
        import ipywidgets as widgets

        config, close = self._conversation.config, {"description_width": "initial"}
        self.system = widgets.Text(
            value=self._conversation.system, description="system", continuous_update=False, style=close,
            layout={"flex": "1 1 240px", "width": "auto", "min_width": "0"},
        )  # fmt: skip
        self.temperature = widgets.BoundedFloatText(
            value=config.temperature, min=0, max=10, step=0.1, description="temperature", style=close,
            layout={"width": "160px"},
        )  # fmt: skip
        self.longest = widgets.BoundedIntText(
            value=config.max_new_tokens, min=1, max=1_000_000, description="tokens", style=close,
            layout={"width": "140px"},
        )  # fmt: skip

    def open(self, first: Iterable[str] = ()) -> None:
        """Show the conversation so far, and the form below it.

        Args:
            first: what is said before anybody types; an interrupt ends it.

        Raises:
            LoraError: it cannot be said, or there is nothing to keep.
        """
        self._place.draw(self._record)
        self._place.open(self.widget, _INSTEAD)
        turns = self._conversation.chat.turns
        for text in first:
            self._taken(text)
            self._place.draw(self._record)
            if turns[-1].stopped:
                break
        self.keep.disabled = not turns

    def _taken(self, text: str) -> None:
        """Keep the last turn where a text asks for that, else say it; what is told of either stays in the form."""
        if keeps(self._conversation, text):
            self.message.value = self._kept
            return
        self._conversation.say(text, lambda: self._place.draw(self._record, at_once=False))
        self.message.value = ""

    def _told(self, _: Any, content: Mapping[str, Any], __: Any) -> None:
        if content.get("event") != "submit":
            return
        if self._entered and self.box.value.strip():
            self._say(self.box.value)
        else:
            self._entered = True
            if self.box.value.strip():
                self.message.value = said(f"Enter once more sends: {self.box.value}")

    def _text_came(self, change: Any) -> None:
        if self._entered and str(change["new"]).strip():
            self._say(str(change["new"]))

    def _say(self, text: str) -> None:
        self._entered = False
        if text.strip():
            self.box.value = ""
            self.send.disabled = self.keep.disabled = True
            on_main_thread(partial(self._said, text))

    def _said(self, text: str) -> None:
        try:
            self._guarded(partial(self._answered, text))
        finally:
            self.send.disabled, self.keep.disabled = False, not self._conversation.chat.turns

    def _answered(self, text: str) -> None:
        names = [name for name, one in self.columns.items() if one.value]
        if not names:
            self.box.value = text
            raise LoraError("Nobody is chosen to answer.", "Tick a box.")
        self._conversation.config = self._conversation.config.replace(
            adapters=",".join(names), system=self._system(), temperature=self.temperature.value,
            max_new_tokens=self.longest.value,
        )  # fmt: skip
        self.message.value = said("The kernel's stop button ends an answer early.")
        try:
            self._taken(text)
        except LoraError:
            self.box.value = text
            raise

    def _system(self) -> str | None:
        """The text in its box; as it was asked for where nobody changed it."""
        unchanged = self.system.value == self._conversation.system
        return self._conversation.config.system if unchanged else self.system.value

    def _keep(self) -> None:
        self._conversation.keep(-1, self.keep_as.value)
        self.message.value = self._kept

    @property
    def _kept(self) -> str:
        return said(f"Kept: %lora_compare --prompts {self._conversation.config.keep}")

    def _guarded(self, act: Callable[[], None]) -> None:
        """Act, draw, and say what is wrong where it cannot be done: nobody reads a callback's traceback."""
        self.message.value = ""
        try:
            with interruptible():
                act()
        except KeyboardInterrupt:
            self.message.value = said("Stopped.")
        except Exception as error:  # noqa: BLE001
            self.message.value = complaint(error)
        self._place.draw(self._record)

    def _record(self) -> Bundle:
        return {"text/html": chat_html(self._conversation.chat), "text/plain": chat_text(self._conversation.chat)}


def chat_by_typing(
    conversation: Conversation, ask: Callable[[str], str] | None = None, write: Callable[[str], None] | None = None
) -> Chat:
    """A line after the other, until an empty one or Ctrl-D; answers appear as they grow.

    Args:
        conversation: what is talked in; what its settings say first is said before anything is asked.
        ask: shows its argument and returns a line; input() unless given.
        write: shows text as it is, without a line's end of its own; print() unless given.
    """
    ask, write = ask or input, write or partial(print, end="", flush=True)
    first = iter(conversation.config.texts)
    write(f"{_LOOP}\n")
    while True:
        try:
            if typed := next(first, ""):
                write(f"you> {plain(typed)}\n")
            else:
                typed = ask("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            write("\n")
            break
        if not typed:
            break
        try:
            if keeps(conversation, typed):
                write(f"kept in {plain(conversation.chat.kept_in)}\n")
            else:
                _spoken(conversation, typed, write)
                if conversation.chat.turns[-1].stopped:
                    first = iter(())
        except LoraError as error:
            write(f"{plain(error.problem)}\n  → {plain(error.remedy)}\n")
    return conversation.chat


def keeps(conversation: Conversation, text: str) -> bool:
    """Keep the last turn where a text is `/keep`, with an answer's name after it or without; whether it is.

    Raises:
        LoraError: there is no such turn or answer, or the disk refuses.
    """
    command, _, answer = text.partition(" ")
    if command != KEEP:
        return False
    conversation.keep(-1, answer.strip())
    return True


def _spoken(conversation: Conversation, text: str, write: Callable[[str], None]) -> None:
    """One turn, each answer written on as it grows."""
    shown: dict[str, str] = {}

    def show() -> None:
        turn = conversation.chat.turns[-1]
        for name, answer in turn.outputs.items():
            if name not in shown:
                write(("\n" if shown else "") + f"{line(name)}> ")
                shown[name] = ""
            before = shown[name]
            if answer.startswith(before):
                write(plain(answer[len(before) :]))
            else:
                write(f"\n{line(name)}> {plain(answer)}")
            shown[name] = answer

    turn = conversation.say(text, show)
    show()
    write((" [stopped]" if turn.stopped else "") + "\n")
