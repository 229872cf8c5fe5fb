"""Handler: what one `logging` call costs the application, with this handler or that one."""

from __future__ import annotations

from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import serving
from benchmarks.processes import run_program

NOTHING = "nothing"
OURS = ("logship", "logship-spool")
SUBJECTS = (NOTHING, *OURS, "fluent-logger", "fluent-logger-async")
PLAIN = "plain, main thread"
OTHER_CASES = tuple(
    f"{form}, {thread}"
    for form in ("plain", "arguments", "extra texts", "extra numbers")
    for thread in ("main thread", "worker")
)[1:]
PROGRAM = "benchmarks.performance.programs.call"


def measure(job: Job) -> Measured:
    """Time calls, every handler in turns, all into the embedded receiver."""
    turns, bursts = job.turns(5, 15), job.pick(15, 30, 1)
    calls = job.pick(400, 400, 40)
    subjects = (NOTHING, *OURS) if job.is_for_trees else SUBJECTS
    sustained = job.pick(10_000, 50_000, 500)
    measured = job.measured(turns=turns, bursts=bursts, sustained_calls=sustained)
    measured.notes += _NOTES
    with serving(job, "embedded") as server:
        host, port = server.address
        for turn, subject in in_turns(subjects, turns):
            job.tell(subject)
            environ = {"LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}", "LOGSHIP_TAG": "benchmark"}
            if subject == "logship-spool":
                environ["LOGSHIP_SPOOL_DIR"] = str(job.new_place())
            arguments = (subject, host, port, bursts, calls, sustained)
            found = run_program(PROGRAM, *arguments, stderr=job.stderr, environ=environ)
            for case, call_ns in found["burst_ns"].items():
                measured.add(turn, subject, case, call_ns=call_ns)
            measured.add(turn, subject, PLAIN, sustained_call_ns=found["sustained_ns"])
    return measured


_NOTES = (
    "`logger.info(text)` of 400 characters, one handler on the root logger. logship's fields: "
    "message, level, logger and the stamp; fluent-logger's, as its README advises: host, where, "
    "type, message.",
    "Arguments: a number and the text. Extra texts, extra numbers: two fields given as `extra`.",
    "A call: this thread's CPU, in bursts of 400 with a pause after each. Without pause: the time; "
    "all that a shipper's own thread does takes its share of the interpreter.",
)
