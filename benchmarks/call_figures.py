"""What is told of many timed calls, the same for every benchmark of `emit`."""

from __future__ import annotations

from collections.abc import Iterable


def call_figures(took: Iterable[int]) -> dict[str, float]:
    """Return median, mean, 99.9th percentile and maximum of calls, all in nanoseconds."""
    ordered = sorted(took)
    return {
        "median_ns": ordered[len(ordered) // 2],
        "mean_ns": sum(ordered) / len(ordered),
        "p99.9_ns": ordered[round(0.999 * (len(ordered) - 1))],
        "max_ns": ordered[-1],
    }
