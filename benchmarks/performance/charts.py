"""Plots as inline SVG: bars, and lines over linear or logarithmic axes.

Colours are CSS variables, so that a plot is readable in light and dark. Text never lies on a line:
names stand in a legend below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH = 860
COLOURS = 8
"""How many `--series-N` there are."""

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1b1f24; --faint: #57606a; --rule: #d0d7de;
  --thin: #eaeef2; --good: #12713a; --bad: #b3261e;
  --series-0: #1f6feb; --series-1: #0b8f87; --series-2: #d9730d; --series-3: #b5368c;
  --series-4: #7048b6; --series-5: #8b949e; --series-6: #2f9e5b; --series-7: #d1242f; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --text: #e6edf3; --faint: #9aa4af;
  --rule: #3d444d; --thin: #262c34; --good: #56d382; --bad: #ff8b80;
  --series-0: #58a6ff; --series-1: #3dc9bf; --series-2: #f0964a; --series-3: #ea7fc4;
  --series-4: #b794f6; --series-5: #7d8590; --series-6: #3fb56b; --series-7: #ff6b63; } }
svg { width: 100%; height: auto; } svg text { font-size: 12.5px; fill: var(--text); }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .title { font-size: 17px; font-weight: 600; }
svg .heading { font-weight: 600; fill: var(--faint); }
.grid { stroke: var(--rule); } .thin { stroke: var(--thin); }
.line { fill: none; stroke-width: 2; } .mark { stroke: var(--faint); stroke-dasharray: 2 3; }
.whisker { fill: none; stroke: var(--text); stroke-width: 1.3; } .arrow { fill: var(--text); }
"""
"""Of a page with plots, and of a plot in a file of its own."""

_DASHES = ("", "8 4", "2 3", "10 3 2 3", "5 5", "1 4", "", "")
"""Of each colour, so that lines are told apart without it."""


@dataclass(frozen=True)
class Plot:
    """A picture.

    Attributes:
        title: What is shown on it, with the unit.
        drawn: The elements.
        height: Pixels; the width is `WIDTH`.
    """

    title: str
    drawn: str
    height: float

    @property
    def svg(self) -> str:
        """The picture as an element of a page."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height:.0f}" role="img" '
            f'aria-label="{escape(self.title)}">{self.drawn}</svg>'
        )


@dataclass(frozen=True)
class Heading:
    """A line of text above the bars that belong together."""

    text: str


@dataclass(frozen=True)
class Bar:
    """One bar: parts one after the other, and a whisker.

    Attributes:
        label: To its left.
        parts: Lengths, each with which `--series-N`.
        text: Behind it.
        spread: From where to where the whisker goes; None where there is none.
    """

    label: str
    parts: Sequence[tuple[float, int]]
    text: str
    spread: tuple[float, float] | None = None

    @property
    def top(self) -> float:
        """How far the bar or its whisker goes."""
        return max(sum(length for length, _ in self.parts), *(self.spread or (0.0,)))


_ROW_PIXELS = 24
_BAR_PIXELS = 16
_LABELS_PIXELS = 190
_TEXT_PIXELS = 280
_PART_PIXELS_MIN = 3
"""Of a part that is not nothing: it must be seen."""


def bars(title: str, rows: Sequence[Bar | Heading], axis: Axis | None = None) -> Plot:
    """Return horizontal bars from zero.

    Args:
        title: What is shown, and its unit.
        rows: From top to bottom.
        axis: From zero; without it, to the longest one. A bar that is longer ends in an arrow.
    """
    tops = [row.top for row in rows if isinstance(row, Bar)]
    axis = axis or linear_axis(0, max(tops, default=0) or 1.0)
    bottom = 6 + _ROW_PIXELS * len(rows)
    at = _scale(axis, _LABELS_PIXELS, WIDTH - _TEXT_PIXELS)
    drawn = [_x_grid(axis, at, 4, bottom)]
    for number, row in enumerate(rows):
        y = 6 + number * _ROW_PIXELS
        drawn.append(_heading(row, y) if isinstance(row, Heading) else _bar(row, y, at, axis.high))
    return _plot(title, bottom + 24, drawn)


def _heading(heading: Heading, y: int) -> str:
    return f'<text x="4" y="{y + 14}" class="heading">{escape(heading.text)}</text>'


def _bar(bar: Bar, y: int, at: Callable[[float], float], end: float) -> str:
    drawn = [f'<text x="{_LABELS_PIXELS - 8}" y="{y + 13}" class="end">{escape(bar.label)}</text>']
    x = at(0)
    for length, colour in bar.parts:
        width = max(_PART_PIXELS_MIN, at(length) - at(0)) if length else 0.0
        drawn.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR_PIXELS}" '
            f'fill="var(--series-{colour % COLOURS})"/>'
        )
        x += width
    if bar.top > end:
        drawn.append(f'<path d="M{at(end):.1f} {y - 1}l10 9l-10 9z" class="arrow"/>')
    elif bar.spread and bar.spread[0] != bar.spread[1]:
        low, high = (at(value) for value in bar.spread)
        drawn.append(
            f'<path d="M{low:.1f} {y + 8}H{high:.1f}M{low:.1f} {y + 4}v8M{high:.1f} {y + 4}v8" '
            'class="whisker"/>'
        )
    drawn.append(f'<text x="{WIDTH - _TEXT_PIXELS + 16}" y="{y + 13}">{escape(bar.text)}</text>')
    return "".join(drawn)


@dataclass(frozen=True)
class Line:
    """One line of a plot."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: int = 0


