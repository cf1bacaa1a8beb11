"""What other programs left in a text: markup, log lines, terminal escapes, broken encodings, a chatbot's phrases.

Each finder takes what was asked and what was answered and returns the (start, end) of the first place, or None. Code
is left alone, and so is an answer to somebody who asked about the very thing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.entities import html5

Place = tuple[int, int]

_FORMATTING = (
    "p br div span b i u em strong a ul ol li h1 h2 h3 h4 h5 h6 table tbody thead tr td th font center hr "
    "blockquote pre code img sub sup small"
).split()
_TAG = re.compile(rf"<(/?)({'|'.join(_FORMATTING)})(?:\s[^<>]{{0,500}})?/?>", re.IGNORECASE)
_PAGE = re.compile(r"<(?:!doctype|html|head|body|script|style|form|input|button|svg|section|nav|link|meta)\b", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d{0,2});", re.IGNORECASE)
_ABOUT_MARKUP = re.compile(
    r"\b(?:x?html5?|xml|tags?|markup|web ?(?:page|site)s?|css|svg|jsx|react|javascript|dom|entit(?:y|ies)|rss|"
    r"escap(?:e|ed|ing)|encod(?:e|ed|ing)|code|snippet|email template|landing page)\b",
    re.IGNORECASE,
)

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)|[@-Z\\^_])")

_STAMPED = re.compile(r"^[ \t]{0,20}\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d", re.MULTILINE)
_LEVEL = re.compile(
    r"^[ \t]{0,20}(?:\[(?:DEBUG|INFO|TRACE|WARN|WARNING|ERROR|FATAL)\]:?|(?:DEBUG|INFO|TRACE|WARN|ERROR|FATAL):)[ \t]",
    re.MULTILINE,
)
_STACK = re.compile(
    r"^Traceback \(most recent call last\):$|^[ \t]{1,20}at [\w$.<>]{1,200}"
    r"\([\w$]{1,80}\.(?:java|kt|scala|js|ts|cs):\d",
    re.MULTILINE,
)
_LOG_HINTS = (
    "DEBUG",
    "INFO",
    "TRACE",
    "WARN",
    "ERROR",
    "FATAL",
    "Traceback",
    "%|",
    "\tat ",
    "  at ",
    ":0",
    ":1",
    ":2",
    ":3",
    ":4",
    ":5",
)
_PROGRESS = re.compile(r"\d{1,3}%\|[█▉▊▋▌▍▎▏# ]{2,200}\|")
_ABOUT_LOGS = re.compile(
    r"\b(?:log(?:s|ged|ging|files?)?|trace(?:back)?s?|stack|exceptions?|errors?|debug\w*|output|console|terminal|stderr|"
    r"stdout|run|code|python|java|script|program|crash\w*|commands?|shell|bash|timestamps?)\b",
    re.IGNORECASE,
)

_ABOUT_ENCODING = re.compile(r"\b(?:encod\w+|mojibake|utf-?8|unicode|latin-?1|cp1252|garbled)\b", re.IGNORECASE)

_AI = re.compile(
    r"\bas an? (?:ai|artificial intelligence|large|language)\b[^.\n]{0,20}?\b(?:model|assistant|chatbot)\b"
    r"|\bas an ai,|\bI(?:'|’| a)m (?:just )?an? (?:ai|large) language model\b|\bmy (?:knowledge cutoff|training data)\b"
    r"|\b(?:trained|developed|created) by OpenAI\b|\bI(?:'|’| a)m ChatGPT\b",
    re.IGNORECASE,
)
_AI_HINTS = ("an ai", "a large", "language model", "artificial", "openai", "chatgpt", "cutoff", "my training")
_ABOUT_AI = re.compile(
    r"\b(?:ai|artificial intelligence|language models?|llms?|chat ?bots?|chatgpt|gpt-?\d?\w*|openai|robots?|"
    r"who (?:are|made|created|built) you|are you|what are you|your name)\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\bI(?: can(?:no|')?t| can’t| can not|(?:'|’| a)m (?:unable|not able) to|"
    r"(?:'|’)m afraid I can(?:no|'|’)t| won(?:'|’)t) "
    r"(?:be able to )?(?:assist|help) (?:you )?with (?:that|this|your request|such|any)"
    r"|\bI(?: can(?:no|'|’)t|(?:'|’| a)m (?:unable|not able) to) "
    r"(?:fulfil+|comply with|engage in|provide (?:that|this|such|assistance|guidance|instructions)|"
    r"create (?:that|such)|generate (?:that|such|content)|support or)\b",
    re.IGNORECASE,
)
_REFUSED_WITHIN = 300

_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`", re.DOTALL)
_CODE_LINE = re.compile(
    r"^[ \t]{0,80}(?:def |class |import |from \w{1,80} import|return\b|if ?\(|for ?\(|while ?\(|function\b|"
    r"const |let |var |#include|public |private |<\?|@\w|//|package |using |SELECT |INSERT )|[;{}]$",
    re.MULTILINE,
)


def prose(text: str) -> str:
    """The text with marked code blanked out, character by character, so that places stay where they are."""
    if "`" not in text and "~~~" not in text:
        return text
    return _CODE.sub(lambda match: " " * len(match[0]), text)


def looks_like_code(text: str) -> bool:
    """Whether a text without marks around its code has code in it: two lines or more that read like it."""
    lines = _CODE_LINE.finditer(text)
    return next(lines, None) is not None and next(lines, None) is not None


def tags(asked: str, answered: str) -> Place | None:
    """Formatting tags of HTML in an answer: a line break, or a tag that is opened and closed."""
    if not has_tags(answered):
        return None
    text = prose(answered)
    found = list(_TAG.finditer(text))
    if not found or _ABOUT_MARKUP.search(asked) or _PAGE.search(text) or looks_like_code(text):
        return None
    opened = {match[2].lower() for match in found if not match[1]}
    closed = {match[2].lower() for match in found if match[1]}
    real = (opened & closed) | (opened & {"br"})
    first = next((match for match in found if match[2].lower() in real), None)
    return first.span() if first else None


def has_tags(text: str) -> bool:
    """Whether a text holds any formatting tag, code or not."""
    return "<" in text and _TAG.search(text) is not None


def entities(asked: str, answered: str) -> Place | None:
    """HTML's names for characters in an answer, such as `&amp;`."""
    if "&" not in answered or not _ENTITY.search(answered) or _ABOUT_MARKUP.search(asked) or _ENTITY.search(asked):
        return None
    text = prose(answered)
    if _PAGE.search(text) or looks_like_code(text):
        return None
    return next((match.span() for match in _ENTITY.finditer(text) if _character(match[0]) is not None), None)


