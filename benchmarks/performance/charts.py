"""Bars as inline SVG; colours are CSS variables, so that they are readable in light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
COLOURS = 8
"""How many `--series-N` there are."""

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1b1f24; --faint: #57606a; --rule: #d0d7de;
  --series-0: #1f6feb; --series-1: #0b8f87; --series-2: #d9730d; --series-3: #b5368c;
  --series-4: #7048b6; --series-5: #8b949e; --series-6: #2f9e5b; --series-7: #d1242f; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --text: #e6edf3; --faint: #9aa4af;
  --rule: #3d444d;
  --series-0: #58a6ff; --series-1: #3dc9bf; --series-2: #f0964a; --series-3: #ea7fc4;
  --series-4: #b794f6; --series-5: #7d8590; --series-6: #3fb56b; --series-7: #ff6b63; } }
svg { width: 100%; height: auto; } svg text { font-size: 12.5px; fill: var(--text); }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .title { font-size: 17px; font-weight: 600; }
svg .heading { font-weight: 600; fill: var(--faint); }
.grid { stroke: var(--rule); }
.whisker { fill: none; stroke: var(--text); stroke-width: 1.3; } .arrow { fill: var(--text); }
"""
"""Of a page with plots, and of a plot in a file of its own."""


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


def bars(title: str, rows: Sequence[Bar | Heading], axis: Axis) -> Plot:
    """Return horizontal bars from zero.

    Args:
        title: What is shown, and its unit.
        rows: From top to bottom.
        axis: A bar that is longer ends in an arrow.
    """
    bottom = 6 + _ROW_PIXELS * len(rows)
    at = _scale(axis)
    drawn = [_grid(axis, at, 4, bottom)]
    for number, row in enumerate(rows):
        y = 6 + number * _ROW_PIXELS
        drawn.append(_heading(row, y) if isinstance(row, Heading) else _bar(row, y, at, axis.high))
    return Plot(title, "".join(drawn), bottom + 24)


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


def _grid(axis: Axis, at: Callable[[float], float], top: float, bottom: float) -> str:
    return "".join(
        f'<path d="M{at(value):.1f} {top}V{bottom}" class="grid"/>'
        f'<text x="{at(value):.1f}" y="{bottom + 16}" class="middle">{escape(name)}</text>'
        for value, name in axis.ticks
    )


def _scale(axis: Axis) -> Callable[[float], float]:
    """Return where a value is on the picture; what is beyond the axis is at its end."""
    width = WIDTH - _TEXT_PIXELS - _LABELS_PIXELS
    return lambda value: _LABELS_PIXELS + width * min(max(value, 0.0), axis.high) / axis.high


@dataclass(frozen=True)
class Axis:
    """From zero to where, and its ticks."""

    high: float
    ticks: list[tuple[float, str]]


def axis_to(high: float, unit: str = "", *, whole: bool = False) -> Axis:
    """Return an axis with some four round ticks.

    Args:
        high: To where; more than zero.
        unit: Behind each tick.
        whole: End at a tick, at `high` or beyond it; otherwise at `high`.
    """
    rough = high / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    count = high / step
    last = math.ceil(count - 1e-9) if whole else math.floor(count + 1e-9)
    values = [step * number for number in range(last + 1)]
    ticks = [(value, _short(value) + unit) for value in values]
    return Axis(values[-1] if whole else high, ticks)


def _short(value: float) -> str:
    """Return a tick's number: 2k, 1.5M, 0.01."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.6g}"
