"""Text from data and models shown as text, and the check that holds the HTML subset.

The subset is what JupyterLab's sanitiser keeps in a reopened, untrusted notebook, and less: no scripts, style
blocks, classes, links, svg or var(). MathJax typesets `$…$` in HTML outputs but skips <pre> and <code>, so
text that is not ours goes inside one of them.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

from lora_magic.display import theme

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_MATH = re.compile(r"\$|\\\(|\\\[|\\begin\{")

ALLOWED_TAGS = frozenset(
    {"div", "span", "b", "code", "pre", "mark", "br", "img", "details", "summary"}
    | {"table", "thead", "tbody", "tr", "th", "td"}
)
ALLOWED_ATTRIBUTES = {
    "*": frozenset({"style", "dir"}),
    "img": frozenset({"src", "alt", "width"}),
    "details": frozenset({"open"}),
}
_LENGTH = r"(?:0|-?\d+(?:\.\d+)?(?:px|em|%))"
_COLOUR = (
    r"(?:#[0-9a-f]{3,6}|transparent|rgb\(\d{1,3},\d{1,3},\d{1,3}\)"
    r"|rgba\(\d{1,3},\d{1,3},\d{1,3},(?:0\.\d+|0|1)\))"
)
_LENGTHS = rf"(?:{_LENGTH}|auto)(?: (?:{_LENGTH}|auto)){{0,3}}"
_BORDER = rf"none|\d+px solid {_COLOUR}"
ALLOWED_STYLES = {
    "background-color": _COLOUR,
    "border": _BORDER,
    "border-bottom": _BORDER,
    "border-collapse": "collapse",
    "border-left": _BORDER,
    "border-radius": _LENGTH,
    "border-top": _BORDER,
    "box-sizing": "border-box",
    "color": _COLOUR,
    "cursor": "pointer",
    "display": "block|inline-block|list-item|flex",
    "flex": r"1 1 \d+%",
    "flex-wrap": "wrap",
    "font-family": "inherit",
    "font-size": _LENGTH,
    "font-weight": r"normal|bold|\d00",
    "height": _LENGTH,
    "line-height": r"\d+(?:\.\d+)?",
    "margin": _LENGTHS,
    "max-width": _LENGTH,
    "min-width": _LENGTH,
    "opacity": r"0\.\d+|1",
    "overflow-wrap": "break-word",
    "overflow-x": "auto",
    "padding": _LENGTHS,
    "text-align": "left|right|center",
    "vertical-align": "top|middle|baseline",
    "white-space": "normal|nowrap|pre-wrap",
    "word-break": "normal",
    "width": rf"{_LENGTH}|auto",
}
_VOID = frozenset({"br", "img"})


def visible(text: str) -> str:
    """`text` with control, ANSI, bidi and invisible characters as symbols that can be seen."""
    return _INVISIBLE.sub(_symbol, text.replace("\r\n", "\n"))


def _symbol(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"⟨U+{code:04X}⟩"


def plain(text: object) -> str:
    """`text` for a terminal: invisible characters shown, tabs as spaces; newlines stay."""
    return visible(str(text)).expandtabs(4)


def line(text: object) -> str:
    """`plain` on a single line, whatever line breaks it had."""
    return " ".join(plain(text).split())


def html_text(text: object) -> str:
    """`text` escaped for HTML, attributes included; put it inside `inline` or `block` unless it is ours."""
    return html.escape(visible(str(text)))


def inline(text: object) -> str:
    """User text within a line: a <code> that looks like the text around it."""
    return inline_html(html_text(text))


def inline_html(escaped: str) -> str:
    """As `inline`, for text that is escaped already and may hold <mark>."""
    return f'<code dir="auto" style="{theme.INLINE_CODE}">{escaped}</code>'


def block(text: object) -> str:
    """User text as a block of its own that keeps its line breaks."""
    return block_html(html_text(text))


def block_html(escaped: str) -> str:
    """As `block`, for text that is escaped already and may hold <mark>."""
    newline = "\n" if escaped.startswith("\n") else ""
    return f'<pre dir="auto" style="{theme.BLOCK_CODE}">{newline}{escaped}</pre>'


def unsafe(fragment: str) -> list[str]:
    """Everything in `fragment` that is outside the subset, in words; empty when it will survive unchanged."""
    checker = _Checker()
    checker.feed(fragment)
    checker.close()
    return checker.findings + [f"<{tag}> is not closed" for tag in checker.open]


class _Checker(HTMLParser):
    """Collects what is outside the subset."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.findings: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ALLOWED_TAGS:
            self.findings.append(f"<{tag}>")
        if tag not in _VOID:
            self.open.append(tag)
        for name, value in attrs:
            self._attribute(tag, name, value or "")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.findings.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if _INVISIBLE.search(data):
            self.findings.append(f"invisible characters in {data!r}")
        if not {"pre", "code"} & set(self.open) and _MATH.search(data):
            self.findings.append(f"MathJax would typeset {data!r}")

    def handle_comment(self, data: str) -> None:
        self.findings.append(f"comment {data!r}")

    def handle_decl(self, decl: str) -> None:
        self.findings.append(f"declaration {decl!r}")

    def handle_pi(self, data: str) -> None:
        self.findings.append(f"instruction {data!r}")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        allowed = ALLOWED_ATTRIBUTES["*"] | ALLOWED_ATTRIBUTES.get(tag, frozenset())
        if name not in allowed:
            self.findings.append(f"{name}= on <{tag}>")
        elif name == "style":
            self.findings += [f"style {part!r}" for part in value.split(";") if part and not _style(part)]
        elif name == "src" and not re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", value):
            self.findings.append(f"src={value[:60]!r}")


def _style(declaration: str) -> bool:
    name, _, value = declaration.partition(":")
    pattern = ALLOWED_STYLES.get(name.strip())
    return pattern is not None and re.fullmatch(pattern, value.strip()) is not None
