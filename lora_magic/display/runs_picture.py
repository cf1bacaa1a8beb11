"""The curves of several runs over each other, as a picture and as text. Losses are in nats a token."""

from __future__ import annotations

import io
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_magic.display import series, theme
from lora_magic.display.palette import with_palette
from lora_magic.display.series import Points
from lora_magic.display.text_curve import Grid

if TYPE_CHECKING:
    from lora_magic.results import RunSummary

# Six colours of contrast 3.1 and more on white and on near-black. Under simulated red or green blindness any two
# stay 12 apart in CIELAB; the symbols tell them apart without colour.
COLOURS = (theme.BLUE, theme.ORANGE, (0, 158, 115), (160, 110, 70), (20, 150, 170), theme.GREY)
SYMBOLS = "●■▲◆▼✚"
_MARKERS = "os^DvP"
MOST = len(COLOURS)
_LOG_FROM = 30.0
_NO_LOG, _NO_LOSS = 1e-12, 1e30
_TALLEST = 1.5
_FONT = 9
_GREY = tuple(part / 255 for part in theme.GREY)
_LEGEND_COLUMNS, _LEGEND_ROW = 3, 18
_NAME_LENGTH = 24
_PLOT_HEIGHT = 210


@dataclass(frozen=True)
class Curve:
    """A run's losses as drawn.

    Attributes:
        name: the run's.
        smoothed: (step, training loss) pairs, smoothed.
        held_out: (step, held-out loss) pairs.
    """

    name: str
    smoothed: Points
    held_out: Points

    @property
    def marked(self) -> Points:
        """Where its symbol stands: at held-out losses, or along the training loss where there are none."""
        if self.held_out:
            return self.held_out
        last = len(self.smoothed) - 1
        return [self.smoothed[place] for place in sorted({round(last * part / 6) for part in range(1, 7)})]


@dataclass(frozen=True)
class Frame:
    """What part of the plane is shown.

    Attributes:
        last_step: right end.
        low, high: lowest and highest loss.
        log: whether the loss is on a logarithmic scale.
    """

    last_step: float
    low: float
    high: float
    log: bool

    def height(self, loss: float) -> float:
        """`loss` on the scale."""
        return math.log(max(loss, self.low)) if self.log else loss


def curves(runs: Sequence[RunSummary]) -> dict[int, Curve]:
    """The first few runs that have a curve, by their place among `runs`."""
    found: dict[int, Curve] = {}
    for place, run in enumerate(runs):
        losses, held_out = _drawn(run.losses), _drawn(run.eval_losses)
        if len(found) < MOST and (losses or held_out):
            found[place] = Curve(run.name, series.thin(series.smooth(losses), 800), series.thin(held_out, 200))
    return found


def _drawn(points: Sequence[tuple[int, float]]) -> Points:
    return [(step, loss) for step, loss in points if abs(loss) < _NO_LOSS]


def frame(shown: Sequence[Curve]) -> Frame:
    """Limits that hold all curves, but for one that shoots far above the others.

    The scale is logarithmic where the highest loss shown is more than 30 times the lowest.
    """
    values = [[loss for _, loss in (*curve.smoothed, *curve.held_out)] for curve in shown]
    last_step = max([1.0, *(step for curve in shown for step, _ in (*curve.smoothed, *curve.held_out))])
    low = min(min(losses) for losses in values)
    usual = statistics.median_low(max(losses) for losses in values)
    high = max(min(loss, low + _TALLEST * (usual - low)) for losses in values for loss in losses)
    if low > _NO_LOG and high / low > _LOG_FROM:
        pad = (high / low) ** 0.05
        return Frame(last_step, low / pad, high * pad, True)
    pad = 0.06 * (high - low) or max(0.05, 0.05 * abs(high))
    return Frame(last_step, 0.0 if low >= 0 > low - pad else low - pad, high + pad, False)


def loss_ticks(shown: Frame) -> list[float]:
    """Round losses inside the frame."""
    if not shown.log:
        return series.ticks(shown.low, shown.high, 5)
    powers = range(math.floor(math.log10(shown.low)), math.ceil(math.log10(shown.high)) + 1)
    factors = (1, 3) if len(powers) < 5 else (1,)
    return [v for power in powers for factor in factors if shown.low <= (v := factor * 10.0**power) <= shown.high]


