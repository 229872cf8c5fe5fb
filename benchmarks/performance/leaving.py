"""Leaving: how much later a program is gone after SIGTERM because it ships its logs."""

from __future__ import annotations

import os
import signal
import time

from benchmarks.errors import BenchmarkError
from benchmarks.performance.handler import NOTHING
from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import EMBEDDED, serving
from benchmarks.processes import clean_environ, start_program
from benchmarks.sidecars import cpu_seconds_of

PROGRAM = "benchmarks.performance.programs.stay"
SUBJECTS = (NOTHING, "logship")


def measure(job: Job) -> Measured:
    """End programs in turns; what one without a shipper takes is subtracted in the same turn."""
    turns = job.repeats(11, 41)
    measured = job.measured(turns=turns)
    measured.notes += _NOTES
    took: dict[tuple[int, str], tuple[float, float]] = {}
    with serving(job, EMBEDDED) as server:
        host, port = server.address
        environ = clean_environ() | {"LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}"}
        for turn, subject in in_turns(SUBJECTS, turns):
            job.tell(subject)
            took[turn, subject] = _seconds_to_leave(job, subject, environ)
    for turn in range(turns):
        (without, cpu_without), (with_it, cpu_with_it) = (took[turn, name] for name in SUBJECTS)
        figures = {
            "leave_seconds": with_it - without,
            "leave_cpu_seconds": cpu_with_it - cpu_without,
        }
        measured.add(turn, "logship", "", **figures)
    return measured


_NOTES = (
    "From SIGTERM until the process is gone, and the CPU that this takes it, less those of a "
    "program that imports `logging` and `asyncio` alone. The sidecar lives, all was acked.",
)


def _seconds_to_leave(job: Job, subject: str, environ: dict[str, str]) -> tuple[float, float]:
    """Return seconds from the signal until the process is gone, and of its CPU meanwhile."""
    with (
        job.stderr.open("a") as stderr,
        start_program(PROGRAM, subject, env=environ, stderr=stderr) as process,
    ):
        assert process.stdout is not None
        if not process.stdout.readline():
            raise BenchmarkError(f"{PROGRAM} did not start; see {job.stderr}")
        cpu_seconds = cpu_seconds_of(process.pid)
        begun = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = 0  # it was waited for here
    return seconds, usage.ru_utime + usage.ru_stime - cpu_seconds
