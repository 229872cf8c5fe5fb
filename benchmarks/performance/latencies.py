"""Emit latency, by `benchmarks.latency`: how long a call takes under each kind of sidecar."""

from __future__ import annotations

from benchmarks.latency import PLACES, QUANTILES, SIDECARS, measure_calls
from benchmarks.performance.job import Job
from benchmarks.performance.results import Curve, Measured
from benchmarks.performance.statistics import is_supported, quantile

RATE = 3000.0
SHARES = sorted(
    {
        *(step / 100 for step in range(100)),
        *(0.99 + step / 1000 for step in range(10)),
        *(0.999 + step / 10_000 for step in range(11)),
    }
)
"""At which shares of the calls a curve has its points: most of them where it gets interesting."""


def measure(job: Job) -> Measured:
    """Time each call, in a thread and on an event loop, for every kind of sidecar."""
    turns, records = job.pick(2, 5, 1), job.pick(3_000, 15_000, 1_000)
    sidecars = job.pick(SIDECARS, SIDECARS, SIDECARS[:1])
    measured = job.measured(turns=turns, records=records, rate=RATE)
    measured.notes += _NOTES
    took: dict[tuple[str, str], list[int]] = {}
    for turn in range(turns):
        for place in PLACES:
            for sidecar in sidecars:
                job.tell(f"{place}, {sidecar}")
                calls = measure_calls(job.new_place(), sidecar, place, records, RATE)
                took.setdefault((place, sidecar), []).extend(calls)
                figures = {
                    f"emit_{name}_ns": quantile(calls, share)
                    for name, share in QUANTILES.items()
                    if name == "max" or is_supported(share, records)
                }
                measured.add(turn, place, sidecar, **figures)
    for (place, sidecar), calls in took.items():
        calls.sort()
        shares = [share for share in SHARES if is_supported(share, records * turns)]
        points = [(float(quantile(calls, share)), round(share, 5)) for share in shares]
        measured.curves.append(Curve("emit_ns", place, sidecar, points))
    return measured


_NOTES = (
    "`emit` of a record of 400 characters, 3,000 a second, by a program that does nothing else. "
    "Slow: a quarter of a CPU. Black hole: connections are taken and nothing is ever read. "
    "Buffer full: the one wait that an outage may cost has passed.",
)