def runs_png(shown: Sequence[Curve]) -> bytes:
    """A transparent PNG of the curves with a legend, 560 points wide at double density, for light and dark pages."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = math.ceil(len(shown) / _LEGEND_COLUMNS)
    above = 26 + _LEGEND_ROW * rows
    width, height = theme.CURVE_WIDTH, 24 + _PLOT_HEIGHT + above
    figure = Figure(figsize=(width / 100, height / 100), dpi=100 * theme.DENSITY)
    axes = figure.add_axes((0.095, 24 / height, 0.88, _PLOT_HEIGHT / height))
    within = frame(shown)
    for place in reversed(range(len(shown))):
        _draw(axes, shown[place], place)
    _dress(axes, within)
    _legend(axes, shown)
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100 * theme.DENSITY, transparent=True)
    return with_palette(file, 160)


def _ink(place: int) -> tuple[float, float, float]:
    red, green, blue = COLOURS[place]
    return red / 255, green / 255, blue / 255


def _draw(axes: Any, curve: Curve, place: int) -> None:
    ink = _ink(place)
    axes.plot(*_xy(curve.smoothed), color=ink, linewidth=1, alpha=theme.RAW_ALPHA)
    if curve.held_out:
        axes.plot(*_xy(curve.held_out), color=ink, linewidth=1.5)
    every = math.ceil(len(curve.marked) / 30)
    marks = {"color": ink, "linestyle": "", "marker": _MARKERS[place], "markersize": 5}
    axes.plot(*_xy(curve.marked[::-1][::every]), **marks)


def _xy(points: Points) -> tuple[list[float], list[float]]:
    return [step for step, _ in points], [loss for _, loss in points]


def _dress(axes: Any, shown: Frame) -> None:
    """Scale, ticks and labels in the mid-tone grey."""
    axes.set_yscale("log" if shown.log else "linear")
    axes.set_ylim(shown.low, shown.high)
    axes.set_xlim(-0.008 * shown.last_step, 1.008 * shown.last_step)
    losses = loss_ticks(shown)
    axes.set_yticks(losses, [f"{loss:g}" for loss in losses] if shown.log else series.tick_labels(losses))
    axes.set_yticks([], [], minor=True)
    series.mark_steps(axes, shown.last_step)
    axes.tick_params(which="both", length=0, labelsize=_FONT, labelcolor=_GREY, pad=4)
    axes.tick_params(axis="x", pad=7)
    axes.grid(axis="y", color=_GREY, alpha=theme.GRID_ALPHA, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    grey = {"color": _GREY, "fontsize": _FONT}
    scale = ", log scale" if shown.log else ""
    axes.text(0, 1.045, f"loss (nats a token{scale})", transform=axes.transAxes, **grey)
    key = "bold: held out · thin: training, smoothed"
    axes.text(1.008, 1.045, key, transform=axes.transAxes, ha="right", **grey)
    axes.text(-0.018, -0.045, "step", transform=axes.transAxes, ha="right", va="top", **grey)


def _legend(axes: Any, shown: Sequence[Curve]) -> None:
    """Names by symbol and colour, above the curves; names are shown as they are, not as formulas."""
    from matplotlib.lines import Line2D

    columns = [range(first, len(shown), _LEGEND_COLUMNS) for first in range(_LEGEND_COLUMNS)]
    places = [place for column in columns for place in column]
    handles = [Line2D([], [], color=_ink(p), marker=_MARKERS[p], markersize=5, linewidth=1.5) for p in places]
    legend = axes.legend(
        handles, [_drawable(shown[p].name) for p in places], loc="lower left", bbox_to_anchor=(-0.012, 1.12),
        ncols=_LEGEND_COLUMNS, frameon=False, fontsize=_FONT, labelcolor=_GREY, borderaxespad=0, borderpad=0,
        handlelength=1.8, columnspacing=1.6, labelspacing=0.45,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _drawable(name: str) -> str:
    """`name`, cut in its middle, with a box for what the picture's font lacks."""
    from matplotlib.font_manager import findfont, get_font

    half = _NAME_LENGTH // 2
    cut = name if len(name) <= _NAME_LENGTH else f"{name[:half]}…{name[-half + 1 :]}"
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in known and letter.isprintable() else "□" for letter in cut)


def runs_plot(shown: Sequence[Curve], width: int, height: int = 12) -> str:
    """The curves in at most `width` columns: braille for training losses, a symbol a run for held-out losses."""
    within = frame(shown)
    low, high = within.height(within.low), within.height(within.high)
    levels = [high - (high - low) * row / (height - 1) for row in range(height)]
    labels = [f"{math.exp(level) if within.log else level:.3g}" for level in levels]
    gutter = max(map(len, labels))
    grid = Grid(width - gutter - 3, height, within.last_step, low, high)
    for place in reversed(range(len(shown))):
        for inside, stretch in itertools.groupby(shown[place].smoothed, lambda point: point[1] <= within.high):
            if inside:
                grid.trace([(step, within.height(loss)) for step, loss in stretch])
        for step, loss in _text_marks(shown[place], within):
            grid.mark(step, within.height(loss), SYMBOLS[place])
    labelled = range(0, height, 3 if within.log else (height - 1) // 2)
    rows = [
        f"{(labels[row] if row in labelled or row == height - 1 else '').rjust(gutter)} ┤{grid.row(row)}".rstrip()
        for row in range(height)
    ]
    return "\n".join([*rows, _foot(shown, within, gutter, width)])


def _text_marks(curve: Curve, within: Frame) -> Points:
    """At most 30 of its marks inside the frame, and the first one above it, where the curve leaves."""
    marks = curve.marked[:: math.ceil(len(curve.marked) / 30)]
    above = [point for point in marks if point[1] > within.high]
    return [point for point in marks if point[1] <= within.high] + above[:1]


def _foot(shown: Sequence[Curve], within: Frame, gutter: int, width: int) -> str:
    left, right = f"{' ' * (gutter + 2)}0", f"step {within.last_step:,.0f}"
    held_out = f"  {' '.join(SYMBOLS[: len(shown)])} held-out" if any(curve.held_out for curve in shown) else ""
    middle = f"loss ⠒ training, smoothed{held_out}"
    space = width - len(left) - len(right)
    return f"{left}{middle.center(space) if len(middle) < space else ' ' * space}{right}"
