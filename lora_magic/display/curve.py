"""The final curve, drawn once with matplotlib when the run is over."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from lora_magic.display import series, theme
from lora_magic.display.palette import with_palette
from lora_magic.display.series import Series

if TYPE_CHECKING:
    from lora_magic.results import TrainResult

_DPI = 100 * theme.DENSITY
_FONT = 9
_BLUE, _ORANGE, _GREY, _RED = (
    tuple(part / 255 for part in colour) for colour in (theme.BLUE, theme.ORANGE, theme.GREY, theme.RED)
)


def series_of(result: TrainResult) -> Series:
    """The curve of a finished run; its end is marked where it came before the plan's."""
    last = result.losses[-1][0] if result.losses else 0
    stopped = last if last < result.planned_steps else None
    return Series(result.losses, result.eval_losses, result.planned_steps, stopped)


def curve_png(data: TrainResult | Series) -> bytes:
    """A transparent PNG of the losses, 560 by 230 points at double density, for light and dark pages."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = data if isinstance(data, Series) else series_of(data)
    figure = Figure(figsize=(theme.CURVE_WIDTH / 100, theme.CURVE_HEIGHT / 100), dpi=_DPI)
    axes = figure.add_axes((0.095, 0.105, 0.88, 0.775))
    _lines(axes, shown)
    _dress(axes, shown)
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, transparent=True)
    return with_palette(file, 64)


def _lines(axes: Any, data: Series) -> None:
    """The losses, and where the run stopped."""
    raw, held_out = series.finite(data.losses), series.finite(data.held_out)
    smoothed = series.smooth(raw)
    faint = {"color": _BLUE, "alpha": theme.RAW_ALPHA, "linewidth": 1.0, "label": "training"}
    axes.plot(*_xy(series.thin(raw, 2000)), **faint)
    dot = {"marker": "o", "markersize": 4.5} if len(smoothed) == 1 else {}
    axes.plot(*_xy(series.thin(smoothed, 2000)), color=_BLUE, linewidth=2, label="smoothed", **dot)
    if held_out:
        marks = {"marker": "o" if len(held_out) <= 60 else "", "markersize": 4.5, "clip_on": False}
        axes.plot(*_xy(held_out), color=_ORANGE, linewidth=1.2, label="held-out", **marks)
    axes.set_ylim(*series.limits(raw, smoothed, held_out))
    axes.set_xlim(0, data.last_step)
    if data.stopped_at is not None:
        _stop(axes, data, data.stopped_at)


def _stop(axes: Any, data: Series, step: int) -> None:
    """A line where a run stopped early, with its label on the roomier side."""
    left = step > data.last_step / 2
    axes.axvline(step, color=_RED, linewidth=1, linestyle=(0, (3, 2)))
    axes.annotate(
        f"stopped at {step:,}", (step, 1), (-5 if left else 5, -3), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right" if left else "left", va="top", color=_RED, fontsize=_FONT,
    )  # fmt: skip


def _xy(points: series.Points) -> tuple[list[float], list[float]]:
    return [step for step, _ in points], [loss for _, loss in points]


def _dress(axes: Any, data: Series) -> None:
    """Ticks, labels and legend in the mid-tone grey."""
    low, high = axes.get_ylim()
    values = series.ticks(low, high, 5)
    axes.set_yticks(values, series.tick_labels(values))
    series.mark_steps(axes, data.last_step)
    axes.tick_params(length=0, labelsize=_FONT, labelcolor=_GREY, pad=4)
    axes.tick_params(axis="x", pad=7)
    axes.grid(axis="y", color=_GREY, alpha=theme.GRID_ALPHA, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    grey = {"color": _GREY, "fontsize": _FONT}
    axes.text(0, 1.045, "loss (nats a token)", transform=axes.transAxes, **grey)
    axes.text(-0.018, -0.045, "step", transform=axes.transAxes, ha="right", va="top", **grey)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.008, 1.0), ncols=4, frameon=False, fontsize=_FONT,
        labelcolor=_GREY, borderaxespad=0.1, handlelength=1.6, columnspacing=1.4,
    )  # fmt: skip
