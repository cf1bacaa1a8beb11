"""Numbers as people read them: 3.7 M parameters, 2.3 GiB, 1 min 12 s."""

from __future__ import annotations

import math


def count(number: float) -> str:
    """A count with a decimal prefix: 950, 3.7 M, 1.2 B."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= limit * 0.9995:
            scale = 1e3 if unit == "k" else limit
            return f"{_three(number / scale)} {unit}"
    return f"{number:,.0f}"


def size(number_of_bytes: float) -> str:
    """Bytes with a binary prefix: 312 B, 2.3 MiB, 14.6 GiB."""
    amount = float(number_of_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{_three(amount)} {unit}"
        amount /= 1024
    return f"{_three(amount)} TiB"


def gib(amount: float) -> str:
    """An amount given in GiB, as `size` writes it."""
    return size(amount * 1024**3) if math.isfinite(amount) else "–"


def duration(seconds: float) -> str:
    """Seconds as a span: 0.4 s, 12 s, 1 min 12 s, 2 h 05 min."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def loss(value: float | None) -> str:
    """A loss in nats with four significant digits, an en dash for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    digits = 3 if abs(value) < 1e-9 else max(0, min(6, 3 - math.floor(math.log10(abs(value)))))
    return f"{value:.{digits}f}"


def scientific(value: float | None) -> str:
    """A learning rate or a difference: 2.0e-4, 0.81, 0, an en dash for None."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 0.01 <= abs(value) < 1000:
        return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def rate(per_second: float) -> str:
    """Tokens a second, with thousands separated."""
    return f"{per_second:,.0f}" if math.isfinite(per_second) else "–"


def share(fraction: float) -> str:
    """A fraction as per cent: 0.03%, 43%, never 100% for less than all of it."""
    percent = 100 * fraction
    if fraction < 1 and percent >= 99.5:
        return f"{math.floor(percent * 10) / 10:.1f}%"
    return f"{percent:.0f}%" if percent >= 10 or percent == 0 else f"{percent:.2g}%"


def _three(value: float) -> str:
    """About two significant digits where small, none behind the point where large."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}"
