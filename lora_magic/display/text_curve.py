"""The curve as text: braille dots for the smoothed training loss, circles for the held-out loss."""

from __future__ import annotations

from lora_magic.display import series
from lora_magic.display.series import Points, Series

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def text_curve(data: Series, width: int = 72, height: int = 10) -> str:
    """The curve in at most `width` columns and `height` rows and a line of labels, without colour codes."""
    smoothed = series.smooth(series.finite(data.losses))
    held_out = series.finite(data.held_out)
    if not smoothed and not held_out:
        return ""
    low, high = series.limits(smoothed, smoothed, held_out)
    labels = [f"{high - (high - low) * row / (height - 1):.2f}" for row in range(height)]
    gutter = max(map(len, labels))
    grid = Grid(width - gutter - 3, height, data.last_step, low, high)
    grid.trace(smoothed)
    for step, loss in held_out:
        grid.mark(step, loss, "○")
    shown = {0, (height - 1) // 2, height - 1}
    rows = [
        f"{(label if index in shown else '').rjust(gutter)} ┤{grid.row(index)}".rstrip()
        for index, label in enumerate(labels)
    ]
    return "\n".join([*rows, _foot(data, gutter, width)])


def _foot(data: Series, gutter: int, width: int) -> str:
    left = f"{' ' * (gutter + 2)}0"
    middle = "loss ⠒ training, smoothed" + ("  ○ held-out" if data.held_out else "")
    right = f"step {data.last_step:,.0f}"
    space = width - len(left) - len(right)
    return f"{left}{middle.center(space) if len(middle) < space else ' ' * space}{right}"


class Grid:
    """Characters of two by four dots each."""

    def __init__(self, width: int, height: int, last_step: float, low: float, high: float) -> None:
        self.width, self.height = width, height
        self.last_step, self.low, self.high = last_step, low, high
        self.dots = [[0] * width for _ in range(height)]
        self.marks: dict[tuple[int, int], str] = {}

    def at(self, step: float, loss: float) -> tuple[int, int]:
        """Column and row of the dot nearest to a point."""
        across = round((2 * self.width - 1) * step / self.last_step)
        down = round((4 * self.height - 1) * (self.high - loss) / (self.high - self.low))
        return min(2 * self.width - 1, max(0, across)), min(4 * self.height - 1, max(0, down))

    def trace(self, points: Points) -> None:
        """Draw a line through `points`."""
        previous: tuple[int, int] | None = None
        for point in points:
            column, row = self.at(*point)
            for x, y in _between(previous or (column, row), (column, row)):
                self.dots[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
            previous = (column, row)

    def mark(self, step: float, loss: float, symbol: str) -> None:
        """Put `symbol` over a point."""
        column, row = self.at(step, loss)
        self.marks[row // 4, column // 2] = symbol

    def row(self, index: int) -> str:
        """The characters of one row."""
        return "".join(
            self.marks.get((index, column), chr(0x2800 + dots) if dots else " ")
            for column, dots in enumerate(self.dots[index])
        )


def _between(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The dots of a straight line."""
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (
            start[0] + round((end[0] - start[0]) * part / length),
            start[1] + round((end[1] - start[1]) * part / length),
        )
        for part in range(length + 1)
    ]
