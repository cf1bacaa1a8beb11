"""The views of what is loaded: a base, and the whole session."""

from __future__ import annotations

from lora_magic.display import theme, units
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import html_pairs, html_table, terminal_width, text_pairs, text_table, wrap
from lora_magic.results import LoadResult, Status


def load_html(result: LoadResult) -> str:
    """What was loaded, how large it is, and each choice with its reason."""
    title = f"<div><b>{inline(result.model)}</b> {inline(f'{result.architecture} on {result.device}')}</div>"
    reasons = html_table((), result.reasons) if result.reasons else ""
    return f'<div style="{theme.BOX}">{title}{html_pairs(_facts(result))}{reasons}</div>'


def load_text(result: LoadResult, width: int | None = None) -> str:
    """The same for a terminal."""
    limit = width or terminal_width()
    title = f"{line(result.model)} · {line(result.architecture)} on {line(result.device)}"
    parts = [*wrap(title, limit), text_pairs(_facts(result), limit)]
    if result.reasons:
        parts.append(text_table(("", ""), result.reasons, width=limit))
    return "\n".join(parts)


def _facts(result: LoadResult) -> list[tuple[str, str]]:
    taken = ", ".join(f"{phase} {units.duration(seconds)}" for phase, seconds in result.seconds)
    pairs = [
        ("parameters", units.count(result.parameters)),
        ("weights", f"{units.size(result.memory_bytes)} at {result.bits} bits"),
        ("computes in", result.dtype),
        ("rows up to", f"{result.max_length:,} tokens"),
        ("chat template", result.chat_template),
        ("backend", result.backend),
    ]
    return [*pairs, ("time", taken)] if taken else pairs


def status_html(status: Status) -> str:
    """The base, which adapter is in use, all of them, and memory."""
    if status.base is None:
        return f'<div style="{theme.BOX}">Nothing is loaded.{html_pairs(status.memory)}</div>'
    title = f"<div><b>{inline(status.base.model)}</b> is loaded</div>"
    facts = html_pairs([("in use", status.active), *_short_facts(status.base), *status.memory])
    adapters = html_table(("adapter", "kind", "path"), status.adapters) if status.adapters else ""
    return f'<div style="{theme.BOX}">{title}{facts}{adapters}</div>'


def status_text(status: Status, width: int | None = None) -> str:
    """The same for a terminal."""
    limit = width or terminal_width()
    if status.base is None:
        return "\n".join(part for part in ("Nothing is loaded.", text_pairs(status.memory, limit)) if part)
    parts = wrap(f"{line(status.base.model)} is loaded", limit)
    parts.append(text_pairs([("in use", status.active), *_short_facts(status.base), *status.memory], limit))
    if status.adapters:
        parts.append(text_table(("adapter", "kind", "path"), status.adapters, width=limit))
    return "\n".join(parts)


def _short_facts(base: LoadResult) -> list[tuple[str, str]]:
    return [
        ("parameters", units.count(base.parameters)),
        ("computes in", base.dtype),
        ("bits", str(base.bits)),
        ("device", base.device),
    ]