@dataclass(frozen=True)
class Axis:
    """A direction: where it begins and ends, and its ticks; one without a name is a thin line."""

    low: float
    high: float
    ticks: list[tuple[float, str]] = field(default_factory=list)
    transform: Callable[[float], float] = float


_PLOT_PIXELS = 290
_LEFT, _RIGHT, _BOTTOM = 70, 30, 44
_MARK_PIXELS = 14
_LETTER_PIXELS = 7
_LEGEND_COLUMNS = 3
_LEGEND_ROW_PIXELS = 22


def lines(
    title: str,
    drawn: Sequence[Line],
    x: Axis,
    y: Axis,
    x_label: str,
    marks: Sequence[tuple[float, str]] = (),
) -> Plot:
    """Return lines over two axes, names of moments above them, and a legend below."""
    at_x = _scale(x, _LEFT, WIDTH - _RIGHT)
    placed = _place_marks(marks, at_x)
    top = 12 + _MARK_PIXELS * (1 + max((row for *_, row in placed), default=-1))
    bottom = top + _PLOT_PIXELS - _BOTTOM
    at_y = _scale(y, bottom, top)
    parts = [_x_grid(x, at_x, top, bottom), _y_grid(y, at_y)]
    for at, name, row in placed:
        parts.append(
            f'<path d="M{at:.1f} {row * _MARK_PIXELS + 4}V{bottom}" class="mark"/>'
            f'<text x="{at + 4:.1f}" y="{row * _MARK_PIXELS + 13}">{escape(name)}</text>'
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 36}" class="middle">{escape(x_label)}</text>')
    legend = bottom + _BOTTOM + 10
    for number, line in enumerate(drawn):
        path = " ".join(f"{at_x(a):.1f},{at_y(b):.1f}" for a, b in line.points)
        colour = line.colour % COLOURS
        stroke = f'stroke="var(--series-{colour})" stroke-dasharray="{_DASHES[colour]}"'
        parts.append(f'<polyline points="{path}" class="line" {stroke}/>')
        parts.append(_legend_entry(number, line.label, stroke, legend))
    rows = -(-len(drawn) // _LEGEND_COLUMNS)
    return _plot(title, legend + rows * _LEGEND_ROW_PIXELS, parts)


def _place_marks(
    marks: Sequence[tuple[float, str]], at: Callable[[float], float]
) -> list[tuple[float, str, int]]:
    """Return each mark's place, name, and the row in which its name meets no other."""
    placed: list[tuple[float, str, int]] = []
    ends: list[float] = []  # where the last name of each row ends
    for moment, name in marks:
        x = at(moment)
        row = next((row for row, end in enumerate(ends) if end < x), len(ends))
        ends[row : row + 1] = [x + 8 + _LETTER_PIXELS * len(name)]
        placed.append((x, name, row))
    return placed


def _legend_entry(number: int, label: str, stroke: str, top: float) -> str:
    row, column = divmod(number, _LEGEND_COLUMNS)
    x = _LEFT + column * (WIDTH - _LEFT) / _LEGEND_COLUMNS
    y = top + row * _LEGEND_ROW_PIXELS
    return (
        f'<path d="M{x:.0f} {y}h34" class="line" {stroke}/>'
        f'<text x="{x + 42:.0f}" y="{y + 4}">{escape(label)}</text>'
    )


def _plot(title: str, height: float, parts: list[str]) -> Plot:
    return Plot(title, "".join(parts), height)


_TITLE_PIXELS = 40
_MARGIN_PIXELS = 16


def as_file(plot: Plot) -> str:
    """Return a plot as an SVG file: its title above it, and a ground of its own."""
    width, height = WIDTH + 2 * _MARGIN_PIXELS, plot.height + _TITLE_PIXELS + _MARGIN_PIXELS
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img" '
        'font-family="system-ui, sans-serif">\n'
        f"<title>{escape(plot.title)}</title>\n<style>{STYLE}</style>\n"
        '<rect width="100%" height="100%" rx="8" fill="var(--page)"/>\n'
        f'<text x="{_MARGIN_PIXELS + 4}" y="26" class="title">{escape(plot.title)}</text>\n'
        f'<g transform="translate({_MARGIN_PIXELS} {_TITLE_PIXELS})">\n'
        + plot.drawn.replace("><", ">\n<")
        + "\n</g>\n</svg>\n"
    )


