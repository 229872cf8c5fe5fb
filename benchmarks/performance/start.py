"""Start: what a program pays before its first line, and a command that runs under `logship run`."""

from __future__ import annotations

import sys
import tempfile
import time

from benchmarks.errors import BenchmarkError
from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import serving
from benchmarks.processes import clean_environ, run_to_end

BASE = "logging and asyncio"
IMPORTING = "import and install"
RUNNING = "a command"
ALONE = "the command alone"
UNDER_RUN = "under logship run"

STARTS = {
    BASE: "import logging, asyncio",
    "logship": "import logship; logship.install()",
    "fluent-logger": (
        "import logging; from fluent.handler import FluentHandler; "
        "logging.getLogger().addHandler(FluentHandler('tag', host='{host}', port={port}))"
    ),
}
"""What is timed, in an interpreter that has just started."""

_PROGRAM = """\
import os, sys, time
begun, cpu_begun = time.perf_counter(), time.process_time()
{start}
print(time.perf_counter() - begun, time.process_time() - cpu_begun, flush=True)
os._exit(0)
"""
SECONDS_MAX = 60.0


def measure(job: Job) -> Measured:
    """Start interpreters and commands, in turns; the first turn only warms the file cache."""
    turns = job.repeats(11, 41)
    measured = job.measured(turns=turns)
    measured.notes += _NOTES
    with serving(job, "embedded") as server, tempfile.TemporaryDirectory() as byte_code:
        host, port = server.address
        starts = {name: code.format(host=host, port=port) for name, code in STARTS.items()}
        environ = _compiling(byte_code) | {"LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}"}
        for turn, name in in_turns(list(starts), turns + 1):
            job.tell(name)
            program = _PROGRAM.format(start=starts[name])
            seconds, printed = _timed([sys.executable, "-c", program], environ)
            if turn:
                took, cpu_seconds = map(float, printed.split())
                figures = {"import_seconds": took, "process_seconds": seconds}
                figures["import_cpu_seconds"] = cpu_seconds
                measured.add(turn, name, IMPORTING, **figures)
        commands = {ALONE: ["true"], UNDER_RUN: [*_RUN, "true"]}
        for turn, name in in_turns(list(commands), turns + 1):
            job.tell(name)
            seconds, _ = _timed(commands[name], environ)
            if turn:
                measured.add(turn, name, RUNNING, process_seconds=seconds)
    return measured


_RUN = (sys.executable, "-m", "logship", "run", "--")
_NOTES = (
    "Import and install: inside an interpreter that has just started, byte code compiled. The "
    "whole process: from its start until it is gone; logship's and fluent-logger's leave without "
    "closing anything.",
    "A command: `true`, alone and as `logship run -- true` with a sidecar that lives.",
)


def _compiling(byte_code: str) -> dict[str, str]:
    """Return an environment in which each module is compiled once, in the first turn.

    As it is where a package is installed. A checkout, in a shell that forbids byte code, would
    compile all of logship at each start, and nothing of what it is compared with.
    """
    environ = clean_environ() | {"PYTHONPYCACHEPREFIX": byte_code}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


def _timed(command: list[str], environ: dict[str, str]) -> tuple[float, str]:
    begun = time.perf_counter()
    done = run_to_end(command, SECONDS_MAX, env=environ)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise BenchmarkError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return seconds, done.stdout
