"""The drawer of adapters: a table, and by block how much of its rank each update uses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lora_magic.demo import MODEL_DIR
from lora_magic.display import theme, units
from lora_magic.display.safe import html_text, inline, line
from lora_magic.display.tables import html_table, terminal_width, text_table, wrap
from lora_magic.results import AdapterEntry, Adapters

HEADER = ("adapter", "where", "kind", "size", "held-out loss", "effective rank", "base")
RIGHT = (3, 4)
CAPTION = "effective rank by block, as a share of the rank"
BLOCKS = "▁▂▃▄▅▆▇█"
_BAR, _HEIGHT = 7, 26
_MOST_BARS = 64
_MOST_PICTURES = 16


def adapters_html(result: Adapters) -> str:
    """What was done, the table, and a strip of bars for each adapter."""
    done = f"<div><b>{inline(result.done)}</b></div>" if result.done else ""
    parts = [f"<div>{inline(_title(result))}</div>", done]
    if result.adapters:
        parts.append(html_table(*_table(result), RIGHT))
    strips = [_strip(entry) for entry in _pictured(result)]
    parts += [f'<div style="{theme.SMALL}">{CAPTION}</div>', *strips] if strips else []
    parts += [f'<div style="{theme.SMALL}">{inline(note)}</div>' for note in _notes(result)]
    return f'<div style="{theme.BOX}">{"".join(parts)}</div>'


def adapters_text(result: Adapters, width: int | None = None) -> str:
    """The same for a terminal."""
    limit = width or terminal_width()
    parts = wrap(line(_title(result)), limit)
    if result.done:
        parts += wrap(line(result.done), limit)
    if result.adapters:
        parts += ["", text_table(*_table(result), RIGHT, limit)]
    strips = [(entry.name, _symbols(entry)) for entry in _pictured(result)]
    parts += ["", text_table(("adapter", CAPTION), strips, (), limit)] if strips else []
    return "\n".join([*parts, *(wrapped for note in _notes(result) for wrapped in wrap(line(note), limit))])


def _title(result: Adapters) -> str:
    if not result.adapters:
        return "There are no adapters here yet. %lora_train NAME --data demo-json makes one."
    count = "1 adapter" if len(result.adapters) == 1 else f"{len(result.adapters):,} adapters"
    if result.base is None:
        bases = {_shown(entry.base) for entry in result.adapters if entry.base}
        return f"{count} on disk{f' for {bases.pop()}' if len(bases) == 1 else ''}; no model is loaded"
    return f"{count}; {result.base} answers with {result.active}"


def _table(result: Adapters) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Titles and rows; the bases are left out where all adapters have the same."""
    rows = [_row(entry) for entry in result.adapters]
    if len({row[-1] for row in rows}) > 1:
        return HEADER, rows
    return HEADER[:-1], [row[:-1] for row in rows]


def _row(entry: AdapterEntry) -> tuple[str, ...]:
    ranks = list(entry.effective_ranks.values())
    used = f"{sum(ranks) / len(ranks):.1f} of {entry.rank}" if ranks else "–"
    size = units.size(entry.bytes) if entry.bytes else "–"
    loss = units.loss(entry.held_out) if entry.held_out is not None else "–"
    name = entry.name if entry.run in ("", entry.name) else f"{entry.name} (run {entry.run})"
    return name, entry.place, entry.kind, size, loss, used, _shown(entry.base) or "–"


def _shown(base: str) -> str:
    """A Hub id as it is; of a path its last part, which tells more in less room."""
    if base == str(MODEL_DIR):
        return "demo"
    is_path = base.startswith(("/", "~", ".")) or "\\" in base
    return re.split(r"[\\/]", base.rstrip("\\/"))[-1] if is_path else base


def _pictured(result: Adapters) -> list[AdapterEntry]:
    """Those whose ranks are drawn: of many the first, which are those in memory."""
    return [entry for entry in result.adapters if entry.effective_ranks][:_MOST_PICTURES]


def _notes(result: Adapters) -> list[str]:
    notes = [f"{entry.name}: {entry.note}" for entry in result.adapters if entry.note] + list(result.notes)
    more = sum(bool(entry.effective_ranks) for entry in result.adapters) - _MOST_PICTURES
    return [*notes, f"the ranks of {more:,} more are not drawn"] if more > 0 else notes


def _bars(entry: AdapterEntry) -> list[tuple[str, float]]:
    """Label and effective rank by block, at most 64: of more blocks, the means of neighbours."""
    found = list(entry.effective_ranks.items())
    size = -(-len(found) // _MOST_BARS)
    groups = [found[i : i + size] for i in range(0, len(found), size)]
    return [(_blocks(group), sum(rank for _, rank in group) / len(group)) for group in groups]


def _blocks(group: Sequence[tuple[int, float]]) -> str:
    return f"block {group[0][0]}" if len(group) == 1 else f"blocks {group[0][0]} to {group[-1][0]}"


def _share(rank: float, entry: AdapterEntry) -> float:
    return min(1.0, rank / max(1, entry.rank))


def _symbols(entry: AdapterEntry) -> str:
    most = len(BLOCKS) - 1
    return "".join(BLOCKS[min(most, int(_share(rank, entry) * len(BLOCKS)))] for _, rank in _bars(entry))


def _strip(entry: AdapterEntry) -> str:
    """A bar for each block, as high as the share of the rank that its updates use."""
    bars = "".join(
        f'<span title="{html_text(f"{label}: {rank:.1f} of {entry.rank}")}" style="display:inline-block;'
        f"vertical-align:bottom;"
        f"width:{_BAR}px;height:{max(1, round(_HEIGHT * _share(rank, entry)))}px;margin:0 1px 0 0;"
        f'background-color:{theme.css(theme.BLUE)}"></span>'
        for label, rank in _bars(entry)
    )
    frame = (
        f"display:inline-block;height:{_HEIGHT}px;border-bottom:{theme.LINE};vertical-align:bottom;white-space:nowrap"
    )
    label = f'<span style="{theme.SMALL}">{inline(entry.name)}, of {entry.rank}</span>'
    return f'<div style="margin:4px 0"><span style="{frame};overflow-x:auto;max-width:100%">{bars}</span> {label}</div>'