def _character(entity: str) -> str | None:
    """What an entity stands for; None where it is none, or stands for something that does not print."""
    if not entity.startswith("&#") and entity[1:] not in html5:
        return None
    text = html.unescape(entity).replace("\N{NO-BREAK SPACE}", " ")
    return text if text != entity and (text.isprintable() or text == "\n") and "\ufffd" not in text else None


def without_entities(text: str) -> str:
    """The text with entities as characters, `&lt;` and `&gt;` excepted: they may be what the text is about."""

    def character(match: re.Match[str]) -> str:
        found = _character(match[0])
        return match[0] if found is None or found in "<>" else found

    return _outside_code(text, lambda part: _ENTITY.sub(character, part))


def without_tags(text: str) -> str:
    """The text without formatting tags; line breaks and ends of blocks become line breaks."""

    def replacement(match: re.Match[str]) -> str:
        name = match[2].lower()
        if name in ("br", "hr") or (match[1] and name in ("div", "li", "tr", "ul", "ol")):
            return "\n"
        if match[1] and name in ("p", "table", "blockquote", "pre", *_FORMATTING[11:17]):
            return "\n\n"
        return "- " if name == "li" else " " if match[1] and name in ("td", "th") else ""

    stripped = _outside_code(text, lambda part: _TAG.sub(replacement, part))
    return stripped if stripped == text else re.sub(r"\n{3,}", "\n\n", stripped).strip()


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts, at = [], 0
    for match in _CODE.finditer(text):
        parts += [change(text[at : match.start()]), match[0]]
        at = match.end()
    return "".join([*parts, change(text[at:])])


def escapes(_asked: str, answered: str) -> Place | None:
    """A terminal's colour and cursor codes in an answer."""
    match = _ESCAPE.search(answered) if "\x1b" in answered else None
    return match.span() if match else None


def without_escapes(text: str) -> str:
    """The text without a terminal's codes."""
    return _ESCAPE.sub("", text) if "\x1b" in text else text


def log_lines(asked: str, answered: str) -> Place | None:
    """A log, a stack trace or a progress bar in an answer: one trace or bar, or two lines with a time or a level."""
    if not any(hint in answered for hint in _LOG_HINTS):
        return None
    text = prose(answered)
    whole = _STACK.search(text) or _PROGRESS.search(text)
    lines = [match for pattern in (_STAMPED, _LEVEL) for match in pattern.finditer(text)]
    if not (whole or len(lines) >= 2) or _ABOUT_LOGS.search(asked) or looks_like_code(text):
        return None
    return (whole or min(lines, key=lambda match: match.start())).span()


def broken_encoding(asked: str, answered: str) -> Place | None:
    """Text decoded with the wrong encoding, as ftfy recognises it."""
    if answered.isascii() or _ABOUT_ENCODING.search(asked):
        return None
    repaired = mended(answered)
    if repaired == answered:
        return None
    at = next((i for i, (a, b) in enumerate(zip(answered, repaired, strict=False)) if a != b), len(repaired))
    return at, min(at + 3, len(answered))


def replacement_signs(asked: str, answered: str) -> Place | None:
    """U+FFFD: a character that an earlier program could not read."""
    at = -1 if _ABOUT_ENCODING.search(asked) else answered.find("\ufffd")
    return (at, at + 1) if at >= 0 else None


def mended(text: str) -> str:
    """The text with mojibake undone, and nothing else; unchanged where ftfy is not sure."""
    if text.isascii():
        return text
    from ftfy import fix_encoding

    try:
        return fix_encoding(text)
    except (UnicodeError, ValueError):
        return text


def may_mend(asked: str) -> bool:
    """Whether garbled text is a mistake; not where the prompt is about encodings."""
    return not _ABOUT_ENCODING.search(asked)


def ai_phrases(asked: str, answered: str) -> Place | None:
    """A chatbot speaking of itself, such as "as an AI language model", where nobody asked."""
    lowered = answered.lower()
    match = _AI.search(answered) if any(hint in lowered for hint in _AI_HINTS) else None
    return match.span() if match and not _ABOUT_AI.search(asked) else None


def refusals(_asked: str, answered: str) -> Place | None:
    """An assistant's refusal near the start of an answer."""
    match = _REFUSAL.search(answered, 0, _REFUSED_WITHIN)
    return match.span() if match else None
