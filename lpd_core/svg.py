"""Two small charts as inline SVG, for files that load nothing: means with intervals in order, and bars with intervals.

Every text is escaped; nothing in a chart is markup of a model's.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from lpd_core.types import Interval

Series = tuple[str, Sequence[tuple[str, Interval]]]
"""A name, and a mean with its interval at each named place."""

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 260, 56, 34, 14
COLOURS = ("#2563a8", "#b4532a", "#2b7a4b", "#7a4a9c", "#6b6b6b")


def line_chart(series: Sequence[Series], label: str) -> str:
    """Lines of means with whiskers, the places of the first series along the bottom; empty without any value."""
    values = [v for _, points in series for _, i in points if i.n for v in (i.low, i.high)]
    if not values:
        return ""
    low, high = _range(values)
    places = list(dict.fromkeys(name for _, points in series for name, _ in points))
    step = (WIDTH - LEFT - 20) / max(1, len(places))
    parts = _axis(low, high)
    for n, place in enumerate(places):
        parts.append(_text(LEFT + step * (n + 0.5), HEIGHT - BOTTOM + 16, place, "middle"))
    for k, (name, points) in enumerate(series):
        colour = COLOURS[k % len(COLOURS)]
        at = [
            (LEFT + step * (places.index(place) + 0.5) + 5 * (k - (len(series) - 1) / 2), i)
            for place, i in points
            if i.n
        ]
        path = " ".join(f"{x:.1f},{_y(i.mean, low, high):.1f}" for x, i in at)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [_whisker(x, i, low, high, colour) for x, i in at]
        parts.append(_text(LEFT + 8 + 150 * k, HEIGHT - 4, name, "start", colour))
    return _figure(parts, label, HEIGHT)


def bar_chart(bars: Sequence[tuple[str, Interval]], label: str, zero: float = 0.0) -> str:
    """Horizontal bars from `zero` with whiskers, a row each; empty without any value."""
    known = [(name, i) for name, i in bars if i.n]
    if not known:
        return ""
    edges = [zero, *(v for _, i in known for v in (i.low, i.high))]
    low, high = _range(edges)
    left, row = 260, 22

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - 20)

    parts = []
    for n, (name, i) in enumerate(known):
        y = TOP + n * row + row / 2
        start, end = sorted((place(zero), place(i.mean)))
        parts += [
            _text(left - 8, y + 4, name if len(name) <= 42 else name[:41] + "…", "end"),
            f'<rect x="{start:.1f}" y="{y - 7:.1f}" width="{max(0.5, end - start):.1f}" height="14" fill="#9dbbd9"/>',
            f'<line x1="{place(i.low):.1f}" x2="{place(i.high):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#1d2129"/>',
        ]
    bottom = TOP + len(known) * row
    parts.append(
        f'<line x1="{place(zero):.1f}" x2="{place(zero):.1f}" y1="{TOP}" y2="{bottom}" stroke="#555"/>'
    )
    for value in (low, zero, high):
        parts.append(_text(place(value), bottom + 16, f"{value:.3g}", "middle"))
    return _figure(parts, label, bottom + 24)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = (high - low) * 0.06 or 0.05
    return low - pad, high + pad


def _y(value: float, low: float, high: float) -> float:
    return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _axis(low: float, high: float) -> list[str]:
    parts = []
    for n in range(5):
        value = low + (high - low) * n / 4
        y = _y(value, low, high)
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e6ea"/>',
            _text(LEFT - 8, y + 4, f"{value:.3f}", "end"),
        ]
    return parts


def _whisker(x: float, i: Interval, low: float, high: float, colour: str) -> str:
    top, bottom, mean = (_y(v, low, high) for v in (i.high, i.low, i.mean))
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{colour}"/>'
        f'<circle cx="{x:.1f}" cy="{mean:.1f}" r="3" fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#3c4350") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{html.escape(text)}</text>'


def _figure(parts: Sequence[str], label: str, height: float) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{html.escape(label)}" '
        f'style="max-width:{WIDTH}px;width:100%;font:12px system-ui,sans-serif">{"".join(parts)}</svg>'
    )
