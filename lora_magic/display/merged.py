"""The view of a merge: where it is, and what the merge and its roundings changed."""

from __future__ import annotations

from lora_magic.display import theme, units
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import html_pairs, html_table, terminal_width, text_pairs, text_table, wrap
from lora_magic.results import MergeResult

_HEADER = ("what is compared", "largest logit difference")


def merge_html(result: MergeResult) -> str:
    """Path and size, and the differences in words."""
    title = f"<div><b>{inline(result.adapter)}</b> merged into {inline(result.path)}</div>"
    table = html_table(_HEADER, _differences(result), right={1})
    notes = "".join(f'<div style="{theme.SMALL}">{inline(note)}</div>' for note in result.notes)
    return f'<div style="{theme.BOX}">{title}{html_pairs(_facts(result))}{table}{notes}</div>'


def merge_text(result: MergeResult, width: int | None = None) -> str:
    """The same for a terminal."""
    limit = width or terminal_width()
    parts = wrap(f"{line(result.adapter)} merged into {line(result.path)}", limit)
    parts += [text_pairs(_facts(result), limit), text_table(_HEADER, _differences(result), {1}, limit)]
    return "\n".join([*parts, *(part for note in result.notes for part in wrap(line(note), limit))])


def _facts(result: MergeResult) -> list[tuple[str, str]]:
    pairs = [
        ("size", f"{units.size(result.bytes_written)} in {result.dtype}"),
        ("base", result.base),
        ("weights changed", f"{result.merged_tensors:,}"),
        ("time", units.duration(result.seconds)),
    ]
    if result.top_token_agreement is not None:
        prompts = "1 prompt" if result.probes == 1 else f"{result.probes} prompts"
        agreement = f"{units.share(result.top_token_agreement)} of next tokens over {prompts}"
        pairs.append(("agrees with the adapter as trained on", agreement))
    return pairs


def _differences(result: MergeResult) -> list[tuple[str, str]]:
    measured = [
        ("merged, against base + adapter, both in float32", result.max_logit_difference),
        (f"as written, with the rounding to {result.dtype}", result.stored_logit_difference),
        ("as written, against the adapter on the base it was trained on", result.trained_logit_difference),
        (
            "base in float32, against the base as loaded (its quantisation)",
            result.quantisation_logit_difference,
        ),
    ]
    return [(what, "not measured" if value is None else units.scientific(value)) for what, value in measured]
