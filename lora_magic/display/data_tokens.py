"""A row token by token: what is trained on, what is masked, which tokens are special.

Tints are translucent and letters keep the page's colour, so both read on white and on near-black; an underline says
the same without colour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, repeat

from lora_magic.display import theme
from lora_magic.display.safe import block_html, html_text, plain
from lora_magic.display.tables import wrap
from lora_magic.results import DataExample

TRAINED = f"background-color:{theme.css(theme.BLUE, 0.18)};border-bottom:1px solid {theme.css(theme.BLUE)}"
OTHER = f"background-color:{theme.css(theme.BLUE, 0.16)}"
MASKED = "opacity:0.65"
CHIP = "border:1px solid rgba(127,127,127,0.6);border-radius:4px;padding:0 3px;margin:0 1px;font-size:0.85em"
_SIGN = "font-size:0.85em"
_BOX = "line-height:1.75;margin:2px 0 0 0"

_MOST_SHADED = 8000
_TOKEN_CHARACTERS = 800
_LOOK_AHEAD, _LOOK_BACK = 8, 6
_OPEN, _CLOSE = "⟦", "⟧"

# Looks alone: a whole token of such a form is no text of the row's own in the tokenizers of the known families.
_SPECIAL = re.compile(
    r"<[|｜][^<>\s]{1,60}[|｜]>|</?[a-z][a-z0-9_]{0,40}>|<0x[0-9A-F]{2}>|<(?:PAD|UNK|BOS|EOS|MASK)>|\[/?[A-Z][A-Z_]{2,40}\]"
)
_REPLACED = re.compile("\ufffd+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A token, or neighbours that share a character.

    Attributes:
        text: to be shown.
        trained: whether the loss is taken on it.
        tokens: how many it is.
        marked: whether the tokenizer counts it as special; None where that is not known.
    """

    text: str
    trained: bool
    tokens: int = 1
    marked: bool | None = None

    @property
    def special(self) -> bool:
        """Whether it is a token of the template rather than of the row, by its look where nothing says so."""
        if self.marked is not None:
            return self.marked
        return len(self.text) <= 64 and _SPECIAL.fullmatch(self.text) is not None


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a row is shown."""

    tokens: int
    lines: int
    characters: int

    def times(self, factor: float) -> Room:
        """So many times as much."""
        return Room(int(self.tokens * factor), int(self.lines * factor), int(self.characters * factor))

    def holds(self, parts: Sequence[Piece]) -> int:
        """How many of `parts` fit, at least one where there is one."""
        tokens, lines, characters = self.tokens, self.lines, self.characters
        for place, part in enumerate(parts):
            tokens -= part.tokens
            lines -= part.text.count("\n")
            characters -= len(part.text)
            if min(tokens, lines, characters) < 0:
                return max(1, place)
        return len(parts)


_PAGE = Room(600, 40, 4000)
_TERMINAL = Room(300, 16, 1600)
_DRAWN = Room(4000, 40_000, 40_000)


def pieces(example: DataExample, at_most: int) -> list[Piece]:
    """The first `at_most` tokens, those that share a character joined.

    A token without text belongs to the one before it. Neighbours that are nothing but replacement characters are
    bytes of something that no token holds whole, and become one placeholder.
    """
    made: list[Piece] = []
    marks: Iterable[bool | None] = example.special or repeat(None)
    for text, trained, marked in islice(zip(_texts(example), example.trained, marks, strict=False), at_most):
        last = made[-1] if made else None
        if last is None or last.trained != trained or not (text == "" or _is_rest(last, text)):
            made.append(Piece(text, trained, 1, marked))
        else:
            made[-1] = Piece(last.text + text, trained, last.tokens + 1, last.marked)
    return [_named(piece) for piece in made]


def _texts(example: DataExample) -> Iterable[str]:
    """The tokens' texts, or their numbers where there are none."""
    return example.tokens or (f"⟨{token}⟩" for token in example.token_ids)


def _is_rest(last: Piece, text: str) -> bool:
    short = len(last.text) <= _TOKEN_CHARACTERS
    return short and bool(_REPLACED.fullmatch(text)) and bool(_REPLACED.fullmatch(last.text))


def _named(piece: Piece) -> Piece:
    text = piece.text
    if piece.tokens > 1 and _REPLACED.fullmatch(text):
        text = f"⟨{piece.tokens} byte tokens⟩"
    elif not text:
        text = "⟨no text⟩"
    elif len(text) > _TOKEN_CHARACTERS:
        text = f"{text[:_TOKEN_CHARACTERS]}⟨… {len(text) - _TOKEN_CHARACTERS:,} more characters⟩"
    return replace(piece, text=text)


