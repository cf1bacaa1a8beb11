"""The view of a plan: whether it fits, memory by part, how a step is computed, time, and other ways."""

from __future__ import annotations

from lora_magic.display import theme, units
from lora_magic.display.plan_bar import bar_html, bar_text
from lora_magic.display.safe import inline, line
from lora_magic.display.tables import html_pairs, html_table, terminal_width, text_pairs, text_table, wrap
from lora_magic.estimate import Alternative, Choice
from lora_magic.results import PlanResult

_HEADING = "font-weight:600;margin:10px 0 2px 0"
_WAYS = ("other ways", "peak", "a step", "")
_ATTENTION = {"efficient": "memory-efficient", "flash": "flash", "math": "every score kept"}
_SAID_WITH_A_VOWEL = "AEFHILMNORSX"
_BACKENDS = {"unsloth": "Unsloth", "transformers": "transformers"}


def plan_html(result: PlanResult) -> str:
    """Head, memory as a bar, the plan with its reasons, time, other ways, and what to lower where nothing fits."""
    parts = [
        f"<div><b>{inline(result.model)}</b> {inline(_verdict(result))}</div>",
        html_pairs(_facts(result)),
        _heading("What to lower") + _list_html(result.estimate.lower) if result.estimate.lower else "",
        _heading(_memory_title(result)) + bar_html(result.estimate),
        _heading("The plan" if result.fits else "The smallest plan") + html_pairs(_choice(result)),
        _list_html(result.estimate.reasons),
        _heading("Time") + html_pairs(_time(result)),
        html_table(*_ways_html(result), right={1, 2}),
        "".join(f'<div style="{theme.SMALL}">{inline(told)}</div>' for told in _small(result)),
    ]
    return f'<div style="{theme.BOX}">{"".join(parts)}</div>'


def plan_text(result: PlanResult, width: int | None = None) -> str:
    """The same for a terminal, no line wider than `width` columns."""
    limit = width or terminal_width()
    head = [*wrap(f"{line(result.model)} {line(_verdict(result))}", limit), text_pairs(_facts(result), limit)]
    if result.estimate.lower:
        head += ["What to lower", *_list_text(result.estimate.lower, limit)]
    memory = [*wrap(_memory_title(result), limit), bar_text(result.estimate, limit)]
    plan = ["The plan" if result.fits else "The smallest plan", text_pairs(_choice(result), limit)]
    plan += [*_list_text(result.estimate.reasons, limit), "Time", text_pairs(_time(result), limit)]
    ways = [text_table(_WAYS, _ways(result), {1, 2}, limit)]
    small = [part for told in _small(result) for part in wrap(line(told), limit)]
    return "\n\n".join("\n".join(part) for part in (head, memory, plan, ways, small) if part)


def _heading(said: str) -> str:
    return f'<div style="{_HEADING}">{said}</div>'


def _list_html(told: tuple[str, ...]) -> str:
    return "".join(f'<div style="{theme.SMALL}">· {inline(one)}</div>' for one in told)


def _list_text(told: tuple[str, ...], width: int) -> list[str]:
    lines: list[str] = []
    for one in told:
        first, *rest = wrap(line(one), width - 2)
        lines += [f"· {first}", *(f"  {part}" for part in rest)]
    return lines


def _verdict(result: PlanResult) -> str:
    article = "" if result.card[:1].isdigit() else "an " if result.card[:1] in _SAID_WITH_A_VOWEL else "a "
    return f"{'fits' if result.fits else 'does not fit'} {article}{result.card}"


def _facts(result: PlanResult) -> list[tuple[str, str]]:
    mean = f"{result.tokens_per_row:,.0f}"
    rows = f"{result.rows:,} of {mean} tokens" if result.rows is not None else f"of {mean} tokens"
    return [
        ("parameters", units.count(result.parameters)),
        ("adapter", units.count(result.trainable_parameters)),
        ("rows", f"{rows}, the longest {result.max_length:,}"),
        ("examples a step", f"{result.batch:,}"),
    ]


def _memory_title(result: PlanResult) -> str:
    return f"Memory at the peak: {units.gib(result.peak_gib)}"


def _choice(result: PlanResult) -> list[tuple[str, str]]:
    choice = result.choice
    passes = "one pass" if choice.accumulation == 1 else f"{choice.accumulation:,} passes"
    return [
        ("micro-batch", f"{choice.micro_batch:,} ({passes} a step)"),
        ("checkpointing", _checkpointing(choice)),
        ("optimizer", choice.optimizer),
        ("attention", _ATTENTION.get(choice.attention, choice.attention)),
        ("bits", f"{choice.bits}{', dequantised once for the run' if choice.expanded else ''}"),
        ("backend", _BACKENDS.get(choice.backend, choice.backend)),
    ]


def _checkpointing(choice: Choice) -> str:
    blocks = "1 block" if choice.recomputed == 1 else f"{choice.recomputed:,} blocks"
    told = {"off": "off", "some": f"{blocks}, the others not", "on": "every block", "offload": "every block"}
    return told.get(choice.checkpointing, choice.checkpointing) + (", offloaded" if choice.offload else "")


def _time(result: PlanResult) -> list[tuple[str, str]]:
    estimate = result.estimate
    pairs = [("a step", _span(estimate.seconds_a_step))]
    if estimate.steps is None:
        thousand = estimate.seconds_a_step * 1000 / result.batch
        return [*pairs, ("1,000 rows", _span(thousand)), *_price(thousand, result.price)]
    pairs += [("steps", f"{estimate.steps:,}"), ("in all", _span(estimate.seconds))]
    return [*pairs, *_price(estimate.seconds, result.price)]


def _price(seconds: float, price: float | None) -> list[tuple[str, str]]:
    if price is None:
        return []
    cost = seconds / 3600 * price
    return [("cost", f"{cost:,.2f} at {price:g} an hour" if cost >= 0.01 else f"under 0.01 at {price:g} an hour")]


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.95 else units.duration(seconds)


def _ways(result: PlanResult) -> list[tuple[str, str, str, str]]:
    named = [(way.choice.title, way) for way in result.alternatives]
    named += [(f"{way.name}: {way.choice.title}", way) for way in result.estimate.otherwise]
    return [(name, units.gib(way.peak_gib), _span(way.seconds_a_step), _against(way, result)) for name, way in named]


def _ways_html(result: PlanResult) -> tuple[list[str], list[list[str]]]:
    """Titles and rows whose figures a browser does not break."""
    titles = [_WAYS[0], *(title.replace(" ", "\u00a0") for title in _WAYS[1:])]
    return titles, [[name, *(cell.replace(" ", "\u00a0") for cell in rest)] for name, *rest in _ways(result)]


def _against(way: Alternative, result: PlanResult) -> str:
    if not way.fits:
        return "does not fit"
    ratio = way.seconds_a_step / result.estimate.seconds_a_step
    return "as fast" if abs(ratio - 1) < 0.005 else f"{ratio:.2f}x the time"


def _small(result: PlanResult) -> list[str]:
    return [*result.notes, result.estimate.basis, *([result.memory_basis] if result.memory_basis else [])]
