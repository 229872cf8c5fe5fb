"""Throughput: records a second from the first `send` to the last ack, and the CPU of both sides.

Peers have no acks. Into the sink their rate is what the kernel took from them, because they learn
nothing else. Into a server the clock stops when that server has read everything. There are two
ceilings: encoding alone, and prepared frames through a bare socket.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.performance.environments import aiofluent_python
from benchmarks.performance.job import LEAST, Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import COUNTING, EMBEDDED, Sink, serving, sinking
from benchmarks.processes import run_program
from benchmarks.records import SAME_NAME, VARIED_NAME
from benchmarks.sidecars import Sidecar

PROGRAMS = "benchmarks.performance.programs"
SINK = "raw socket sink"
ENCODING = "encode ceiling"
PREPARED = "bare socket"
AIOFLUENT = "aiofluent"
NOWHERE = "no server"
MANY = "logship-many"
OURS = ("logship", MANY, "logship-spool")
PEERS = ("fluent-logger", "fluent-logger-async")
NO_LIMIT = 1 << 60
ONE_SHAPE = "one shape"
"""Behind a server: the older records, which differ in their text alone."""


@dataclass(frozen=True)
class Run:
    """A shipper and its server."""

    subject: str
    server: str
    records: str = VARIED_NAME

    @property
    def case(self) -> str:
        """The server, and which records where they are the older ones."""
        return self.server if self.records == VARIED_NAME else _of_one_shape(self.server)

    @property
    def is_acked(self) -> bool:
        """Whether the end of it is an ack."""
        return self.subject in OURS or (self.subject == PREPARED and self.server != SINK)


def _of_one_shape(server: str) -> str:
    return f"{server}, {ONE_SHAPE}"


def ceiling_case(case: str) -> str:
    """Return the case of the encode ceiling of the same records."""
    return _of_one_shape(NOWHERE) if case.endswith(ONE_SHAPE) else NOWHERE


def measure(job: Job) -> Measured:
    """Ship for a while, all subjects in turns."""
    seconds, turns = job.pick(0.8, 2.0, 0.05), job.turns(3, 7)
    measured = job.measured(seconds=seconds, turns=turns)
    python = None if job.is_for_trees else _aiofluent(measured, may_make=job.effort != LEAST)
    shipping = _Shipping(job, measured, seconds, python)
    with contextlib.ExitStack() as stack:
        shipping.servers[SINK] = stack.enter_context(sinking())
        for turn, run in in_turns(_runs(job, python), turns):
            job.tell(f"{run.subject}, {run.server}")
            shipping.run(turn, run)
    measured.notes += _NOTES
    return measured


_NOTES = (
    "One thread sends varied records, stamped: log lines of differing length and text, a level and "
    "a logger that change, one integer and one float; buffer 64 MiB. One shape: a text of 400 "
    "characters beside a level and a logger that never change. The embedded receiver decodes, "
    "makes a JSON line a record and writes to /dev/null; the one that counts "
    "(`logship receive --count`) makes no lines. A server's ceiling is the bare socket.",
    "logship-many hands over 100 records a call (`send_many`), as `logship run` and `logship pipe` "
    "do with the lines of one read; all others hand over one.",
    "fluent-logger and aiofluent have no acks: into the raw socket sink their rate is what the "
    "kernel took; into a server, until that server has read everything.",
    "Server CPU is what was used until the last ack: a server that flushes later is not done.",
)


def _aiofluent(measured: Measured, *, may_make: bool) -> str | None:
    try:
        return aiofluent_python(may_make=may_make)
    except BenchmarkError as error:
        measured.notes.append(f"aiofluent is missing: it has no environment of its own ({error}).")
        return None


def _runs(job: Job, python: str | None) -> list[Run]:
    """Return all pairs of shipper and server; subjects that are compared are neighbours."""
    runs = [Run(ENCODING, NOWHERE)]
    for server in job.servers:
        runs += [Run("logship", server), Run(MANY, server)]
        rivals = _rivals(SINK if server in (EMBEDDED, COUNTING) else server)
        runs += [run for run in rivals if run not in runs]
        runs += [Run("logship-spool", server), Run(PREPARED, server)]
        runs += [Run(each, server, SAME_NAME) for each in ("logship", PREPARED)]
    runs += [run for run in _rivals(SINK) if run not in runs]
    runs += [Run(PREPARED, SINK), Run(ENCODING, NOWHERE, SAME_NAME)]
    runs += [Run(AIOFLUENT, SINK)] * (python is not None)
    own = (*OURS, ENCODING, PREPARED)
    return [run for run in runs if run.subject in own or not job.is_for_trees]


def _rivals(server: str) -> list[Run]:
    return [Run(peer, server) for peer in PEERS]


class _Shipping:
    """Runs one subject after the other and notes what it showed."""

    def __init__(self, job: Job, measured: Measured, seconds: float, python: str | None) -> None:
        self._job = job
        self._measured = measured
        self._seconds = seconds
        self._python = python
        self.servers: dict[str, Sink] = {}

    def run(self, turn: int, run: Run) -> None:
        """Run a subject against its server, which is new unless it is the sink."""
        if run.server == NOWHERE:
            self._note(turn, run, self._program("encode", self._seconds, run.records), 0.0)
        elif run.server in self.servers:
            self._ship(turn, run, self.servers[run.server])
        else:
            with serving(self._job, run.server) as server:
                self._ship(turn, run, server)

    def _ship(self, turn: int, run: Run, server: Sidecar | Sink) -> None:
        before = server.cpu_seconds()
        figures = self._figures(run, server)
        self._note(turn, run, figures, server.cpu_seconds() - before)

    def _figures(self, run: Run, server: Sidecar | Sink) -> dict[str, Any]:
        host, port = server.address
        if run.subject == PREPARED:
            kind = "acked" if run.is_acked else "unacked"
            return self._program("frames", host, port, self._seconds, kind, NO_LIMIT, run.records)
        if run.subject == AIOFLUENT:
            figures = self._program("ship_aiofluent", host, port, self._seconds)
            self._tell_packer(figures["packer"])
            return figures
        spool = self._job.new_place() if run.subject == "logship-spool" else ""
        until = "sent" if run.is_acked or run.server == SINK else "read"
        arguments = (run.subject, host, port, self._seconds, spool, run.records, until)
        figures = self._program("ship", *arguments)
        if spool:
            shutil.rmtree(spool, ignore_errors=True)
        return figures

    def _program(self, name: str, *arguments: object) -> dict[str, Any]:
        python = self._python if name == "ship_aiofluent" else None
        figures: dict[str, Any] = run_program(
            f"{PROGRAMS}.{name}",
            *arguments,
            stderr=self._job.stderr,
            python=python or sys.executable,
        )
        return figures

    def _tell_packer(self, module: str) -> None:
        note = f"aiofluent runs on the msgpack-python that it pins ({module})."
        if module.endswith("fallback"):
            note = f"{note[:-2]}: pure Python, because that has no build for this interpreter)."
        if note not in self._measured.notes:
            self._measured.notes.append(note)

    def _note(self, turn: int, run: Run, found: dict[str, Any], server_cpu_seconds: float) -> None:
        self._measured.add(turn, run.subject, run.case, **figures_of(found, server_cpu_seconds))


def figures_of(found: Mapping[str, Any], server_cpu_seconds: float) -> dict[str, float]:
    """Return the figures of what a program printed.

    Args:
        found: Its clock and its CPU time began when it had warmed up.
        server_cpu_seconds: Of the server, in the whole life of the program; 0: there was none.
    """
    records, seconds = found["records"], (found["ended_ns"] - found["begun_ns"]) / 1e9
    figures = {
        "records_per_second": records / seconds,
        "client_cpu_seconds_per_record": found["cpu_seconds"] / records,
    }
    if server_cpu_seconds:
        taken = records + found["warm_up_records"]
        figures["server_cpu_seconds_per_record"] = server_cpu_seconds / taken
    return figures
