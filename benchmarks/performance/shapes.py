"""Shapes: what a call of `emit` costs the thread that logs, for each shape of record."""

from __future__ import annotations

from benchmarks.performance.job import Job
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import COUNTING, serving
from benchmarks.processes import run_program

PROGRAM = "benchmarks.performance.programs.shapes"
MSGPACK = "msgpack alone"


def measure(job: Job) -> Measured:
    """Time `emit` into memory and into a spool, all shapes in one process, in turns."""
    turns, blocks = job.turns(3, 7), job.pick(9, 25, 1)
    measured = job.measured(turns=turns, blocks=blocks)
    measured.notes += _NOTES
    with serving(job, COUNTING) as server:
        for turn in range(turns):
            job.tell(f"turn {turn + 1}")
            arguments = (*server.address, job.new_place(), blocks)
            found = run_program(PROGRAM, *arguments, stderr=job.stderr)
            for subject, by_shape in found.items():
                for shape, record_ns in by_shape.items():
                    measured.add(turn, subject, shape, record_cpu_ns=record_ns)
    return measured


_NOTES = (
    "CPU of the thread that calls `emit`, into memory and into a spool, while the shipper's thread "
    "sends into a receiver that counts. Varied: as for the throughput. The others: a text of 400 "
    "characters, level and logger, and beside them what the shape is named for.",
    "The ratios are of times: 2 is twice as long.",
)
