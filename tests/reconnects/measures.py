"""What a storm was like: how long it took, how high its peaks were, and whether it had waves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.reconnects.storm import History, Outage

BINS_A_SECOND = 10
TREND_BINS = 2 * BINS_A_SECOND
"""Over which the mean is taken that a wave stands out from."""

LAG_SECONDS_MAX = 60


@dataclass(frozen=True)
class Waves:
    """Attempts in a span of time.

    Attributes:
        mean: Attempts a second.
        peak_bin: The most in 100 ms, over the mean of 100 ms.
        peak_second: The most in a second, over the mean.
        poisson_bin: What `peak_bin` would be likely to be if the attempts were independent.
        correlation: The largest one between the span and itself, 1 to 60 s later.
        noise: How large that is likely to be if the attempts were independent.
    """

    mean: float
    peak_bin: float
    peak_second: float
    poisson_bin: float
    correlation: float
    noise: float


def waves(times: Sequence[float], begin: float, end: float) -> Waves:
    """Return what there is of waves from one time to another."""
    bins = counts(times, begin, end)
    mean = statistics.fmean(bins)
    seconds = [sum(bins[at : at + BINS_A_SECOND]) for at in range(len(bins) - BINS_A_SECOND + 1)]
    return Waves(
        mean=mean * BINS_A_SECOND,
        peak_bin=max(bins) / mean,
        peak_second=max(seconds) / (mean * BINS_A_SECOND),
        poisson_bin=1 + math.sqrt(2 * math.log(len(bins)) / mean),
        correlation=_largest_correlation(bins),
        noise=3 / math.sqrt(len(bins)),
    )


def counts(times: Sequence[float], begin: float, end: float) -> list[int]:
    """Return how many of the times are in each 100 ms, the last one if it is whole."""
    bins = [0] * int((end - begin) * BINS_A_SECOND + 1e-9)
    for each in times:
        place = math.floor((each - begin) * BINS_A_SECOND)
        if 0 <= place < len(bins):
            bins[place] += 1
    return bins


def _largest_correlation(bins: Sequence[int]) -> float:
    """Return the largest autocorrelation at lags of a second and more, the trend taken away."""
    rest = [
        each - statistics.fmean(bins[max(0, at - TREND_BINS // 2) : at + TREND_BINS // 2 + 1])
        for at, each in enumerate(bins)
    ]
    power = sum(each * each for each in rest)
    lags = range(BINS_A_SECOND, min(LAG_SECONDS_MAX * BINS_A_SECOND, len(rest) // 2) + 1)
    return max(sum(a * b for a, b in zip(rest, rest[lag:], strict=False)) / power for lag in lags)


def seconds_until(history: History, share: float) -> float:
    """Return how long after the end of the outage so many tasks had an ack."""
    return sorted(history.acked)[math.ceil(len(history.acked) * share) - 1]


def spans(outage: Outage, history: History) -> dict[str, tuple[float, float]]:
    """Return when to look for waves: while the tier is away, and until most are connected.

    What happens in the first tenth of an outage, 5 s at least, is left out: all tasks have lost
    their connection at the same moment, and try at once.
    """
    begin = -outage.down_seconds + max(5.0, outage.down_seconds / 10)
    found = {"away": (begin, 0.0)} if begin <= -20.0 else {}
    if outage.tiers > 1:  # tasks come back to the first tier without a hurry
        return found
    return {**found, "back": (0.0, max(4.0, seconds_until(history, 0.9)))}
