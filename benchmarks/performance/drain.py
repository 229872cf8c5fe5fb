"""Drain: a full buffer of 64 MiB, from the moment when the sidecar reads again to the last ack.

The sidecar is stopped in its tracks while the buffer fills, so that connections stay and no
backoff is measured. Prepared frames of as many bytes are the ceiling.
"""

from __future__ import annotations

from benchmarks.performance.holding import BOUND_BYTES, holding
from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import serving
from benchmarks.performance.throughput import PREPARED
from benchmarks.processes import run_program
from benchmarks.records import SAME_NAME
from benchmarks.sidecars import Sidecar

SUBJECTS = ("logship", "logship-spool", PREPARED)
PROGRAM = "benchmarks.performance.programs.frames"


def measure(job: Job) -> Measured:
    """Fill and drain, in turns, into each server."""
    turns, bound = job.turns(3, 9), job.pick(BOUND_BYTES, BOUND_BYTES, 16 << 20)
    measured = job.measured(turns=turns, bytes=bound)
    measured.notes += _NOTES
    for server in job.servers:
        for turn, subject in in_turns(SUBJECTS, turns):
            job.tell(f"{subject}, {server}")
            with serving(job, server) as sidecar:
                if subject == PREPARED:
                    seconds, size = _send_prepared(job, sidecar, bound)
                else:
                    seconds, size = _drain(job, sidecar, subject, bound)
            figures = {"drained_bytes_per_second": size / seconds, "drain_seconds": seconds}
            measured.add(turn, subject, server, **figures)
    return measured


_NOTES = (
    "The sidecar is stopped (SIGSTOP) while the buffer of 64 MiB fills with records of 400 "
    "characters, then goes on: the clock runs from there to the last ack. The ratios are of MiB/s: "
    "not every subject holds the same bytes.",
)


def _send_prepared(job: Job, sidecar: Sidecar, bound: int) -> tuple[float, int]:
    """Send as many bytes in prepared frames; return seconds and bytes."""
    host, port = sidecar.address
    found = run_program(PROGRAM, *(host, port, 60, "acked", bound, SAME_NAME), stderr=job.stderr)
    return (found["ended_ns"] - found["begun_ns"]) / 1e9, found["bytes"]


def _drain(job: Job, sidecar: Sidecar, subject: str, bound: int) -> tuple[float, int]:
    """Fill and drain once; return seconds and bytes."""
    with holding(job, subject, sidecar.address, bound) as holder:
        holder.tell("warm")
        sidecar.pause()
        holder.tell("fill")
        found = holder.tell("drain", sidecar.group)
    return found["seconds"], found["bytes"]
