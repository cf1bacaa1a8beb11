"""The view of a merge: where it is, and what the merge and its roundings changed."""

from __future__ import annotations

from lora_magic.display import theme, units
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import html_pairs, html_table, terminal_width, text_pairs, text_table, wrap
from lora_magic.results import Agreement, MergeResult

_HEADER = ("next token, compared", "same top token", "KL, nats", "largest logit difference")
_RIGHT = {1, 2, 3}


def merge_html(result: MergeResult) -> str:
    """Path and size, and the differences in words."""
    title = f"<div><b>{inline(result.adapter)}</b> merged into {inline(result.path)}</div>"
    differences = _differences(result)
    table = html_table(_HEADER, differences, right=_RIGHT) if differences else ""
    notes = "".join(f'<div style="{theme.SMALL}">{inline(note)}</div>' for note in result.notes)
    return f'<div style="{theme.BOX}">{title}{html_pairs(_facts(result))}{table}{notes}</div>'


def merge_text(result: MergeResult, width: int | None = None) -> str:
    """The same for a terminal."""
    limit = width or terminal_width()
    parts = wrap(f"{line(result.adapter)} merged into {line(result.path)}", limit)
    differences = _differences(result)
    parts += [text_pairs(_facts(result), limit)]
    parts += [text_table(_HEADER, differences, _RIGHT, limit)] if differences else []
    return "\n".join([*parts, *(part for note in result.notes for part in wrap(line(note), limit))])


def _facts(result: MergeResult) -> list[tuple[str, str]]:
    pairs = [
        ("size", f"{units.size(result.bytes_written)} in {result.dtype}"),
        ("base", result.base),
        ("weights changed", f"{result.merged_tensors:,}"),
        ("time", units.duration(result.seconds)),
    ]
    if result.probes:
        prompts = "1 prompt" if result.probes == 1 else f"{result.probes} prompts"
        pairs.append(("compared on", f"{result.positions:,} positions of {prompts}"))
    return pairs


def _differences(result: MergeResult) -> list[tuple[str, ...]]:
    """What was compared, a row each; none where nothing was, which a note says."""
    measured = [
        ("merged, against base + adapter, both in float32", result.merged),
        (f"as written, with the rounding to {result.dtype}", result.stored),
        ("as written, against the adapter as trained", result.trained),
        ("base as loaded, against itself in float32", result.quantisation),
    ]
    return [(what, *_figures(found)) for what, found in measured if found is not None]


def _figures(found: Agreement) -> tuple[str, str, str]:
    return (units.share(found.same_top), units.scientific(found.kl), units.scientific(found.largest))