def _drawn(example: DataExample) -> list[Piece]:
    parts = pieces(example, _DRAWN.tokens)
    return parts[: _DRAWN.holds(parts)]


@dataclass(frozen=True, slots=True)
class Section:
    """Pieces `first` to before `last` of a row; `folded` when they are only counted or open on a click."""

    first: int
    last: int
    folded: bool


def sections(parts: Sequence[Piece], room: Room) -> list[Section]:
    """A row's beginning open and the rest folded; a long prompt is folded in its middle, so that the answer shows."""
    end = _fold(parts, room)
    if end == len(parts):
        return [Section(0, end, False)]
    trained = next((place for place, part in enumerate(parts) if part.trained), len(parts))
    if trained == len(parts) or trained < end * 7 // 8:
        return [Section(0, end, False), Section(end, len(parts), True)]
    answer = max(1, trained - _LOOK_BACK)
    head = min(answer, _fold(parts, room.times(0.4)))
    end = answer + _fold(parts[answer:], room.times(0.6))
    edges = [(0, head, False), (head, answer, True), (answer, end, False), (end, len(parts), True)]
    return [Section(*edge) for edge in edges if edge[0] < edge[1]]


def _fold(parts: Sequence[Piece], room: Room) -> int:
    """Where a long row is folded, after a line or before a word if one is near; its length where little is left."""
    if room.times(1.25).holds(parts) == len(parts):
        return len(parts)
    end = room.holds(parts)
    near = range(end, end - end // 4, -1)
    lines = (place for place in near if parts[place - 1].text.endswith("\n"))
    words = (place for place in near if parts[place].text.startswith(" "))
    return next(lines, None) or next(words, end)


def row_title(example: DataExample) -> str:
    """Number, tokens, and how many of them are trained on or were cut."""
    trained = sum(example.trained)
    said = (
        f"row {example.row:,} · {_tokens(len(example.token_ids))}, {f'{trained:,}' if trained else 'none'} trained on"
    )
    return f"{said} · {example.cut:,} more cut off" if example.cut else said


def _tokens(number: int) -> str:
    return "1 token" if number == 1 else f"{number:,} tokens"


def _more(parts: Sequence[Piece]) -> str:
    number = sum(part.tokens for part in parts)
    trained = sum(part.tokens for part in parts if part.trained)
    said = "none trained on" if not trained else "all trained on" if trained == number else f"{trained:,} trained on"
    return f"… {number:,} more token{'' if number == 1 else 's'}, {said}"


def rows_html(examples: Sequence[DataExample]) -> str:
    """Legend and rows; every second trained token has a deeper tint unless there are too many for a notebook."""
    shaded = sum(sum(example.trained) for example in examples) <= _MOST_SHADED
    return _legend(shaded) + "".join(_row_html(example, shaded) for example in examples)


def _legend(shaded: bool) -> str:
    tints = f'<span style="{TRAINED}">trai<span style="{OTHER}">ned on</span></span>' if shaded else ""
    entries = [
        tints or f'<span style="{TRAINED}">trained on</span>',
        f'<span style="{MASKED}">masked</span>',
        f'<span style="{CHIP}">special</span>',
        f"{_sign('↵')} line break",
        f"{_sign('␣')} space that would not be seen",
    ]
    spans = "".join(f'<span style="display:inline-block;margin:0 14px 0 0">{entry}</span>' for entry in entries)
    return f'<div style="font-size:12px;margin:2px 0 4px 0">{spans}</div>'


def _row_html(example: DataExample, shaded: bool) -> str:
    drawn = _drawn(example)
    marked = _Marked(drawn, shaded)
    body = ""
    for section in sections(drawn, _PAGE):
        text = marked.html(section.first, section.last)
        if section.last == len(drawn):
            text += _ending(example, len(example.token_ids) - sum(part.tokens for part in drawn))
        if section.folded:
            summary = f'<summary style="{theme.SUMMARY}">{_more(drawn[section.first : section.last])}</summary>'
            body += f"<details>{summary}{_block(text)}</details>"
        else:
            body += _block(text)
    title = f'<div style="{theme.SMALL}">{row_title(example)}</div>'
    return f'<div style="border-top:{theme.LINE};padding:6px 0 4px 0;margin:4px 0 0 0">{title}{body}</div>'


def _block(marked: str) -> str:
    return f'<div style="{_BOX}">{block_html(marked)}</div>'


def _ending(example: DataExample, undrawn: int) -> str:
    said = [f"… and {undrawn:,} more tokens that are not drawn"] if undrawn else []
    if example.cut:
        said.append(f"cut here, {_tokens(example.cut)} before the end")
    colour = theme.css(theme.RED if example.cut else theme.GREY)
    return f' <span style="border-left:3px solid {colour};padding:0 0 0 6px">{"; ".join(said)}</span>' if said else ""


class _Marked:
    """Pieces as escaped HTML, neighbours of one state in one span."""

    def __init__(self, parts: Sequence[Piece], shaded: bool) -> None:
        self.parts, self.shaded = parts, shaded

    def html(self, first: int, last: int) -> str:
        """The pieces from `first` to before `last`."""
        runs = groupby(range(first, last), key=self._state)
        return "".join(self._run(list(places), *state) for state, places in runs)

    def _state(self, place: int) -> tuple[bool, bool]:
        return self.parts[place].trained, self.parts[place].special

    def _run(self, places: list[int], trained: bool, special: bool) -> str:
        if special:
            style = f"{CHIP};{TRAINED}" if trained else f"{CHIP};{MASKED}"
            return "".join(f'<span style="{style}">{html_text(self.parts[place].text)}</span>' for place in places)
        texts = [self._text(place) for place in places]
        if trained and self.shaded:
            texts = [f'<span style="{OTHER}">{text}</span>' if odd % 2 else text for odd, text in enumerate(texts)]
        return f'<span style="{TRAINED if trained else MASKED}">{"".join(texts)}</span>'

    def _text(self, place: int) -> str:
        """One piece with its line breaks, and the spaces at the run's edges and before line breaks, visible."""
        state = self._state(place)
        text = html_text(self.parts[place].text.replace("\r", "␍"))
        text = _spaces_before_breaks(text, self._ends(place, state))
        if place and state != self._state(place - 1):
            bare = text.lstrip(" ")
            text = _sign("␣" * (len(text) - len(bare))) + bare
        return text.replace("\n", f"{_sign('↵')}\n")

    def _ends(self, place: int, state: tuple[bool, bool]) -> bool:
        """Whether nothing but spaces follows a piece until its run or its line ends."""
        for after in range(place + 1, min(place + _LOOK_AHEAD, len(self.parts))):
            if state != self._state(after):
                return True
            if bare := self.parts[after].text.lstrip(" "):
                return bare.startswith(("\n", "\r"))
        return place + 1 == len(self.parts)


def _sign(signs: str) -> str:
    return f'<span style="{_SIGN}">{signs}</span>' if signs else ""


def _spaces_before_breaks(text: str, at_end: bool) -> str:
    lines = text.split("\n")
    for index, part in enumerate(lines):
        if index + 1 < len(lines) or at_end:
            bare = part.rstrip(" ")
            lines[index] = bare + _sign("␣" * (len(part) - len(bare)))
    return "\n".join(lines)


LEGEND_TEXT = f"{_OPEN}trained on{_CLOSE}, all else is masked; ↵ is a line break"


def row_text(example: DataExample, width: int) -> str:
    """A row for a terminal: its title, and its beginning with the trained parts in double brackets."""
    parts = _drawn(example)
    undrawn = _undrawn(example, parts)
    lines = wrap(row_title(example), width)
    for section in sections(parts, _TERMINAL):
        shown = parts[section.first : section.last]
        said = _more(shown) if section.folded else "".join(_bracketed(shown)).rstrip("\n")
        if section.folded and section.last == len(parts):
            said, undrawn = _more([*shown, *undrawn]), []
        lines += ["  " + text for text in wrap(said, width - 2)]
    return "\n".join(text.rstrip() for text in [*lines, *([f"  {_more(undrawn)}"] if undrawn else [])])


def _undrawn(example: DataExample, drawn: Sequence[Piece]) -> list[Piece]:
    return [Piece("", trained) for trained in example.trained[sum(part.tokens for part in drawn) :]]


def _bracketed(parts: Sequence[Piece]) -> Iterator[str]:
    for trained, run in groupby(parts, key=lambda part: part.trained):
        text = "".join(_readable(part.text) for part in run)
        yield f"{_OPEN}{text}{_CLOSE}" if trained else text


def _readable(text: str) -> str:
    for bracket in (_OPEN, _CLOSE):
        text = text.replace(bracket, f"⟨U+{ord(bracket):04X}⟩")
    return plain(text.replace("\r", "␍")).replace("\n", "↵\n")
