"""Memory: the resident set of a program at rest, under load, in a soak, and without a sidecar."""

from __future__ import annotations

import statistics

from benchmarks.performance.holding import BOUND_BYTES, holding, watching
from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import serving

SUBJECTS = ("logship", "logship-spool", "fluent-logger")
RATE = 3000.0


def measure(job: Job) -> Measured:
    """Take each subject through the same life, in turns."""
    turns, bound = job.pick(2, 5, 1), job.pick(BOUND_BYTES, BOUND_BYTES, 16 << 20)
    seconds, soak_seconds = job.pick(1.0, 5.0, 0.1), job.pick(1.0, 20.0, 0.1)
    measured = job.measured(
        turns=turns, rate=RATE, load_seconds=seconds, soak_seconds=soak_seconds, bound=bound
    )
    measured.notes += _NOTES
    for turn, subject in in_turns(SUBJECTS, turns):
        job.tell(subject)
        load, soak = _life(job, subject, seconds, soak_seconds)
        figures = {"rss_load_bytes": statistics.median(load), "rss_soak_bytes": max(soak)}
        idle, full = _outage(job, subject, bound)
        figures |= {"rss_idle_bytes": idle, "rss_full_bytes": full}
        if subject == "logship":
            figures["rss_full_over_bound"] = (full - idle) / bound
        measured.add(turn, subject, "", **figures)
    return measured


_NOTES = (
    "Idle: after 2,000 records were acked. Sidecar down: a fresh process whose sidecar was killed "
    "fills its buffer of 64 MiB with records of 400 characters until one is refused; fluent-logger "
    "keeps a MiB and throws the rest away.",
    "Under load: 3,000 records/s, the median of what was seen. Soak: as fast as the sidecar takes "
    "it, the greatest. A spool's mapped segments count as resident.",
)


def _life(
    job: Job, subject: str, seconds: float, soak_seconds: float
) -> tuple[list[int], list[int]]:
    """Return what was seen of a program that logs steadily, then as fast as it can."""
    with (
        serving(job, "embedded") as sidecar,
        holding(job, subject, sidecar.address) as holder,
    ):
        holder.tell("warm")
        with watching(holder) as load:
            holder.tell("load", RATE, seconds)
        with watching(holder) as soak:
            holder.tell("soak", soak_seconds)
    return load, soak


def _outage(job: Job, subject: str, bound: int) -> tuple[int, int]:
    """Return the resident set before and at the end of an outage that fills the buffer."""
    with (
        serving(job, "embedded") as sidecar,
        holding(job, subject, sidecar.address, bound) as holder,
    ):
        holder.tell("warm")
        idle = holder.rss_bytes()
        sidecar.kill()
        holder.tell("fill")
        return idle, holder.rss_bytes()
