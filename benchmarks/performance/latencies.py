"""Latency: how long a call of `emit` takes, whatever the sidecar does.

The application's question is not how fast the shipper is but whether logging ever holds it up. So
each call is timed while the sidecar is healthy, runs at a quarter of the time, is dead, or is a
black hole that takes connections and reads nothing; at last with a buffer that is full.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import EMBEDDED, serving
from benchmarks.performance.statistics import call_figures
from benchmarks.processes import run_program
from benchmarks.sidecars import Address

PROGRAM = "benchmarks.performance.programs.latency"
SIDECARS = ("healthy", "slow", "dead", "black hole", "black hole, buffer full")
PLACES = ("thread", "loop")
RATE = 3000.0


def measure(job: Job) -> Measured:
    """Time each call, in a thread and on an event loop, for every kind of sidecar."""
    turns, records = job.pick(2, 5, 1), job.pick(3_000, 15_000, 1_000)
    measured = job.measured(turns=turns, records=records, rate=RATE)
    measured.notes += _NOTES
    for turn, (place, sidecar) in in_turns([*product(PLACES, SIDECARS)], turns):
        job.tell(f"{place}, {sidecar}")
        calls = _nanoseconds_of_calls(job, sidecar, place, records)
        measured.add(turn, place, sidecar, **call_figures(calls))
    return measured


_NOTES = (
    "`emit` of a record of 400 characters, 3,000 a second, by a program that does nothing else. "
    "Slow: a quarter of a CPU. Black hole: connections are taken and nothing is ever read. "
    "Buffer full: the one wait that an outage may cost has passed.",
)


def _nanoseconds_of_calls(job: Job, sidecar: str, place: str, records: int) -> list[int]:
    """Run the program once; return the nanoseconds of its calls, ascending."""
    phase = "full" if sidecar.endswith("full") else "open"
    with _endpoint(job, sidecar) as (host, port):
        arguments = (f"tcp://{host}:{port}", place, phase, records, RATE)
        took: list[int] = run_program(PROGRAM, *arguments, stderr=job.stderr)
    return took


@contextmanager
def _endpoint(job: Job, sidecar: str) -> Iterator[Address]:
    """Give the address of a sidecar of this kind."""
    if sidecar in ("healthy", "slow"):
        with serving(job, EMBEDDED) as receiver:
            if sidecar == "slow":
                receiver.throttle()
            yield receiver.address
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: Address = listener.getsockname()
        if sidecar == "dead":
            listener.close()
        yield address  # the kernel takes the connection, and no program reads it
