"""Parts: what a record costs in the thread that logs, up to each point of its way."""

from __future__ import annotations

from benchmarks.performance.job import Job
from benchmarks.performance.results import Measured
from benchmarks.performance.throughput import ENCODING
from benchmarks.processes import run_program

PROGRAM = "benchmarks.performance.programs.parts"
MSGPACK = "msgpack alone"
OURS = (
    *("clock and pack", "clock, pack and put"),
    *("send", "send, a chunk after the other"),
    *("send, where two texts differ", "send, where a number does"),
)


def measure(job: Job) -> Measured:
    """Time the parts, all of them in one process, in turns."""
    turns, blocks = job.pick(3, 7, 1), job.pick(25, 60, 1)
    measured = job.measured(turns=turns, blocks=blocks)
    measured.notes += _NOTES
    for turn in range(turns):
        job.tell(f"turn {turn + 1}")
        found = run_program(PROGRAM, blocks, stderr=job.stderr)
        for subject, record_ns in found.items():
            measured.add(turn, subject, "", record_ns=record_ns)
    return measured


_NOTES = (
    "The records of the throughput, one a call, in one thread, and nobody who ships them. Pack: up "
    "to the entry's beginning. Put: with the stamp into the open chunk. Send: that, as "
    "`BackgroundClient` calls it. A chunk after the other: with opening them, the shipper's turn, "
    "and freeing them at once. Where two texts differ: no two have the same logger either. Where a "
    "number does: that is a number.",
    f"The {ENCODING} is in the same process. The ratios are of times: 2 is twice as long.",
)
