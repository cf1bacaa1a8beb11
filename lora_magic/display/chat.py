"""A conversation as cards, a turn each, and as text."""

from __future__ import annotations

from lora_magic.display import theme
from lora_magic.display.answer_cards import Depth, card, cards
from lora_magic.display.safe import inline, line, plain
from lora_magic.display.tables import html_pairs, text_pairs
from lora_magic.results import Chat, ChatTurn

# A turn under way is not folded: what is added would be out of sight.
_WHOLE = Depth(folds=False)


def chat_html(chat: Chat) -> str:
    """Who answers and how, then every turn; the newest one unfolded."""
    title = f"<div><b>{inline(' · '.join(chat.columns))}</b> on {inline(chat.model)}</div>"
    made = "".join(
        card(_label(number, turn), turn.row, tuple(turn.outputs), _WHOLE if number == len(chat.turns) else Depth())
        for number, turn in enumerate(chat.turns, start=1)
    )
    below = cards(made) if made else ""
    return f'<div style="{theme.BOX}">{title}{html_pairs(_facts(chat))}{below}</div>'


def chat_text(chat: Chat, width: int | None = None) -> str:
    """The same for a terminal."""
    lines = [text_pairs([("", f"{line(' · '.join(chat.columns))} on {line(chat.model)}"), *_facts(chat)], width)]
    for number, turn in enumerate(chat.turns, start=1):
        lines += ["", f"{line(_label(number, turn))}> {plain(turn.prompt)}"]
        lines += [f"{line(name)}> {plain(answer) or '(nothing)'}" for name, answer in turn.outputs.items()]
    return "\n".join(lines)


def compact_bundle(chat: Chat) -> dict[str, str]:
    """One line, where the conversation stands above."""
    said = f"chat with {line(', '.join(chat.columns))}: it stands above, and its turns are in .turns"
    return {"text/plain": said, "text/html": f'<div style="{theme.BOX};{theme.MUTED}">{inline(said)}</div>'}


def _facts(chat: Chat) -> list[tuple[str, str]]:
    kept = sum(turn.kept for turn in chat.turns)
    return [*chat.facts, *([("kept", f"{kept} in {chat.kept_in}")] if kept else [])]


def _label(number: int, turn: ChatTurn) -> str:
    said = [f"turn {number}", *(["stopped"] if turn.stopped else []), *(["kept"] if turn.kept else []), *turn.notes]
    return " · ".join(said)
