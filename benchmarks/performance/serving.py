"""Servers that take the records of a measured process, and their CPU time."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks.performance.job import Job
from benchmarks.processes import REPOSITORY, command_line
from benchmarks.servers import open_sidecar
from benchmarks.sidecars import Address, Embedded, Sidecar, cpu_seconds_of, running

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
    process = subprocess.Popen(
        command_line("benchmarks.performance.programs.sink"),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Sink(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


class Relay:
    """Passes a client's bytes on to a server, and counts them."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets = [self._listener]
        self.address: Address = self._listener.getsockname()
        self.bytes_sent = 0
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        """Stop when every connection has ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for arguments in ((client, server, True), (server, client, False)):
                    thread = threading.Thread(target=self._pass_on, args=arguments)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.bytes_sent += len(data) * counts
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
