"""Servers that take the records of a measured process, and their CPU time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.performance.job import Job
from benchmarks.processes import start_program
from benchmarks.servers import open_sidecar
from benchmarks.sidecars import Embedded, Sidecar, cpu_seconds_of, running

EMBEDDED = "embedded"
"""`logship receive` that writes its lines to /dev/null: it decodes, makes lines and acks."""

COUNTING = "embedded:counting"
"""`logship receive --count`: it checks, counts and acks, and makes no lines."""


class Sink:
    """The raw socket sink, a process that reads and throws away."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.address = ("127.0.0.1", port)

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used."""
        return cpu_seconds_of(self._process.pid)


@contextlib.contextmanager
def serving(job: Job, server: str) -> Iterator[Sidecar]:
    """Give a server that `--server` names, running; its files are gone afterwards.

    The embedded ones write to /dev/null or only count: no disk is measured.
    """
    place = job.new_place()
    if server == EMBEDDED:
        sidecar: Sidecar = Embedded(place, Path(os.devnull))
    elif server == COUNTING:
        sidecar = Embedded(place, None)
    else:
        sidecar = open_sidecar(server, place)
    try:
        with running(sidecar):
            yield sidecar
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def sinking() -> Iterator[Sink]:
    """Give a raw socket sink that runs."""
    process = start_program("benchmarks.performance.programs.sink")
    try:
        assert process.stdout is not None
        yield Sink(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()