def _x_grid(axis: Axis, at: Callable[[float], float], top: float, bottom: float) -> str:
    drawn = []
    for value, name in axis.ticks:
        kind = "grid" if name else "thin grid"
        drawn.append(f'<path d="M{at(value):.1f} {top}V{bottom}" class="{kind}"/>')
        if name:
            place = f'x="{at(value):.1f}" y="{bottom + 16}"'
            drawn.append(f'<text {place} class="middle">{escape(name)}</text>')
    return "".join(drawn)


def _y_grid(axis: Axis, at: Callable[[float], float]) -> str:
    return "".join(
        f'<path d="M{_LEFT} {at(value):.1f}H{WIDTH - _RIGHT}" class="grid"/>'
        f'<text x="{_LEFT - 8}" y="{at(value) + 4:.1f}" class="end">{escape(name)}</text>'
        for value, name in axis.ticks
    )


def _scale(axis: Axis, begin: float, end: float) -> Callable[[float], float]:
    low, high = axis.transform(axis.low), axis.transform(axis.high)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        share = (axis.transform(min(max(value, axis.low), axis.high)) - low) / span
        return begin + share * (end - begin)

    return at


# --- axes ----------------------------------------------------------------------------------------


def linear_axis(low: float, high: float, unit: str = "", *, whole: bool = False) -> Axis:
    """Return an axis with some four round ticks.

    Args:
        low: From where.
        high: To where.
        unit: Behind each tick.
        whole: End at a tick, at `high` or beyond it; otherwise at `high`.
    """
    rough = (high - low) / 4 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    count = (high - low) / step
    last = math.ceil(count - 1e-9) if whole else math.floor(count + 1e-9)
    values = [low + step * number for number in range(last + 1)]
    ticks = [(value, _short(value) + unit) for value in values]
    return Axis(low, values[-1] if whole else high, ticks)


def time_axis(low_ns: float, high_ns: float) -> Axis:
    """Return a logarithmic axis of nanoseconds from a power of ten to one, each a named tick."""
    first = math.floor(math.log10(max(low_ns, 1.0)))
    last = max(math.ceil(math.log10(max(high_ns, 1.0))), first + 1)
    ticks = [
        (digit * 10.0**power, _duration(10**power) if digit == 1 else "")
        for power in range(first, last)
        for digit in range(1, 10)
    ]
    return Axis(10.0**first, 10.0**last, [*ticks, (10.0**last, _duration(10**last))], math.log10)


def _duration(nanoseconds: int) -> str:
    for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if nanoseconds >= size:
            return f"{nanoseconds // size} {unit}"
    return f"{nanoseconds} ns"


def nines_axis() -> Axis:
    """Return an axis of shares on which each further nine is as wide as the one before."""
    shares = {0.0: "0 %", 0.5: "50 %", 0.9: "90 %", 0.99: "99 %", 0.999: "99.9 %"}
    most = 0.9999
    ticks = [*shares.items(), (most, "99.99 %")]
    return Axis(0.0, most, ticks, lambda share: -math.log10(1 - share))


def _short(value: float) -> str:
    """Return a tick's number: 2k, 1.5M, 0.01."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.6g}"
