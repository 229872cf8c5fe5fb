"""Wire: how many bytes of TCP payload a record takes, counted by a relay in between."""

from __future__ import annotations

import contextlib

from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import Relay, serving
from benchmarks.processes import run_program
from benchmarks.records import SAME_NAME

SUBJECTS = ("logship", "logship-spool", "fluent-logger")
PROGRAM = "benchmarks.performance.programs.ship"


def measure(job: Job) -> Measured:
    """Ship through a relay and count."""
    turns, seconds = job.pick(1, 3, 1), job.pick(0.3, 1.0, 0.05)
    measured = job.measured(turns=turns, seconds=seconds)
    measured.notes += _NOTES
    with serving(job, "embedded") as server:
        for turn, subject in in_turns(SUBJECTS, turns):
            job.tell(subject)
            spool = job.new_place() if subject == "logship-spool" else ""
            with contextlib.closing(Relay(server.address)) as relay:
                arguments = (subject, *relay.address, seconds, spool, SAME_NAME, "sent")
                found = run_program(PROGRAM, *arguments, stderr=job.stderr)
            records = found["records"] + found["warm_up_records"]
            measured.add(turn, subject, "", wire_bytes_per_record=relay.bytes_sent / records)
    return measured


_NOTES = (
    "Bytes that the client sent, frames and handshake included, without TCP's own. The text alone "
    "has 400. logship's stamp is 35 of them; fluent-logger sends level and logger too, no stamp.",
)
