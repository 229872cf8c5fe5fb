"""The shipper's CPU at 300 lines a second of 400 characters: the main job, most of its life.

All programs run at the same moment, and the one whose handler does nothing is subtracted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks.performance.handler import NOTHING
from benchmarks.performance.job import Job
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import serving
from benchmarks.processes import run_program
from benchmarks.sidecars import Sidecar

SUBJECTS = (NOTHING, "logship", "fluent-logger", "fluent-logger-async")
PROGRAM = "benchmarks.performance.programs.pace"
RATE = 300.0


def measure(job: Job) -> Measured:
    """Let all of them log at once, several times."""
    turns, seconds = job.turns(3, 9), job.pick(3.0, 15.0, 0.2)
    measured = job.measured(turns=turns, seconds=seconds, rate=RATE)
    measured.notes += _NOTES
    with serving(job, "embedded") as server, ThreadPoolExecutor(len(SUBJECTS)) as pool:
        for turn in range(turns):
            job.tell(f"turn {turn + 1} of {turns}")
            found = pool.map(lambda subject: _share(job, server, subject, seconds), SUBJECTS)
            shares = dict(zip(SUBJECTS, found, strict=True))
            for subject, share in shares.items():
                measured.add(turn, subject, "", cpu_share=share)
                if subject != NOTHING:
                    measured.add(turn, subject, "", shipper_cpu_share=share - shares[NOTHING])
    return measured


_NOTES = (
    "300 lines/s of 400 characters through `logging`, four programs at the same moment. The "
    "shipper's share is the program's CPU time less that of the same program with a handler that "
    "does nothing.",
)


def _share(job: Job, server: Sidecar, subject: str, seconds: float) -> float:
    host, port = server.address
    environ = {"LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}", "LOGSHIP_TAG": "benchmark"}
    found = run_program(
        PROGRAM, *(subject, host, port, RATE, seconds), stderr=job.stderr, environ=environ
    )
    return float(found["cpu_seconds"] / found["seconds"])
