"""Two plain pictures as SVG: bars of the comparison, and lines of how a run grows with the project."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from .growth import Grown
from .throughput import Scenario

_OURS, _THEIRS, _INK, _GRID = "#1f6f8b", "#b9c4cc", "#1b1f24", "#d8dee3"
_WIDTH = 900
_FONT = 'font-family="sans-serif" font-size="13"'
_PANEL = 340  # width of one graph of the growth picture


def bars(scenarios: Sequence[Scenario]) -> str:
    """Wall time of each contender of each scenario, each scenario on a scale of its own."""
    parts: list[str] = []
    y = 10
    for scenario in sorted(scenarios, key=lambda each: each.key):
        good = [each for each in scenario.figures if not each.wrong]
        if not good:
            continue
        y += 24
        parts.append(_text(10, y, f"({scenario.key}) {scenario.title}: seconds, less is better", weight="bold"))
        longest = max(each.wall for each in good)
        for each in good:
            y += 22
            width = max(2.0, 430 * each.wall / longest)
            colour = _OURS if each.name.startswith("xnat-sync") else _THEIRS
            parts.append(_text(340, y, each.name, anchor="end"))
            parts.append(f'<rect x="350" y="{y - 13}" width="{width:.1f}" height="17" fill="{colour}"/>')
            parts.append(_text(356 + width, y, f"{each.wall:.2f}"))
        y += 14
    return _picture(_WIDTH, y + 20, parts)


def growth(rows: Sequence[Grown]) -> str:
    """Time and requests by sessions, on logarithmic scales."""
    parts = [
        *_graph(70, "seconds", rows, lambda row: row.took.wall),
        *_graph(70 + _PANEL + 100, "requests", rows, lambda row: row.took.requests),
    ]
    return _picture(_WIDTH, 360, parts)


def _graph(left: int, title: str, rows: Sequence[Grown], value: Callable[[Grown], float]) -> list[str]:
    top, height = 50, 240
    low_x, high_x = _decades([row.sessions for row in rows])
    low_y, high_y = _decades([value(row) for row in rows])

    def at(row: Grown) -> tuple[float, float]:
        x = left + _PANEL * (math.log10(row.sessions) - low_x) / (high_x - low_x)
        y = top + height * (1 - (math.log10(value(row)) - low_y) / (high_y - low_y))
        return x, y

    parts = [_text(left, top - 20, f"{title} by number of sessions", weight="bold")]
    for power in range(low_x, high_x + 1):
        x = left + _PANEL * (power - low_x) / (high_x - low_x)
        parts.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + height}" stroke="{_GRID}"/>')
        parts.append(_text(x, top + height + 20, f"{10**power:g}", anchor="middle"))
    for power in range(low_y, high_y + 1):
        y = top + height * (1 - (power - low_y) / (high_y - low_y))
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + _PANEL}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(left - 8, y + 4, f"{10.0**power:g}", anchor="end"))
    for fresh, colour, name in ((True, _INK, "new"), (False, _OURS, "unchanged")):
        points = [(row, *at(row)) for row in rows if row.fresh is fresh]
        if not points:
            continue
        line = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for row, x, y in points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            parts.append(_text(x + 6, y + (-7 if fresh else 17), _number(value(row)), colour=colour))
        parts.append(_text(points[-1][1] - 8, points[-1][2] + (18 if fresh else -9), name, anchor="end", colour=colour))
    return parts


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that enclose all values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", colour: str = _INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {_FONT} text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _picture(width: int, height: int, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *parts,
            "</svg>",
            "",
        ]
    )
