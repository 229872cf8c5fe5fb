"""Handler: what one `logging` call costs the application, with this handler or that one."""

from __future__ import annotations

from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import serving
from benchmarks.processes import run_program

NOTHING = "nothing"
SUBJECTS = (NOTHING, "logship", "logship-spool", "fluent-logger", "fluent-logger-async")
PROGRAM = "benchmarks.performance.programs.call"


def measure(job: Job) -> Measured:
    """Time calls, every handler in turns, all into the embedded receiver."""
    turns, bursts = job.pick(5, 15, 1), job.pick(25, 60, 1)
    sustained = job.pick(10_000, 50_000, 500)
    measured = job.measured(turns=turns, bursts=bursts, sustained_calls=sustained)
    measured.notes += _NOTES
    with serving(job, "embedded") as server:
        host, port = server.address
        for turn, subject in in_turns(SUBJECTS, turns):
            job.tell(subject)
            environ = {"LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}", "LOGSHIP_TAG": "benchmark"}
            if subject == "logship-spool":
                environ["LOGSHIP_SPOOL_DIR"] = str(job.new_place())
            arguments = (subject, host, port, bursts, sustained)
            found = run_program(PROGRAM, *arguments, stderr=job.stderr, environ=environ)
            call, sustained_call = found["burst_ns"], found["sustained_ns"]
            measured.add(turn, subject, "", call_ns=call, sustained_call_ns=sustained_call)
    return measured


_NOTES = (
    "`logger.info(text)` of 400 characters, one handler on the root logger. logship's fields: "
    "message, level, logger and the stamp; fluent-logger's, as its README advises: host, where, "
    "type, message.",
    "A call: in bursts of 400 with a pause after each. Without pause: all that a shipper's own "
    "thread does takes its share of the interpreter.",
)
