"""Medians with their spread, and ratios of what was measured in the same turn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

QUARTILES_COUNT_MIN = 5
"""Fewer values have no quartiles worth the name: then the spread is least and greatest."""


BEYOND_COUNT_MIN = 10
"""So many values beyond a quantile; with fewer, one slow call more or less would move it far."""


@dataclass(frozen=True)
class Spread:
    """A median and between what the values lie.

    Attributes:
        low, high: Lower and upper quartile; of fewer than five values the least and greatest.
        count: How many values there were.
    """

    median: float
    low: float
    high: float
    count: int

    def apart_from(self, other: Spread) -> bool:
        """Return whether neither median lies within the other's spread."""
        return not (self.low <= other.median <= self.high or other.low <= self.median <= other.high)


def spread_of(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value.

    Raises:
        ValueError: There is none.
    """
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    if len(ordered) < QUARTILES_COUNT_MIN:
        low, high = ordered[0], ordered[-1]
    else:
        low, _, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return Spread(statistics.median(ordered), low, high, len(ordered))


def ratios(values: Mapping[int, float], against: Mapping[int, float]) -> list[float]:
    """Return each turn's value divided by that turn's value of another; turns of both only."""
    return [value / against[turn] for turn, value in values.items() if against.get(turn)]


QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def call_figures(calls: Sequence[int]) -> dict[str, float]:
    """Return the figures of the nanoseconds of calls, ascending."""
    supported = {
        name: quantile(calls, share)
        for name, share in QUANTILES.items()
        if is_supported(share, len(calls))
    }
    return {f"emit_{name}_ns": value for name, value in (supported | {"max": calls[-1]}).items()}


def is_supported(share: float, count: int) -> bool:
    """Return whether so many values are enough to tell a quantile: ten of them lie beyond it."""
    return round(count * (1 - share), 6) >= BEYOND_COUNT_MIN


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return what the given share of ascending values does not exceed."""
    return ordered[round(share * (len(ordered) - 1))]
