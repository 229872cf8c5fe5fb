"""Threads: records a second from two threads that call `emit`, against one."""

from __future__ import annotations

from benchmarks.performance.job import Job
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import COUNTING, serving
from benchmarks.processes import run_program

PROGRAM = "benchmarks.performance.programs.threads"
SUBJECT = "logship"
ONE, TWO = "one thread", "two threads"


def measure(job: Job) -> Measured:
    """Time one and two threads in turns, in one process each turn."""
    turns, rounds = job.turns(3, 9), job.pick(3, 5, 1)
    measured = job.measured(turns=turns, rounds=rounds)
    with serving(job, COUNTING) as server:
        for turn in range(turns):
            job.tell(f"turn {turn + 1}")
            found = run_program(PROGRAM, *server.address, rounds, stderr=job.stderr)
            for case, threads in ((ONE, "1"), (TWO, "2")):
                measured.add(turn, SUBJECT, case, emitted_per_second=found["rates"][threads])
    measured.conditions["options"]["has_lock"] = found["has_lock"]
    has_lock = "has" if found["has_lock"] else "has no"
    measured.notes.append(
        f"Varied records, all threads into one client. This interpreter {has_lock} global lock."
    )
    return measured
